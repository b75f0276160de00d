/* What a chat's answer says in OpenAI's words: messages of whole answers and deltas of streams. */
#ifndef TALLOW_SERVER_DIALECTS_OPENAI_ANSWER_H
#define TALLOW_SERVER_DIALECTS_OPENAI_ANSWER_H

#include "server/generation/generation.h"

/* `"message":{...}` for the text of one choice; out->failed where memory is short. Returns how many calls it has. */
int openai_write_message(const struct generation *generation, int choice, const struct bytes *text, struct bytes *out);
/* True when a chunk tells of this part. */
bool openai_part_shows(const struct answer_part *part);
/* `"delta":{...}` for it. */
void openai_write_delta(const struct generation *generation, int choice, const struct answer_part *part,
                        struct bytes *out);

#endif
