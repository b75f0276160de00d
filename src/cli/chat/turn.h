/* One turn of a conversation: rendered with the chat template, computed by the engine as a request of the server's is, and
 * told piece by piece. What the engine still knows of the turns before is not computed again.
 *
 *     struct turn turn = {0};
 *     turn_take(engine, &talk, options, &listener, &turn, &error);
 *     turn.content, turn.reasoning, turn.calls, turn.stop_reason, turn.cached_tokens ...
 *     turn_free(&turn);
 */
#ifndef TALLOW_CLI_CHAT_TURN_H
#define TALLOW_CLI_CHAT_TURN_H

#include "base/bytes.h"
#include "base/error.h"
#include "cli/chat/talk.h"
#include "cli/options.h"
#include "engine/engine.h"

struct interrupts;

/* Who is told while it is being said. */
struct turn_listener {
	void *context;
	/* `kind` is enum answer_part_kind (text/answer.h). */
	void (*part)(void *context, int kind, const char *text, size_t n_bytes);
	/* The pieces that there were are told for now. False: nobody listens any more. */
	bool (*pause)(void *context);
	struct interrupts *interrupts; /* Ctrl-C stops the answer */
};

struct turn {
	struct bytes content, reasoning;
	struct bytes calls; /* JSON list of the calls of tools, as a message has them; empty: none */
	bool stopped;       /* by Ctrl-C, or because nobody listens: what there is of the answer counts */
	enum stop_reason stop_reason;
	int64_t prompt_tokens, cached_tokens, completion_tokens;
	uint64_t seed;
	double prefill_ms, decode_ms, time_to_first_token_ms, tokens_per_second;
};

/* Sampling is the options', and where those are not given the model's own. False with the engine's or the template's error
 * (ERROR_CONTEXT_LENGTH: the conversation does not fit); then nothing was said. `turn` is zeroed, and the caller frees it. */
bool turn_take(struct engine *engine, const struct talk *talk, const struct options *options,
               const struct turn_listener *listener, struct turn *turn, struct error *error) MUST_USE;
void turn_free(struct turn *turn);

#endif
