/* GET /: the page for people. Its parts lie beside each other in src/server/page; the assembler puts them into the binary in
 * the order in which they are one document, so that nothing is put together at run time, and the hashes that let its style
 * and script through are those of the bytes that are sent. */
#include "server/routes/page.h"

#include <stdint.h>

#include "base/bytes.h"
#include "base/digest.h"
#include "server/server_private.h"

__asm__(".pushsection .rodata\n"
        "page_begin:\n"
        ".incbin \"src/server/page/head.html\"\n"
        ".ascii \"<style>\"\n"
        "page_style:\n"
        ".incbin \"src/server/page/page.css\"\n"
        ".incbin \"src/server/page/chat.css\"\n"
        ".incbin \"src/server/page/dashboard.css\"\n"
        "page_style_end:\n"
        ".ascii \"</style>\\n</head>\\n\"\n"
        ".incbin \"src/server/page/body.html\"\n"
        ".ascii \"<script>\"\n"
        "page_script:\n"
        ".incbin \"src/server/page/core.js\"\n"
        ".incbin \"src/server/page/sampling.js\"\n"
        ".incbin \"src/server/page/controls.js\"\n"
        ".incbin \"src/server/page/tokens.js\"\n"
        ".incbin \"src/server/page/tree.js\"\n"
        ".incbin \"src/server/page/chat.js\"\n"
        ".incbin \"src/server/page/playground.js\"\n"
        ".incbin \"src/server/page/dashboard.js\"\n"
        ".incbin \"src/server/page/main.js\"\n"
        "page_script_end:\n"
        ".ascii \"</script>\\n</body>\\n</html>\\n\"\n"
        "page_end: .byte 0\n"
        ".balign 8\n"
        "page_n_bytes: .quad page_end - page_begin\n"
        "page_style_n_bytes: .quad page_style_end - page_style\n"
        "page_script_n_bytes: .quad page_script_end - page_script\n"
        ".popsection\n");
extern const char page_begin[], page_style[], page_script[];
extern const uint64_t page_n_bytes, page_style_n_bytes, page_script_n_bytes;

static bool add_hash(struct bytes *policy, const char *directive, const char *text, size_t n_bytes, struct error *error)
{
	struct digest digest;
	if (!digest_of(text, n_bytes, &digest, error))
		return false;
	bytes_append_format(policy, "%s 'sha256-", directive);
	bytes_append_base64(policy, digest.bytes, sizeof digest.bytes);
	bytes_append_text(policy, "'; ");
	return true;
}

bool page_policy(char **out, struct error *error)
{
	struct bytes policy = {0};
	/* Pictures: the icon, which is part of the page. Trusted types: no text becomes markup, whatever the script says. */
	bytes_append_text(&policy, "default-src 'none'; ");
	bool ok = add_hash(&policy, "script-src", page_script, page_script_n_bytes, error) &&
	          add_hash(&policy, "style-src", page_style, page_style_n_bytes, error);
	bytes_append_text(&policy, "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
	                           "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'");
	if (ok && policy.failed)
		ok = error_set(error, ERROR_MEMORY, "no memory for the page's policy");
	if (!ok) {
		bytes_free(&policy);
		return false;
	}
	*out = policy.data;
	return true;
}

enum MHD_Result handle_page(struct exchange *exchange)
{
	const struct named_header headers[] = {
	    {"Content-Security-Policy", exchange->server->page_policy},
	    {"Referrer-Policy", "no-referrer"},
	    {"X-Frame-Options", "DENY"},
	    {"Cross-Origin-Resource-Policy", "same-origin"},
	    {"Permissions-Policy", "camera=(), microphone=(), geolocation=()"},
	};
	return respond_static(exchange, "text/html; charset=utf-8", page_begin, page_n_bytes, headers,
	                      sizeof headers / sizeof headers[0]);
}
