/* The description of all routes (OpenAPI 3.1) that the binary carries. */
#ifndef TALLOW_SERVER_ROUTES_OPENAPI_H
#define TALLOW_SERVER_ROUTES_OPENAPI_H

#include <stddef.h>

/* [n_bytes] of JSON, NUL behind it. */
const char *openapi_text(size_t *n_bytes);

#endif
