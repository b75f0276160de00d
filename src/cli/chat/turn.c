/* A turn, from the conversation to its answer (turn.h). */
#include "cli/chat/turn.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "base/platform.h"
#include "cli/chat/interrupts.h"
#include "server/generation/generation.h"

enum { CHAT_OWNER = 1 };

/* ---- what is asked for ---- */

/* A field of the sampling and the option that sets it; the model's own value stays where that is not given. */
static void fill_sampling(const struct options *options, struct sampling *sampling)
{
	const struct {
		const char *name;
		double value, *field;
	} numbers[] = {
	    {"min-p", options->min_p, &sampling->min_p},
	    {"typical-p", options->typical_p, &sampling->typical_p},
	    {"repetition-penalty", options->repetition_penalty, &sampling->repetition_penalty},
	};
	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
		if (options_given(options, numbers[i].name))
			*numbers[i].field = numbers[i].value;
	if (options_given(options, "top-k"))
		sampling->top_k = options->top_k;
	sampling->temperature = options->temperature;
	sampling->top_p = options->top_p;
	sampling->top_n_sigma = options->top_n_sigma;
	sampling->presence_penalty = options->presence_penalty;
	sampling->frequency_penalty = options->frequency_penalty;
	sampling->seed = options->seed;
}

static bool fill_asked(struct generation *generation, struct engine *engine, const struct options *options,
                       struct json *document, struct error *error)
{
	struct engine_status status;
	engine_status(engine, &status);
	struct asked *asked = &generation->asked;
	*asked = (struct asked){
	    .conversation = document,
	    .made_conversation = document, /* the generation's from here on */
	    .max_tokens = options->max_tokens ? options->max_tokens : status.context_length,
	    .fit_pool = true,
	    .stream = true,
	    .has_seed = options_given(options, "seed"),
	    .answer = {.reads = true},
	};
	asked->sampling = status.sampling ? *status.sampling : sampling_neutral;
	fill_sampling(options, &asked->sampling);
	const struct json *tools = json_get(document, "tools");
	if (json_count(tools) == 0)
		return true;
	asked->answer.offered = answer_tools_read(tools, &generation->arena);
	return asked->answer.offered || error_set(error, ERROR_MEMORY, "no memory for the tools");
}

/* ---- what is said ---- */

static void note_call(struct turn *turn, const struct answer_part *part)
{
	switch (part->kind) {
	case ANSWER_CALL_BEGUN:
		bytes_append_text(&turn->calls, turn->calls.n_bytes ? "," : "[");
		bytes_append_text(&turn->calls, "{\"type\":\"function\",\"function\":{\"name\":");
		json_write_string(&turn->calls, part->text, part->n_bytes);
		bytes_append_text(&turn->calls, ",\"arguments\":");
		break;
	case ANSWER_CALL_ARGUMENTS:
		bytes_append(&turn->calls, part->text, part->n_bytes);
		break;
	default:
		bytes_append_text(&turn->calls, "}}");
	}
}

/* A call that was none is taken back, and is content. */
static void note_part(struct turn *turn, const struct answer_part *part, size_t *whole_calls)
{
	if (part->kind == ANSWER_CONTENT || part->kind == ANSWER_CALL_BROKEN)
		bytes_append(&turn->content, part->text, part->n_bytes);
	if (part->kind == ANSWER_REASONING)
		bytes_append(&turn->reasoning, part->text, part->n_bytes);
	if (part->kind == ANSWER_CALL_BEGUN || part->kind == ANSWER_CALL_ARGUMENTS || part->kind == ANSWER_CALL_ENDED)
		note_call(turn, part);
	if (part->kind == ANSWER_CALL_ENDED)
		*whole_calls = turn->calls.n_bytes;
	if (part->kind == ANSWER_CALL_BROKEN && turn->calls.data) {
		turn->calls.n_bytes = *whole_calls;
		turn->calls.data[*whole_calls] = '\0';
	}
}

static void take_parts(struct generation *generation, const struct event *event, const struct turn_listener *listener,
                       struct turn *turn, size_t *whole_calls)
{
	struct answer_reader *reader = answers_push(generation, event);
	struct answer_part part;
	while (answer_reader_next(reader, &part)) {
		note_part(turn, &part, whole_calls);
		listener->part(listener->context, part.kind, part.text, part.n_bytes);
	}
}

