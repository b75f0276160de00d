/* The fields of a body that say how its answer is read and what it may call: tools, tool_choice, parallel_tool_calls. All
 * fill in generation->asked.answer; bad fields are noted in `check`; *error is set where memory is short. */
#ifndef TALLOW_SERVER_DIALECTS_ANSWER_FIELDS_H
#define TALLOW_SERVER_DIALECTS_ANSWER_FIELDS_H

#include "server/dialects/dialect.h"

/* All of a chat's. */
void answer_fields_read(struct field_checker *check, const struct request_limits *limits, struct generation *generation,
                        struct error *error);

/* `tool_choice`: none, auto, required, or an object that names a function ({"type":"function","function":{"name"}}, or the
 * name beside the type) or several that may be called ({"type":"allowed_tools"}). False for none. */
bool answer_choice_read(struct field_checker *check, struct generation *generation, struct error *error);
/* The answer is a call: of the function of that name, or of any where it is NULL. */
void answer_must_call(struct generation *generation, const struct json *name, struct error *error);
/* A tool that is `strict`: its calls are held to its schema. */
void answer_strict_read(struct generation *generation, const struct json *name, const struct json *strict,
                        struct error *error);

#endif
