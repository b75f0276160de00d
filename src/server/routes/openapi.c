/* GET /openapi.json: the description of all routes, openapi.json beside this file, which the assembler puts into the binary. */
#include "server/routes/openapi.h"

#include <stdint.h>

#include "server/server_private.h"

__asm__(".pushsection .rodata\n"
        "openapi_begin: .incbin \"src/server/routes/openapi.json\"\n"
        "openapi_end: .byte 0\n"
        ".balign 8\n"
        "openapi_n_bytes: .quad openapi_end - openapi_begin\n"
        ".popsection\n");
extern const char openapi_begin[];
extern const uint64_t openapi_n_bytes;

const char *openapi_text(size_t *n_bytes)
{
	*n_bytes = openapi_n_bytes;
	return openapi_begin;
}

enum MHD_Result handle_openapi(struct exchange *exchange)
{
	size_t n_bytes;
	const char *text = openapi_text(&n_bytes);
	struct bytes body = {0};
	bytes_append(&body, text, n_bytes);
	return respond_bytes(exchange, 200, "application/json", &body);
}
