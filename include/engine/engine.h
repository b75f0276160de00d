/* The engine: requests in, event streams out, one thread that owns model, KV pages and sequences.
 *
 *     struct engine *engine = engine_create(&options, &error);   // no thread, no model yet
 *     engine_start(engine, &error);                              // the thread loads the model, then serves
 *     engine_wait_ready(engine, -1, &error);
 *     struct stream *stream = engine_submit(engine, &request, &retry_after_s, &error);
 *     for (bool ended = false; !ended;) {
 *         poll(&(struct pollfd){.fd = stream_fd(stream), .events = POLLIN}, 1, -1);
 *         while (!ended && stream_next(stream, &event)) ended = event.type == EVENT_END || event.type == EVENT_ERROR;
 *     }
 *     stream_close(stream);                                      // cancels what still runs; engine_submit_all: several in one
 *     engine_drain(engine); engine_stop(engine); engine_destroy(engine);
 *
 * Down goes a plain struct, up come events, backward goes one cancel flag. The engine never touches a socket and never
 * waits for a reader: a stream that is not read fills its own bounded buffer and is then cancelled.
 *
 * Everything here may be called from any thread unless it says otherwise. Times are nanoseconds of clock_ns() where a name
 * ends in _ns, milliseconds in _ms, seconds in _s and _seconds. Nothing here knows of sockets, JSON, tensors or weights.
 */
#ifndef TALLOW_ENGINE_ENGINE_H
#define TALLOW_ENGINE_ENGINE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/sampler.h"
#include "text/stop.h"
#include "text/tokenizer.h"

struct chat_template; /* text/chat_template.h */
struct grammar;       /* text/grammar.h */
struct engine;
struct stream;
struct model_options; /* model/plan.h; whoever only sends requests need not know it */

/* Which hidden states make the vector of an embedding: the mean of all, that of the first token, of the last. */
enum pooling { POOLING_AUTO, POOLING_NONE, POOLING_MEAN, POOLING_CLS, POOLING_LAST };

struct engine_options {
	const struct model_options *model; /* copied with its path; required; the engine opens the files itself */
	const char *name;                  /* what the model is called; NULL or "" = as model_files_name says */
	bool chats;                        /* there may be conversations: the model's chat template is loaded */
	const char *chat_template;         /* file of a template in place of the model's; NULL: the model's */
	enum pooling pooling;              /* AUTO: as the model says (model/pooling.h), else that of the last token */
	int max_queue;                     /* requests waiting, beyond those that run; 0 = 64 */
	int64_t max_queued_tokens;         /* prompt tokens waiting, if more than one request waits; 0 = 1,000,000 */
	int64_t max_tokens;                /* cap and default of a request's max_tokens; 0 = 2048 */
	bool no_generation_defaults;       /* what the model's publisher says about sampling does not count */
	int max_gap_ms;                    /* bound on the pause between a running stream's tokens; 0 = 250 */
};

/* The most that constraints of requests take together, those that are being compiled included: a 32nd of the limit (0: none),
 * within bounds. For model_options.constraint_bytes; half of it at least is for those that run or wait, a quarter at most for
 * one. */
enum { ENGINE_CONSTRAINT_BYTES = 512 << 20, ENGINE_MIN_CONSTRAINT_BYTES = 32 << 20 };
uint64_t engine_constraint_bytes(uint64_t memory_limit_bytes);

/* ---- life ---- */

enum engine_state { ENGINE_CREATED, ENGINE_LOADING, ENGINE_READY, ENGINE_DRAINING, ENGINE_STOPPED, ENGINE_FAILED };
const char *engine_state_name(enum engine_state state); /* "loading", ...; static */

/* Copies the options. NULL with ERROR_MEMORY. */
struct engine *engine_create(const struct engine_options *options, struct error *error) MUST_USE;
/* Starts the engine's thread, which loads the model; how that ends is told by engine_wait_ready and engine_status. Once.
 * ERROR_MEMORY when there is no thread. */
bool engine_start(struct engine *engine, struct error *error) MUST_USE;
/* Waits until loading ended or timeout_ms passed (-1 = for ever). True when ready; else *error is why: what made loading
 * fail (ERROR_MODEL, ERROR_MEMORY, ERROR_USAGE), ERROR_LOADING after the timeout, ERROR_SHUTTING_DOWN after a drain. */
