/* Log-probabilities in Responses: a message has those of the tokens that are its text, and no others; what calls or reasons,
 * and tags, have none. An event's text may be told later than with it, or turn out to be no text, so tokens wait for the
 * reader:
 *
 *     responses_logprobs_push(generation, event);                    // a token, which the reader has taken in
 *     while (answer_reader_next(reader, &part))
 *         responses_logprobs_take(generation, &part, &items);        // appends those of the part's text
 *
 * Nothing is kept where none were asked for. Those of the message are the dialect's to gather, in notes[RESPONSES_LOGPROBS].
 */
#ifndef TALLOW_SERVER_DIALECTS_RESPONSES_LOGPROBS_H
#define TALLOW_SERVER_DIALECTS_RESPONSES_LOGPROBS_H

#include "server/dialects/dialect.h"

enum { RESPONSES_LOGPROBS };

void responses_logprobs_push(struct generation *generation, const struct event *event);
void responses_logprobs_take(struct generation *generation, const struct answer_part *part, struct bytes *items);

#endif
