/* `tallow generate`: one prompt through the same engine that serves, text to standard output as it comes. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "cli/commands.h"
#include "cli/screen.h"
#include "cli/setup.h"
#include "engine/engine.h"

enum { MAX_PROMPT_BYTES = 64 << 20 };

static bool fill_request(const struct options *options, const struct token_ids *prompt, struct request *request,
                         struct error *error)
{
	*request = (struct request){
	    .request_id = "generate",
	    .job_id = "generate",
	    .prompt = prompt->ids,
	    .n_prompt = (int64_t)prompt->n_ids,
	    .max_tokens = options->max_tokens,
	    .sampling =
	        {
	            .temperature = options->temperature,
	            .top_p = options->top_p,
	            .min_p = options->min_p,
	            .top_k = options->top_k,
	            .typical_p = options->typical_p,
	            .top_n_sigma = options->top_n_sigma,
	            .repetition_penalty = options->repetition_penalty,
	            .presence_penalty = options->presence_penalty,
	            .frequency_penalty = options->frequency_penalty,
	            .min_tokens = options->min_tokens,
	            .seed = options->seed,
	        },
	    .n_stops = options->n_stops,
	    .ignore_eos = options->ignore_eos,
	};
	for (int i = 0; i < options->n_stops; i++) {
		request->stops[i] = (struct stop_string){.text = options->stops[i], .n_bytes = strlen(options->stops[i])};
		if (request->stops[i].n_bytes == 0)
			return error_set(error, ERROR_USAGE, "--stop may not be empty");
	}
	if (!options_given(options, "seed") && !random_bytes(&request->sampling.seed, sizeof request->sampling.seed))
		return error_set(error, ERROR_INTERNAL, "the system gives no random numbers");
	return true;
}

static void print_stats(const struct event *end, const struct request *request)
{
	double prefill_s = end->prefill_ms / 1000;
	fprintf(stderr,
	        "prompt: %" PRId64 " tokens in %.1f ms (%.1f tokens/s)\n"
	        "output: %" PRId64 " tokens in %.1f ms (%.1f tokens/s), first after %.1f ms\n"
	        "ended by: %s; seed %" PRIu64 "\n",
	        request->n_prompt, end->prefill_ms, prefill_s > 0 ? (double)request->n_prompt / prefill_s : 0,
	        end->completion_tokens, end->decode_ms, end->tokens_per_second, end->time_to_first_token_ms,
	        stop_reason_name(end->stop_reason), request->sampling.seed);
}

/* What is printed goes out. False: standard output takes no more, with *error unless its reader left: that is no error,
 * there is nobody left to print for. */
static bool send_out(struct error *error)
{
	if (fflush(stdout) == 0)
		return true;
	if (errno != EPIPE)
		error_set(error, ERROR_INTERNAL, "cannot write to standard output: %s", strerror(errno));
	return false;
}

/* Prints events until the last one, or until nobody reads. False: it was an error. */
static bool print_stream(struct stream *stream, const struct request *request, bool stats, struct screen *screen,
                         struct error *error)
{
	struct event event;
	for (;;) {
		struct pollfd fd = {.fd = stream_fd(stream), .events = POLLIN};
		if (poll(&fd, 1, -1) < 0 && errno != EINTR)
			return error_set(error, ERROR_INTERNAL, "cannot wait for tokens: %s", strerror(errno));
		while (stream_next(stream, &event)) {
			if (event.type == EVENT_ERROR) {
				*error = event.error;
				return false;
			}
			if (event.type == EVENT_TOKEN)
				screen_text(screen, event.text, event.n_text_bytes);
			if (event.type == EVENT_END) {
				screen_end_text(screen);
				putchar('\n');
				bool sent = send_out(error);
				if (stats)
					print_stats(&event, request);
				return sent || error->code == ERROR_NONE;
			}
		}
		if (!send_out(error))
			return error->code == ERROR_NONE;
	}
}

static bool encode_prompt(const struct options *options, struct engine *engine, struct token_ids *ids,
                          struct error *error)
{
	struct bytes input = {0};
	const char *text = options->prompt;
	size_t n_bytes = text ? strlen(text) : 0;
	bool ok = true;
	if (!text) {
		ok = setup_read_input(&input, MAX_PROMPT_BYTES, error);
		text = input.data ? input.data : "";
		n_bytes = input.n_bytes;
	}
	if (ok && n_bytes == 0)
		ok = error_set(error, ERROR_USAGE, "the prompt is empty (-p TEXT, or standard input)");
	ok = ok && tokenizer_encode(engine_tokenizer(engine), text, n_bytes,
	                            TOKENIZER_ADD_SPECIAL | TOKENIZER_PROMPT | TOKENIZER_PARSE_SPECIAL, ids, error);
	bytes_free(&input);
	return ok;
}

static bool generate(const struct options *options, struct engine *engine, struct error *error)
{
	struct token_ids ids = {0};
	struct request request;
	bool ok = engine_start(engine, error) && engine_wait_ready(engine, -1, error) &&
	          encode_prompt(options, engine, &ids, error) && fill_request(options, &ids, &request, error);
	struct stream *stream = ok ? engine_submit(engine, &request, NULL, error) : NULL;
	struct screen screen = screen_open();
	ok = stream && print_stream(stream, &request, options->stats, &screen, error);
	screen_end_text(&screen); /* of an answer that broke off */
	screen_close(&screen);
	if (stream)
		stream_close(stream);
	token_ids_free(&ids);
	return ok;
}

bool generate_run(const struct options *options, struct error *error)
{
	struct model_options model_options;
	struct engine_options engine_options = {.model = &model_options, .max_tokens = options->max_tokens};
	if (!setup_model_options(options, &model_options, error))
		return false;
	model_options.n_parallel = 1;
	struct engine *engine = engine_create(&engine_options, error);
	bool ok = engine && generate(options, engine, error);
	engine_destroy(engine);
	return ok;
}