bool engine_wait_ready(struct engine *engine, int timeout_ms, struct error *error);
/* The status says `leaving` from here on; work is accepted as before. Idempotent. */
void engine_leave(struct engine *engine);
/* No new work from here on (ERROR_SHUTTING_DOWN) but for requests that go on with what was taken; what runs or waits goes on.
 * Idempotent. */
void engine_drain(struct engine *engine);
/* True when nothing runs and nothing waits. */
bool engine_idle(struct engine *engine);
/* Ends what still runs or loads, with an error event (ERROR_SHUTTING_DOWN) each, and the thread. Returns when that is done:
 * a running step ends at its next matrix. Idempotent. Not from the engine's thread; by the thread that started it. */
void engine_stop(struct engine *engine);
/* Stops, then frees the model and all else; streams must be closed. NULL is harmless. */
void engine_destroy(struct engine *engine);

/* ---- what it is doing ---- */

struct engine_status {
	enum engine_state state;
	struct error error; /* when FAILED or unfit; else code NONE */
	bool unfit;         /* loaded, but its answers are worth nothing: weights changed under it, or all of them fail */
	bool leaving;       /* the process is about to drain, and who chooses among workers should take another */
	bool stalled;       /* work is there, but the engine's thread made no step for too long */
	const char *load_stage; /* "map", "touch", ... */
	uint64_t load_bytes_done, load_bytes_total;
	double load_seconds; /* once ready */

	const char *model_name; /* texts are borrowed until engine_destroy */
	int64_t max_tokens;     /* cap and default of a request's */
	double uptime_seconds;  /* since engine_create */

	/* While READY or DRAINING after that; else 0 and NULL. */
	const char *architecture;   /* "LlamaForCausalLM" */
	const char *quant_kind;     /* "BF16", "Q4_K": of most bytes */
	const char *tokenizer_kind; /* "bpe-byte-level" */
	const char *isa;            /* "avx2" */
	const char *fingerprint;    /* of model and settings (model/model.h) */
	const char *model_sha256;   /* 64 hex digits, where the options demanded one; else NULL */
	int threads;                /* that compute now */
	int64_t vocab_size;
	int64_t context_length; /* tokens of one request, prompt and answer */
	int64_t embedding_size; /* numbers of one; 0: requests that embed are refused */
	/* What a request's sampling starts from where its API names no default of its own: the publisher's. */
	const struct sampling *sampling;
	int n_parallel;         /* requests that run together at most */
	uint64_t planned_bytes; /* all that serving takes, weights that are mapped included */
	int kv_pages_total;
	int kv_page_tokens;

	int active, queued;                 /* requests that run; that wait */
	int64_t queued_tokens;              /* prompt tokens of those that wait */
	bool queue_full;                    /* whoever comes now is refused */
	int kv_pages_free, kv_pages_cached; /* empty; kept for prefixes, and as free when somebody needs them */
	int catching_up;          /* answers whose pages are yet to be made findable, which is done while nothing else is */
	double tokens_per_second; /* generated, over the last seconds */
};
/* A copy of a few numbers: the same time whatever runs, and it never waits for a step. */
void engine_status(struct engine *engine, struct engine_status *status);
/* Looks whether the model's files are what they were when they were loaded; an engine whose weights were cut or written to is
 * unfit for good: what runs ends with MODEL_FAULT, what comes is refused. Asks the file system; to be called now and then. */
void engine_check_files(struct engine *engine);
/* Compute with at most n_threads (>= 1) from the next step on: the CPU quota changed. */
void engine_set_threads(struct engine *engine, int n_threads);

/* Counters and histograms for /metrics; cumulative since engine_create. */
enum { HISTOGRAM_BUCKETS = 16 };
struct histogram {
	uint64_t counts[HISTOGRAM_BUCKETS + 1]; /* of values up to each bound; the last is +Inf; not cumulative */
	uint64_t n;
	double sum_seconds;
};
extern const double histogram_bounds_seconds[HISTOGRAM_BUCKETS];

enum outcome {
	OUTCOME_COMPLETED,
	OUTCOME_CANCELLED,
	OUTCOME_DEADLINE,
	OUTCOME_REJECTED,
	OUTCOME_FAILED,
	OUTCOME_COUNT
};
const char *outcome_name(enum outcome outcome); /* "completed", ...; static */

enum stop_reason { STOP_MAX_TOKENS, STOP_EOS, STOP_SEQUENCE, STOP_CONTEXT, STOP_REASON_COUNT };
const char *stop_reason_name(enum stop_reason reason); /* "max_tokens", "eos", "stop_sequence", "context"; static */