/* Waits for the next events. False: the answer is to stop. */
static bool wait_for_events(struct generation *generation, const struct turn_listener *listener)
{
	struct pollfd fds[] = {{.fd = generation_fd(generation), .events = POLLIN},
	                       {.fd = listener->interrupts->fd, .events = POLLIN}};
	if (poll(fds, 2, -1) < 0 && errno != EINTR)
		return false;
	enum signal_seen seen = fds[1].revents ? interrupts_next(listener->interrupts) : SIGNAL_NONE;
	if (seen == SIGNAL_PAUSE)
		interrupts_pause();
	return seen != SIGNAL_INTERRUPT && seen != SIGNAL_END;
}

/* The engine tells the times of answers that end by themselves. */
struct times {
	int64_t begun_ns, first_ns, last_ns;
};

static void note_times(const struct times *times, const struct generation *generation, struct turn *turn)
{
	double decode_s = (double)(times->last_ns - times->first_ns) / 1e9;
	turn->time_to_first_token_ms = turn->prefill_ms = (double)(times->first_ns - times->begun_ns) / 1e6;
	turn->decode_ms = decode_s * 1e3;
	turn->tokens_per_second = decode_s > 0 ? (double)(generation->tokens_out - 1) / decode_s : 0;
}

static void follow(struct generation *generation, const struct turn_listener *listener, struct turn *turn)
{
	size_t whole_calls = 0;
	struct event event;
	struct times times = {.begun_ns = clock_ns()};
	times.first_ns = times.last_ns = times.begun_ns;
	while (!generation->finished) {
		if (!wait_for_events(generation, listener) && !turn->stopped) {
			turn->stopped = true;
			stream_cancel(generation->stream, ERROR_CANCELLED);
		}
		while (generation_next(generation, &event)) {
			if (event.type == EVENT_TOKEN)
				times.last_ns = clock_ns();
			if (event.type == EVENT_TOKEN && event.index == 0)
				times.first_ns = times.last_ns;
			if (event.type != EVENT_STARTED)
				take_parts(generation, &event, listener, turn, &whole_calls);
		}
		if (!listener->pause(listener->context) && !turn->stopped) {
			turn->stopped = true;
			stream_cancel(generation->stream, ERROR_CANCELLED);
		}
	}
	if (turn->calls.n_bytes > 0)
		bytes_append_text(&turn->calls, "]");
	if (turn->stopped)
		note_times(&times, generation, turn);
}

static bool conclude(const struct generation *generation, struct turn *turn, struct error *error)
{
	turn->stop_reason = generation->stop_reason;
	turn->prompt_tokens = generation->prompt_tokens;
	turn->cached_tokens = generation->cached_tokens;
	turn->completion_tokens = generation->tokens_out;
	turn->seed = generation->seed;
	if (!turn->stopped) {
		turn->prefill_ms = generation->prefill_ms;
		turn->decode_ms = generation->decode_ms;
		turn->time_to_first_token_ms = generation->time_to_first_token_ms;
		turn->tokens_per_second = generation->tokens_per_second;
	}
	if (generation->error.code != ERROR_NONE && !(turn->stopped && generation->error.code == ERROR_CANCELLED)) {
		*error = generation->error;
		return false;
	}
	if (turn->content.failed || turn->reasoning.failed || turn->calls.failed)
		return error_set(error, ERROR_MEMORY, "no memory for the answer");
	return true;
}

bool turn_take(struct engine *engine, const struct talk *talk, const struct options *options,
               const struct turn_listener *listener, struct turn *turn, struct error *error)
{
	struct sender sender = {.request_id = "chat", .owner = CHAT_OWNER, .received_ns = clock_ns()};
	struct generation *generation = generation_create(error);
	struct json *document = generation ? talk_document(talk, error) : NULL;
	bool ok = document && fill_asked(generation, engine, options, document, error) &&
	          generation_submit(generation, &sender, engine, NULL, error);
	if (ok) {
		follow(generation, listener, turn);
		ok = conclude(generation, turn, error);
	}
	generation_destroy(generation);
	return ok;
}

void turn_free(struct turn *turn)
{
	bytes_free(&turn->content);
	bytes_free(&turn->reasoning);
	bytes_free(&turn->calls);
}
