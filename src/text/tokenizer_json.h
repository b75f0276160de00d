/* Reading fields of tokenizer.json, shared by the files that read its parts. Each reports what is wrong and where. */
#ifndef TALLOW_TEXT_TOKENIZER_JSON_H
#define TALLOW_TEXT_TOKENIZER_JSON_H

#include "base/json.h"
#include "text/description.h"

/* Where a field stands in the file, for messages: "pre_tokenizer", "post_processor", ... */
bool entry_bool(const struct json *object, const char *where, const char *key, bool *out, struct error *error) MUST_USE;
/* As above; absent or null leaves *out. */
bool field_optional_bool(const struct json *object, const char *where, const char *key, bool *out,
                         struct error *error) MUST_USE;
/* The text lives in the document; NULL on error. */
const char *entry_string(const struct json *object, const char *where, const char *key, size_t *n_bytes,
                         struct error *error) MUST_USE;
/* Copies it into the arena. */
bool entry_copy(const struct json *object, const char *where, const char *key, struct arena *arena, const char **text,
                size_t *n_bytes, struct error *error) MUST_USE;

/* In tokenizer_json_stages.c. `value` may be NULL or null. */
bool read_normalizer(const struct json *value, struct tokenizer_description *out, struct error *error) MUST_USE;
bool read_pretokenizer(const struct json *value, struct tokenizer_description *out, struct error *error) MUST_USE;
/* The same with the first stage replaced by tekken's way to cut words, as transformers' fix_mistral_regex does. */
bool read_tekken_pretokenizer(const struct json *value, struct tokenizer_description *out,
                              struct error *error) MUST_USE;
bool read_decoder(const struct json *value, struct tokenizer_description *out, struct error *error) MUST_USE;

#endif
