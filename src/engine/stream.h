/* The engine's side of a stream: a bounded buffer of events between the engine thread and one reader. It carries one or
 * several choices, each from STARTED to END; an ERROR ends all of them.
 *
 * Held by the reader and by the sequence of each choice; the last to leave frees it. STARTED and terminal events always
 * find room, are pushed once, and an ERROR may come from any thread: whoever cancels ends the stream at once, and the
 * engine finds out between steps.
 */
#ifndef TALLOW_ENGINE_STREAM_H
#define TALLOW_ENGINE_STREAM_H

#include <stdatomic.h>

#include "engine/engine.h"

/* One reference, the reader's; NULL on failure. */
struct stream *stream_create(int n_choices, struct error *error);
struct stream *stream_ref(struct stream *stream);
void stream_unref(struct stream *stream);

/* Room for the log-probabilities of all tokens that may wait; before any is pushed with some. */
bool stream_reserve_logprobs(struct stream *stream, struct error *error) MUST_USE;

/* Room for the vector of a choice, n numbers, all choices alike, which its END may point to as long as the stream lives. */
float *stream_reserve_embedding(struct stream *stream, int choice, int64_t n, struct error *error) MUST_USE;
/* Room for the log-probabilities [n_tokens] of a choice's prompt, to be filled in before its first token is pushed, or its
 * end; valid as long as the stream. NULL when memory is short. */
struct token_logprobs *stream_reserve_prompt(struct stream *stream, int choice, int64_t n_tokens, struct error *error);

void stream_push_started(struct stream *stream, int choice, int64_t prompt_tokens, int64_t cached_tokens);
/* A TOKEN: its choice, token, index, logprobs and text. false when the reader is too far behind: nothing was pushed and the
 * engine should cancel. */
bool stream_push_token(struct stream *stream, const struct event *event);
/* A terminal event, END of event->choice or ERROR; false when the stream had ended already. */
bool stream_push_terminal(struct stream *stream, const struct event *event);

bool stream_ended(struct stream *stream); /* all its choices have */
/* Raised by an ERROR from any thread; what model_forward looks at between matrices. */
const atomic_bool *stream_cancel_flag(const struct stream *stream);
/* Of that ERROR; ERROR_NONE while there was none. */
enum error_code stream_cancel_code(const struct stream *stream);

#endif
