/* The bodies of OpenAI's requests as checked structs. */
#ifndef TALLOW_SERVER_DIALECTS_OPENAI_REQUEST_H
#define TALLOW_SERVER_DIALECTS_OPENAI_REQUEST_H

#include <stdbool.h>

#include "server/dialects/dialect.h"

/* struct dialect's parse. */
bool openai_parse_chat(const struct json *body, const struct request_limits *limits, struct generation *generation,
                       struct field_checker *check, struct error *error) MUST_USE;
bool openai_parse_completion(const struct json *body, const struct request_limits *limits,
                             struct generation *generation, struct field_checker *check, struct error *error) MUST_USE;

/* Checks `messages` and `tools` of a body. *conversation is what a template may be given: the body itself, or a copy (then
 * *made, too, which the caller destroys) in which content that came in parts is one text, and the effort none is
 * `enable_thinking` false, too. A failed allocation sets *error; bad fields are noted in `check`. */
bool openai_read_conversation(const struct json *body, struct field_checker *check, const struct json **conversation,
                              struct json **made, struct error *error) MUST_USE;

/* Token ids of a member of the body, each 0 <= id < vocab_size; *out is [*n_ids], which the caller frees either way. */
bool openai_read_tokens(const struct json *array, int64_t vocab_size, const char *name, struct field_checker *check,
                        int32_t **out, size_t *n_ids, struct error *error) MUST_USE;

/* openai.c: struct dialect's bad_fields and error. */
void openai_write_bad_fields(const struct field_checker *check, const char *request_id, struct bytes *body);
void openai_write_error(const struct error *error, const char *request_id, int retry_after_s,
                        struct error_answer *answer);

#endif
