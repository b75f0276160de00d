/* The fields of a chat's body that say how its answer is read: tools, tool_choice, parallel_tool_calls. */
#ifndef TALLOW_SERVER_DIALECTS_ANSWER_FIELDS_H
#define TALLOW_SERVER_DIALECTS_ANSWER_FIELDS_H

#include "server/dialects/dialect.h"

/* Fills in generation->asked.answer. tool_choice is none, or else the model chooses: there is nothing yet that could hold it
 * to calling. Bad fields are noted in `check`; *error is set where memory is short. */
void answer_fields_read(struct field_checker *check, const struct request_limits *limits, struct generation *generation,
                        struct error *error);

#endif
