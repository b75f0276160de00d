/* One generation: what a request asked for and what was said so far. State alone: the bytes of a protocol are its
 * dialect's (dialects/dialect.h).
 *
 *     struct generation *generation = generation_create(&error);
 *     dialect->parse(body, &limits, generation, &check, &error);       // fills in generation->asked
 *     generation_submit(generation, &sender, engine, &retry_after_s, &error);
 *     while (!generation->finished) { wait for generation_fd(generation); while (generation_next(generation, &event)) ...; }
 *     generation_destroy(generation);                                  // cancels what still runs
 *
 * It is one or several choices (answers), whose events carry their places. A dialect that never asks for more than one
 * need not look at `choices`: what is in the generation itself is about all of them.
 *
 * Everything that came from the request's body lies in the generation's arena and is freed with it.
 */
#ifndef TALLOW_SERVER_GENERATION_GENERATION_H
#define TALLOW_SERVER_GENERATION_GENERATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/json.h"
#include "base/running.h"
#include "engine/engine.h"
#include "server/generation/answers.h"
#include "text/grammar.h"
#include "text/template.h"

enum { GENERATION_NOTES = 5, GENERATION_NOTES_BYTES = 256 << 20 };

/* A function that stands in a namespace of tools. */
struct tool_place {
	const char *name, *space;
	const struct tool_place *next;
};

/* A text, or tokens [n_tokens] where that is NULL. */
struct asked_prompt {
	const char *text;
	size_t n_bytes;
	const int32_t *tokens;
	size_t n_tokens;
};

/* What the output must be. */
struct asked_constraint {
	bool wanted;
	enum grammar_kind kind;
	const char *source; /* [n_bytes] */
	size_t n_bytes;
	const char *field; /* of the body, that it stood in */
	bool whole;        /* complete at max_tokens */
	const char *notes; /* JSON array of what is worth knowing of it; NULL: nothing */
};

/* Checked; every field is in range. */
struct asked {
	const char *job_id; /* NULL: to be chosen */
	/* One of four, gone once submitted. */
	const struct asked_prompt *prompts; /* [n_prompts] */
	int n_prompts;
	const char *prompt;
	size_t n_prompt_bytes;
	const int32_t *prompt_tokens; /* [n_prompt_tokens] */
	size_t n_prompt_tokens;
	const struct json *conversation; /* for the chat template */
	const char *prompt_field;        /* of the body, that it stood in: for errors; NULL: they do not name it */
	struct json *made_conversation;  /* owned: the same, where the dialect had to rewrite it; else NULL */

	const char *model; /* that was asked for; NULL: any */
	bool only_load;    /* nothing is to be generated: is the model there? */
	int64_t max_tokens;
	bool fit_pool;      /* struct request */
	bool include_usage; /* in the stream's last chunk but one */
	struct sampling sampling;
	bool has_seed;      /* else one is chosen when submitted */
	int n_choices;      /* of each prompt; 0 and 1: one */
	int n_best;         /* the whole answer tells so many of them, the likeliest; 0 = all */
	bool logprobs;      /* of the tokens are told; sampling.logprobs is set, too, and where only n_best needs them */
	bool echoes_prompt; /* the prompt comes before the answer, its log-probabilities with it where those are told */
	bool prompt_only;   /* nothing is generated */
	struct stop_string stops[STOP_MAX_STRINGS];
	int n_stops;
	bool stream;
	bool ignore_eos;
	bool parse_special;
	struct asked_answer answer; /* of a conversation */
	int64_t priority;
	int64_t deadline_ms;                  /* after the request came; 0 = none */
	const struct tool_place *tool_places; /* NULL: there are no namespaces */
	const char *echo; /* members of the request that the answer repeats, as JSON; NULL where there are none */
	struct asked_constraint constraint;
	const char *constraints; /* JSON object: what the answer tells of them; NULL: nothing */
	const char *ignored;     /* JSON array of unknown fields' names; NULL when there are none */
};

/* What was encoded. */
struct prompt {
	struct token_ids ids;
	const char *text; /* as it was given; NULL: as tokens, or there is no echo */
	size_t n_text_bytes;
};

/* One of the answers. Filled in as the generation's own fields are. */
struct choice {
	bool finished;
	int64_t prompt_tokens, cached_tokens; /* 0 where another choice has the same prompt and comes before it */
	int64_t tokens_out;
	double logprob; /* of all tokens together, where the sampling tells those */
	enum stop_reason stop_reason;
	int stop_matched;

	struct answer_reader *reader; /* where events are read (asked_answer's reads and follows); else NULL */

	/* What the dialect writes down as events come, for its whole answer (generation_notes_fit). */
	struct bytes notes[GENERATION_NOTES];
	int64_t n_characters; /* of the tokens whose log-probabilities were told */
	int64_t n_bytes_read; /* of the text that its reader took in, where the dialect counts */
	bool echoed;          /* the prompt was told */
};

