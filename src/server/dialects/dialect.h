/* A dialect: one protocol in which clients ask for generations and are answered. A route names its dialect; what is
 * answered before a route is known is written in the worker's.
 *
 *     body --parse--> generation --frame, whole, error--> bytes
 *
 * A dialect keeps no state of its own and sees no socket: the generation has what was asked and said so far (and an arena
 * for what a dialect wants to remember of one request). A further dialect is one file with one such struct, a declaration
 * here, and its rows in routes/routes.c.
 */
#ifndef TALLOW_SERVER_DIALECTS_DIALECT_H
#define TALLOW_SERVER_DIALECTS_DIALECT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/json.h"
#include "server/dialects/fields.h"
#include "server/generation/generation.h"

struct request_limits {
	int64_t max_tokens; /* cap and default */
	int64_t context;    /* cap and default of the dialects that go by it */
	int64_t vocab_size;
	const struct tokenizer *tokenizer; /* what texts become tokens in */
	const struct sampling *sampling;   /* defaults where the dialect has none of its own */
	struct answer_settings answers;
};

/* The answer to a request that failed before its first event. */
struct error_answer {
	int status;
	int retry_after_s; /* 0: no such header */
	struct bytes body; /* JSON */
};

struct dialect {
	const char *stream_type;  /* Content-Type of event streams */
	const char *named_header; /* in which clients look for the request's id beside X-Request-Id; NULL: in none */

	/* Checks all fields of a body and fills in generation->asked; false when some are bad, which `check` then lists.
	 * Texts are copied into the generation's arena, but for prompt and conversation, which may point into the document.
	 * A failed allocation sets *error and is false, too. */
	bool (*parse)(const struct json *body, const struct request_limits *limits, struct generation *generation,
	              struct field_checker *check, struct error *error);

	/* The body of the 400 that names bad fields; there is at least one. */
	void (*bad_fields)(const struct field_checker *check, const char *request_id, struct bytes *body);
	/* Any other error. retry_after_s: when to come back, as far as it is known; 0 = it is not. */
	void (*error)(const struct error *error, const char *request_id, int retry_after_s, struct error_answer *answer);

	/* Appends what an event is in the stream; generation_next has taken it in. */
	void (*frame)(struct generation *generation, const struct event *event, struct bytes *out);
	/* Appends what keeps a waiting client and the proxies before it awake; may append nothing. generation: NULL in streams
	 * of other things. */
	void (*ping)(const struct generation *generation, struct bytes *out);
	/* Takes in an event of an answer that is not streamed, for `whole`; NULL where the text is all that it needs. */
	void (*note)(struct generation *generation, const struct event *event);
	/* The whole answer of a generation that ended well; text: [n_choices]. */
	void (*whole)(const struct generation *generation, const struct bytes *text, struct bytes *body);
};

extern const struct dialect worker_dialect; /* worker.c: /execute and the other routes of the worker's own contract */

/* orchestrator.c: /v1/jobs and /v1/jobs/...; /v1/infer; /v1/inference, which streams as /execute does */
extern const struct dialect orchestrator_job_dialect, orchestrator_infer_dialect, orchestrator_inference_dialect;

/* openai.c: /v1/chat/completions, and the errors of what else OpenAI's clients ask for; /v1/completions */
extern const struct dialect openai_chat_dialect, openai_completion_dialect;

/* responses.c: OpenAI's Responses */
extern const struct dialect responses_dialect;

/* messages.c: Anthropic's Messages, /v1/messages and what is below it */
extern const struct dialect messages_dialect;

/* ollama.c: Ollama's /api/chat and what else is below /api; /api/generate */
extern const struct dialect ollama_chat_dialect, ollama_generate_dialect;

#endif
