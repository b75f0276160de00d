/* The engine's side of a stream: a bounded buffer of events between the engine thread and one reader.
 *
 * Two holders, the engine and the reader; the last to leave frees it. The terminal event always finds room, is pushed
 * once, and may come from any thread: whoever cancels ends the stream at once, and the engine finds out between steps.
 */
#ifndef TALLOW_ENGINE_STREAM_H
#define TALLOW_ENGINE_STREAM_H

#include <stdatomic.h>

#include "engine/engine.h"

/* Two references, the engine's and the reader's; NULL on failure. */
struct stream *stream_create(struct error *error);
void stream_unref(struct stream *stream);

/* Room for the log-probabilities of all tokens that may wait; before any is pushed with some. */
bool stream_reserve_logprobs(struct stream *stream, struct error *error) MUST_USE;

void stream_push_started(struct stream *stream, int64_t prompt_tokens, int64_t cached_tokens);
/* logprobs NULL: there are none. false when the reader is too far behind: nothing was pushed and the engine should cancel. */
bool stream_push_token(struct stream *stream, int32_t token, int64_t index, const struct token_logprobs *logprobs,
                       const char *text, size_t n_bytes);
/* A terminal event (END or ERROR); false when the stream had ended already. */
bool stream_push_terminal(struct stream *stream, const struct event *event);

bool stream_ended(struct stream *stream);
/* Raised by a cancel from any thread; what model_forward looks at between matrices. */
const atomic_bool *stream_cancel_flag(const struct stream *stream);
/* Why it was cancelled; ERROR_NONE while it was not. */
enum error_code stream_cancel_code(const struct stream *stream);

#endif