struct engine_metrics {
	uint64_t requests[OUTCOME_COUNT];
	uint64_t answers[STOP_REASON_COUNT];                     /* of the completed ones, by why they ended */
	uint64_t tokens_generated, prompt_tokens, cached_tokens; /* cached: those of prompt_tokens that nobody computed */
	uint64_t forced_tokens; /* of tokens_generated, those that a constraint left no choice but */
	uint64_t pauses;        /* of running requests, for want of pages */
	/* Seconds: from submission to the first token; between tokens of a stream; until admission; from there to the first
	 * token; from there to the end; all of it. */
	struct histogram time_to_first_token, inter_token, queue, prefill, decode, request;
};
void engine_metrics(struct engine *engine, struct engine_metrics *metrics);

/* The same of one owner's requests; the owner keeps it until engine_stop. Prompts count when they are queued. */
struct account {
	atomic_ullong requests[OUTCOME_COUNT], prompt_tokens, tokens_generated;
};

/* NULL until ready; borrowed until engine_destroy. */
const struct tokenizer *engine_tokenizer(struct engine *engine);

/* The model's chat template, or the options'; borrowed until engine_destroy. NULL: ERROR_LOADING until ready; ERROR_TEMPLATE
 * when there is none or it does not compile (the message says where it was looked for). */
const struct chat_template *engine_chat_template(struct engine *engine, struct error *error) MUST_USE;

/* ---- requests ---- */

enum { REQUEST_ID_BYTES = 64, JOB_ID_BYTES = 128, REQUEST_MAX_SHOWN = 64 };

struct request {
	char request_id[REQUEST_ID_BYTES + 1]; /* for the log */
	uint64_t owner;                        /* whose it is: owners take turns, and names of jobs are each one's own */
	struct account *account;               /* what is done for it is counted here; NULL: nowhere */
	int max_of_owner;                      /* requests of it that may run or wait, this one included; 0: any number */
	char job_id[JOB_ID_BYTES + 1];         /* one active request of an owner may have it; "" is a name, too */
	const int32_t *prompt;                 /* [n_prompt], copied by engine_submit */
	int64_t n_prompt;                      /* >= 1 */
	int64_t max_tokens;                    /* >= 0; 0 = the engine's */
	/* What the output must be, at its start; NULL: anything. The engine's from when the request is accepted; of several
	 * requests each has its own. */
	struct grammar *grammar;
	bool whole;    /* the output is complete after max_tokens: what the grammar's shortest takes is kept free */
	bool embeds;   /* wants one vector and no tokens: max_tokens, sampling and stops do not count */
	bool fit_pool; /* fewer than max_tokens, where the KV pool could never hold all of them */
	struct sampling sampling; /* its lists are copied */
	uint32_t choice;          /* which answer to its prompt this is: others draw otherwise (sampler.h) */
	struct stop_string stops[STOP_MAX_STRINGS]; /* copied */
	int n_stops;
	int32_t shown[REQUEST_MAX_SHOWN]; /* control tokens whose spelling is text: stop strings and events see it */
	int n_shown;
	bool ignore_eos;
	bool
	    prompt_logprobs; /* compute those of the prompt's tokens, with n_top_logprobs others each (stream_prompt_logprobs);
	                       * nothing of the prompt is taken from the cache then */
	bool prompt_only;    /* nothing is generated: END comes when the prompt is computed */
	bool comes_again;    /* no rejection where QUEUE_FULL refuses it: who sends it tries again, or counts that itself */
	bool goes_on;        /* with what was taken already: a drain does not refuse it */
	int priority;        /* -10..10, higher first */
	int64_t deadline_ns; /* clock_ns() value; 0 = none */
	uint64_t cache_key;  /* prefixes are shared among equal keys only */
};

/* Queues a copy of the request; never waits for a step. Caller closes the stream. NULL: LOADING, SHUTTING_DOWN,
 * QUEUE_FULL (or max_of_owner; the message says when to retry and *retry_after_s, which may be NULL, is set),
 * CONTEXT_LENGTH (the prompt alone does not fit; both counts), INVALID_REQUEST (a token that is none, more biases or
 * log-probabilities than may be), INSUFFICIENT_MEMORY (can never fit the pool), CONSTRAINT (max_tokens is less than the
 * shortest whole output takes), CONFLICT (the owner has an active job of that name), MEMORY, INTERNAL (no descriptor). One
 * that embeds may fill the context; it is an
 * INVALID_REQUEST where the model has no pooling. */
