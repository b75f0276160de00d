/* The strict pass in front of cJSON. It checks everything that cJSON lets through (grammar, UTF-8, depth, duplicate
 * keys, trailing text) and rewrites the document so that cJSON cannot lose anything:
 *
 *     number   12.50      -> string "#12.50"     its text survives, so integers stay exact
 *     string   "a\u0000b" -> string "$a\xFFb"    escapes resolved; NUL as 0xFF, a byte that UTF-8 never has
 *     key      "k"        -> key "k"             the same, without the mark
 */
#ifndef TALLOW_BASE_JSON_SCAN_H
#define TALLOW_BASE_JSON_SCAN_H

#include "base/json.h"

enum { JSON_NUMBER_MARK = '#', JSON_STRING_MARK = '$', JSON_NUL_BYTE = 0xFF, JSON_MAX_BYTES = 1 << 30 };

/* Appends the rewritten document to `out`. */
bool json_scan(const char *text, size_t n_bytes, const struct json_limits *limits, struct bytes *out,
               struct error *error);

#endif
