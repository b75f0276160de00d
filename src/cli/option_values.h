/* Values as people write them: `8080`, `0.7`, `512MiB`, `2GB`, `30s`. All return false, and leave *out alone, when the
 * whole text is not such a value or it does not fit. */
#ifndef TALLOW_CLI_OPTION_VALUES_H
#define TALLOW_CLI_OPTION_VALUES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool value_int64(const char *text, int64_t *out);
bool value_uint64(const char *text, uint64_t *out);
bool value_double(const char *text, double *out); /* finite, decimal */
bool value_bool(const char *text, bool *out);     /* 1|true|yes|on, 0|false|no|off */

/* Plain bytes, or a number with B, KB, MB, GB, TB (powers of 1000) or KiB, MiB, GiB, TiB (of 1024), in any case. */
bool value_size(const char *text, uint64_t *n_bytes);
/* Seconds, or a number with ms, s, m or h. */
bool value_duration_ms(const char *text, int64_t *ms);

/* Index of `text` among "auto|scalar|avx2", or -1. */
int value_choice(const char *choices, const char *text);

/* Levenshtein distance, each text read up to 63 bytes. */
int edit_distance(const char *a, const char *b);

#endif
