/* GET /openapi.json: the description of all routes, openapi.json beside this file, which the assembler puts into the binary. */
#include "server/routes/openapi.h"

#include "server/server_private.h"

__asm__(".pushsection .rodata\n"
        "openapi_begin: .incbin \"src/server/routes/openapi.json\"\n"
        "openapi_end: .byte 0\n"
        ".popsection\n");
extern const char openapi_begin[], openapi_end[];

const char *openapi_text(size_t *n_bytes)
{
	*n_bytes = (size_t)(openapi_end - openapi_begin);
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