struct stream *engine_submit(struct engine *engine, const struct request *request, int *retry_after_s,
                             struct error *error) MUST_USE;
/* The same for several requests, which one stream answers: all of them or none. Each is a choice of that stream (struct
 * event) and takes a place here as if it were alone; it has the tokens that it would have alone. Whoever has the same prompt
 * (the same pointer and length) as one before it shares its pages: of a prompt of n tokens, (n - 1) % page + 1 are
 * computed again for each. They have one owner, job_id, priority and deadline, those of the first. n_requests:
 * 1..ENGINE_MAX_CHOICES, else INVALID_REQUEST, as when there are not so many places here, queue and all. */
enum { ENGINE_MAX_CHOICES = 128, ENGINE_MAX_PROMPT_LOGPROBS = 1 << 18 }; /* the latter: of all choices together */
struct stream *engine_submit_all(struct engine *engine, const struct request *requests, int n_requests,
                                 int *retry_after_s, struct error *error) MUST_USE;
/* Cancels the owner's active job of that name, whatever phase it is in; false when there is none. */
bool engine_cancel(struct engine *engine, uint64_t owner, const char *job_id);
/* Counts n requests (choices) that were refused for now before they came here, and those of the account (NULL: nobody's). */
void engine_count_rejected(struct engine *engine, struct account *account, int n);
/* Seconds after which a refused request is worth sending again; at least 1. */
int engine_retry_after(struct engine *engine);

/* ---- events: STARTED, then TOKENs, then exactly one END or ERROR. ERROR may also come first. Of several choices each has
 * its STARTED, TOKENs and END, interleaved with those of the others; an ERROR is the end of all of them. ---- */

enum event_type { EVENT_STARTED, EVENT_TOKEN, EVENT_END, EVENT_ERROR };

struct event {
	enum event_type type;
	int choice; /* place of its request in the array that was submitted */

	/* STARTED; and cached_tokens again in END, where it may be more: requests that run together share what they can */
	int64_t started_unix_ms;
	int64_t prompt_tokens, cached_tokens;

	/* TOKEN: one per generated token, EOS excluded. (END has the EOS itself as token, with its logprobs, where the
	 * request asked for these and a token ended the answer.) Text that was held back (half a character, the possible
	 * beginning of a stop string) comes with a later token; while something is held the newest token's event waits for
	 * the next one, so that the last event can carry what is left. */
	int32_t token;
	int64_t index;
	const char *text; /* borrowed until the next stream_next */
	size_t n_text_bytes;
	const struct token_logprobs *logprobs; /* NULL unless the request asked; borrowed as the text is */

	/* END; pages and place of the request are free when it can be read */
	enum stop_reason stop_reason;
	int stop_matched; /* index into the request's stops, or -1 */
	int64_t completion_tokens;
	const float *embedding; /* [n_embedding], of unit length; NULL unless the request embeds; until stream_close */
	int64_t n_embedding;
	double queue_ms, prefill_ms, decode_ms, time_to_first_token_ms, tokens_per_second;

	/* ERROR: CANCELLED, DEADLINE, SHUTTING_DOWN, INFERENCE (also: a constraint that ran out of its bounds), MODEL_FAULT
	 * (logits that are not finite) */
	struct error error;
};

/* Takes the next event; false when none is there now, for which it does not wait. One reader at a time. */
bool stream_next(struct stream *stream, struct event *event);
/* Of the prompt of a choice, [n_prompt]; nothing is known of its first token, whose rank is 0. NULL where the request did not
 * ask. To be read once a TOKEN or the END of that choice was, or of another with the same prompt; borrowed until
 * stream_close. */
const struct token_logprobs *stream_prompt_logprobs(const struct stream *stream, int choice);
/* Readable (poll) while events may be there. Borrowed until stream_close. */
int stream_fd(const struct stream *stream);
/* Asks the engine to stop this request; it ends with an ERROR event of `code` (CANCELLED, DEADLINE, ...). Idempotent. */
void stream_cancel(struct stream *stream, enum error_code code);
/* The reader leaves; cancels if the request still runs. The stream is gone for the caller. NULL is harmless. */
void stream_close(struct stream *stream);

#endif