/* Events that were taken in before anyone asked for them; given again in their order. Of one choice. */
struct backlog {
	bool has_started, has_last;
	struct event started, last;
	struct bytes tokens; /* struct kept_token[] */
	struct bytes text;
	size_t next_token, next_text; /* to be given; the texts follow one another */
};

/* How far an answer in blocks or items has been told: one is open at a time. The dialect's own. */
struct telling {
	enum { TELLING_NOTHING, TELLING_REASONING, TELLING_TEXT, TELLING_CALL } open;
	int n_begun;        /* blocks or items */
	int call;           /* of the open one: its number ... */
	struct bytes name;  /* ... and function */
	struct bytes text;  /* of the open one, as far as the dialect needs it */
	struct bytes items; /* those that are whole, as JSON */
	int64_t n_events;
	int64_t reasoning_tokens;
};

struct generation {
	struct arena arena;
	struct asked asked;
	struct telling telling;
	char request_id[REQUEST_ID_BYTES + 1];
	char job_id[JOB_ID_BYTES + 1];
	uint64_t owner;          /* whose job it is */
	struct running *running; /* where it is noted that it runs; NULL: nowhere, or no longer */
	int running_place;
	const char *model;
	const char *fingerprint; /* of model and settings (engine_status), or NULL; lives as long as the engine */
	uint64_t seed;

	const struct tokenizer *tokenizer; /* the engine's; once submitted */
	struct choice *choices;            /* [n_choices], in the arena; one until submitted */
	int n_choices, per_prompt;         /* choice c is one of prompt c / per_prompt */
	struct prompt *prompts;            /* [n_prompts], in the arena; as long as somebody needs them */
	int n_prompts;

	struct grammar *grammar;       /* asked.constraint, compiled; the engine's once submitted */
	struct stream *stream;         /* NULL until submitted */
	struct answer_reading reading; /* answers.h */
	struct backlog backlog;

	/* What the events told that generation_next has given so far: sums over the choices, and of what is no number that of
	 * the first to start and the last to end. */
	bool started, finished; /* one of them; all of them */
	int64_t started_unix_ms;
	int64_t prompt_tokens, cached_tokens;
	int64_t tokens_out;
	enum stop_reason stop_reason;
	int stop_matched; /* index into asked.stops, or -1 */
	double queue_ms, prefill_ms, decode_ms, time_to_first_token_ms, tokens_per_second;
	struct error error; /* code ERROR_NONE unless it ended with one */
};

struct generation *generation_create(struct error *error) MUST_USE;
void generation_destroy(struct generation *generation); /* NULL is harmless */
/* What ran has come to its end, or will not. Before the last of an answer is sent: whoever has it may ask for the same
 * again. */
void generation_end_running(struct generation *generation);

/* Who asks, and when. */
struct sender {
	const char *request_id;
	uint64_t owner;          /* jobs belong to it; names of jobs are its own */
	struct account *account; /* NULL: nothing is counted for it alone */
	int max_requests;        /* of the owner, at a time; 0: any number */
	int max_priority;        /* what the request's is cut to */
	uint64_t cache_key;      /* prefixes are shared among equal ones */
	int64_t received_ns;
};

/* So many choices of which nothing was said yet, in place of the one that each generation has before it is submitted. */
bool generation_make_choices(struct generation *generation, int n_choices, struct error *error) MUST_USE;

/* The prompt that a conversation becomes, by the engine's chat template. Caller frees. */
bool generation_render(struct engine *engine, const struct json *conversation, struct rendering *out,
                       struct error *error) MUST_USE;
/* And its tokens, appended: what it says becomes control tokens only with `parse_special`. `reading` may be NULL; else how
 * the answer to this prompt is to be read is filled in for `asked`. */
bool generation_encode_chat(struct engine *engine, const struct json *conversation, bool parse_special,
                            const struct asked_answer *asked, struct answer_reading *reading, struct token_ids *ids,
                            struct error *error) MUST_USE;

/* Tokenises the prompt and hands the request to the engine. Errors: as engine_submit's, and what cannot be tokenised. */
bool generation_submit(struct generation *generation, const struct sender *sender, struct engine *engine,
                       int *retry_after_s, struct error *error) MUST_USE;

/* Readable (poll) while generation_next may have something. */
int generation_fd(const struct generation *generation);
/* The next event, noted in the fields above; false when there is none now. */
bool generation_next(struct generation *generation, struct event *event);
/* Notes one event in the fields above. */
void generation_note(struct generation *generation, const struct event *event);
/* Whether what the dialect wrote down is all there, and of all choices together no more than GENERATION_NOTES_BYTES:
 * else MEMORY, or INVALID_REQUEST. */
bool generation_notes_fit(const struct generation *generation, struct error *error) MUST_USE;

/* Takes in the events that are there, to be given later: the engine takes a reader that does not read for one that left. With
 * the last of them it no longer runs. */
void generation_take_in(struct generation *generation);
/* Nothing comes any more, though not all may have been given. */
bool generation_has_ended(const struct generation *generation);

#endif
