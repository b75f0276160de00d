/* The page for people that the binary carries: one HTML document with its style and script, out of src/server/page. */
#ifndef TALLOW_SERVER_ROUTES_PAGE_H
#define TALLOW_SERVER_ROUTES_PAGE_H

#include <stdbool.h>

#include "base/error.h"

/* The page's Content-Security-Policy: its own style and script by their hashes, requests to its own server, and nothing else.
 * Caller frees. False (ERROR_MEMORY) when memory is short. */
bool page_policy(char **out, struct error *error) MUST_USE;

#endif
