/* The fields that say what an output must be: one place for all dialects and the names that clients of several servers use.
 *
 *     constraint_fields_read(check, generation, error);          // what stands in a body under its own name
 *     constraint_format_read(check, "text.format", format, generation, error);   // a format that a dialect has elsewhere
 *     constraint_fields_conclude(check, generation, error);      // compiles it; once, last
 *
 *   response_format       {"type":"text"}, {"type":"json_object"}, {"type":"json_schema","json_schema":{"schema"}}; the schema may
 *                         stand in the format itself
 *   structured_outputs    {"json" | "regex" | "choice" | "grammar" | "json_object"} (vLLM)
 *   guided_json, guided_regex, guided_choice, guided_grammar, guided_json_object    (vLLM's older names)
 *   json_schema, grammar  (llama.cpp)
 *   complete              the output is whole at max_tokens; true for schemas unless it says otherwise
 *
 * Schemas are JSON, or a text that holds some; grammars are GBNF. One of them may be given. What cannot be enforced exactly is
 * a bad field whose message names the place (a JSON pointer, a byte, a line); what is worth knowing stands in the answer's
 * `constraints` (asked.constraints).
 */
#ifndef TALLOW_SERVER_DIALECTS_CONSTRAINT_FIELDS_H
#define TALLOW_SERVER_DIALECTS_CONSTRAINT_FIELDS_H

#include "server/dialects/fields.h"
#include "server/generation/generation.h"

void constraint_fields_read(struct field_checker *check, struct generation *generation, struct error *error);
/* `format`: {"type": ...} as in response_format, or a schema alone where it has no such type and `plain` is set; "json" is any
 * object. NULL: none. */
void constraint_format_read(struct field_checker *check, const char *name, const struct json *format, bool plain,
                            struct generation *generation, struct error *error);
void constraint_fields_conclude(struct field_checker *check, struct generation *generation, struct error *error);

/* Appends the member `constraints` to an answer that has something to tell of them. */
void constraint_fields_write(const struct generation *generation, struct bytes *out);

extern const struct field_names constraint_field_names;

#endif
