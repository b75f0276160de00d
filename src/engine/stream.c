#include "engine/stream.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/platform.h"

/* A reader this far behind does not read. */
enum {
	MAX_EVENTS = 1024,
	MAX_TEXT_BYTES = 65536, /* text of those events */
	MAX_SHARES = 8,         /* that many times the above, where there are as many choices or more */
};

/* What a token needs: whole events would be most of a megabyte. */
struct record {
	enum event_type type;
	int choice;
	int32_t token;
	int64_t index;
	size_t n_text_bytes;
	bool has_logprobs;
};

struct stream {
	pthread_mutex_t mutex;
	int n_choices, n_open;  /* that have not ended */
	int max_events, ring;   /* of tokens; places in the ring: with STARTED and END of all choices, and an ERROR */
	struct record *records; /* [ring] */
	struct token_logprobs *logprobs; /* [ring], each that of the record in its place; NULL = never any */
	struct token_logprobs current_logprobs;
	float *embeddings; /* [n_choices, numbers of one]; NULL = none */
	int first, count;
	struct event *started, *end;     /* [n_choices] */
	struct token_logprobs **prompts; /* [n_choices], NULL where nobody asked */
	struct event failure;
	struct bytes text; /* of the records in the ring, in order, from text_first on */
	size_t text_first, max_text_bytes;
	struct bytes current; /* text of the event the reader holds */
	bool ended;           /* no event comes any more */
	int event_fd;
	atomic_bool cancelled;
	atomic_int cancel_code;
	atomic_int references;
};

static void stream_free(struct stream *stream)
{
	if (stream->event_fd >= 0)
		close(stream->event_fd);
	bytes_free(&stream->text);
	bytes_free(&stream->current);
	free(stream->logprobs);
	free(stream->embeddings);
	free(stream->records);
	free(stream->started);
	for (int i = 0; stream->prompts && i < stream->n_choices; i++)
		free(stream->prompts[i]);
	free(stream->prompts);
	free(stream->end);
	free(stream);
}

/* All the text it can ever hold is reserved here, so that a push cannot fail later. */
static bool reserve(struct stream *stream)
{
	size_t n = (size_t)stream->n_choices;
	stream->records = calloc((size_t)stream->ring, sizeof *stream->records);
	stream->started = calloc(n, sizeof *stream->started);
	stream->prompts = calloc(n, sizeof *stream->prompts);
	stream->end = calloc(n, sizeof *stream->end);
	stream->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	return stream->records && stream->started && stream->prompts && stream->end && stream->event_fd >= 0 &&
	       bytes_reserve(&stream->text, 2 * stream->max_text_bytes) &&
	       bytes_reserve(&stream->current, stream->max_text_bytes);
}

struct stream *stream_create(int n_choices, struct error *error)
{
	struct stream *stream = calloc(1, sizeof *stream);
	int shares = n_choices < MAX_SHARES ? n_choices : MAX_SHARES;
	if (stream) {
		stream->event_fd = -1;
		stream->n_choices = stream->n_open = n_choices;
		stream->max_events = MAX_EVENTS * shares;
		stream->max_text_bytes = (size_t)MAX_TEXT_BYTES * (size_t)shares;
		stream->ring = stream->max_events + 2 * n_choices + 1;
	}
	if (!stream || !reserve(stream)) {
		/* Descriptors that ran out are like memory that did: some may be there again soon. */
		error_set(error, ERROR_MEMORY, "cannot make an event stream: %s", strerror(errno));
		if (stream)
			stream_free(stream);
		return NULL;
	}
	pthread_mutex_init(&stream->mutex, NULL);
	atomic_init(&stream->references, 1);
	return stream;
}

bool stream_reserve_logprobs(struct stream *stream, struct error *error)
{
	stream->logprobs = calloc((size_t)stream->ring, sizeof *stream->logprobs);
	return stream->logprobs || error_set(error, ERROR_MEMORY, "no memory for the log-probabilities of a request");
}

float *stream_reserve_embedding(struct stream *stream, int choice, int64_t n, struct error *error)
{
	if (!stream->embeddings)
		stream->embeddings = calloc((size_t)stream->n_choices * (size_t)n, sizeof *stream->embeddings);
	if (stream->embeddings)
		return stream->embeddings + choice * n;
	error_set(error, ERROR_MEMORY, "no memory for an embedding of %lld numbers", (long long)n);
	return NULL;
}

struct token_logprobs *stream_reserve_prompt(struct stream *stream, int choice, int64_t n_tokens, struct error *error)
{
	struct token_logprobs *logprobs = calloc((size_t)n_tokens, sizeof *logprobs);
	stream->prompts[choice] = logprobs;
	if (!logprobs)
		error_set(error, ERROR_MEMORY, "no memory for the log-probabilities of %lld tokens", (long long)n_tokens);
	return logprobs;
}

struct stream *stream_ref(struct stream *stream)
{
	atomic_fetch_add(&stream->references, 1);
	return stream;
}

void stream_unref(struct stream *stream)
{
	if (!stream || atomic_fetch_sub(&stream->references, 1) > 1)
		return;
	pthread_mutex_destroy(&stream->mutex);
	stream_free(stream);
}

/* Under the mutex. */
static void push(struct stream *stream, const struct event *event)
{
	int place = (stream->first + stream->count) % stream->ring;
	struct record *record = &stream->records[place];
	*record = (struct record){.type = event->type,
	                          .choice = event->choice,
	                          .token = event->token,
	                          .index = event->index,
	                          .n_text_bytes = event->n_text_bytes,
	                          .has_logprobs = event->logprobs && stream->logprobs};
	if (record->has_logprobs)
		stream->logprobs[place] = *event->logprobs;
	if (event->type == EVENT_STARTED)
		stream->started[event->choice] = *event;
	else if (event->type == EVENT_END)
		stream->end[event->choice] = *event;
	else if (event->type == EVENT_ERROR)
		stream->failure = *event;
	bytes_append(&stream->text, event->text, event->n_text_bytes);
	stream->count++;
	uint64_t one = 1;
	/* Cannot fail but by overflow of the counter, which is readable then anyway. */
	ssize_t written = write(stream->event_fd, &one, sizeof one);
	(void)written;
}

void stream_push_started(struct stream *stream, int choice, int64_t prompt_tokens, int64_t cached_tokens)
{
	struct event event = {
	    .type = EVENT_STARTED,
	    .choice = choice,
	    .started_unix_ms = clock_unix_ms(),
	    .prompt_tokens = prompt_tokens,
	    .cached_tokens = cached_tokens,
	};
	pthread_mutex_lock(&stream->mutex);
	if (!stream->ended)
		push(stream, &event);
	pthread_mutex_unlock(&stream->mutex);
}

bool stream_push_token(struct stream *stream, const struct event *event)
{
	pthread_mutex_lock(&stream->mutex);
	size_t waiting = stream->text.n_bytes - stream->text_first;
	bool room = stream->ended ||
	            (stream->count < stream->max_events && waiting + event->n_text_bytes <= stream->max_text_bytes);
	if (room && !stream->ended)
		push(stream, event);
	pthread_mutex_unlock(&stream->mutex);
	return room;
}

bool stream_push_terminal(struct stream *stream, const struct event *event)
{
	bool failed = event->type == EVENT_ERROR;
	pthread_mutex_lock(&stream->mutex);
	bool first = !stream->ended;
	if (first) {
		stream->n_open -= !failed;
		stream->ended = failed || stream->n_open == 0;
		push(stream, event);
	}
	pthread_mutex_unlock(&stream->mutex);
	if (first && failed) {
		atomic_store(&stream->cancel_code, (int)event->error.code);
		atomic_store(&stream->cancelled, true);
	}
	return first;
}

bool stream_ended(struct stream *stream)
{
	pthread_mutex_lock(&stream->mutex);
	bool ended = stream->ended;
	pthread_mutex_unlock(&stream->mutex);
	return ended;
}

const atomic_bool *stream_cancel_flag(const struct stream *stream)
{
	return &stream->cancelled;
}

enum error_code stream_cancel_code(const struct stream *stream)
{
	return (enum error_code)atomic_load(&stream->cancel_code);
}

/* ---- the reader's side (engine/engine.h) ---- */

/* Under the mutex: the oldest event, of which there is one. */
static void take_first(struct stream *stream, struct event *event)
{
	const struct record *record = &stream->records[stream->first];
	*event = record->type == EVENT_STARTED ? stream->started[record->choice]
	         : record->type == EVENT_END   ? stream->end[record->choice]
	         : record->type == EVENT_ERROR ? stream->failure
	                                       : (struct event){.type = EVENT_TOKEN, .choice = record->choice};
	event->token = record->token;
	event->index = record->index;
	if (record->has_logprobs) {
		stream->current_logprobs = stream->logprobs[stream->first];
		event->logprobs = &stream->current_logprobs;
	}
	bytes_clear(&stream->current);
	bytes_append(&stream->current, stream->text.data ? stream->text.data + stream->text_first : "",
	             record->n_text_bytes);
	event->text = stream->current.data ? stream->current.data : "";
	event->n_text_bytes = stream->current.n_bytes;
	stream->text_first += record->n_text_bytes;
	stream->first = (stream->first + 1) % stream->ring;
	stream->count--;
}

bool stream_next(struct stream *stream, struct event *event)
{
	pthread_mutex_lock(&stream->mutex);
	bool got = stream->count > 0;
	if (got)
		take_first(stream, event);
	if (stream->count == 0) {
		uint64_t counter;
		ssize_t n = read(stream->event_fd, &counter, sizeof counter); /* EAGAIN when nothing was pushed since */
		(void)n;
		bytes_clear(&stream->text);
		stream->text_first = 0;
	} else if (stream->text_first > stream->max_text_bytes / 2) {
		memmove(stream->text.data, stream->text.data + stream->text_first, stream->text.n_bytes - stream->text_first);
		stream->text.n_bytes -= stream->text_first;
		stream->text_first = 0;
	}
	pthread_mutex_unlock(&stream->mutex);
	return got;
}

const struct token_logprobs *stream_prompt_logprobs(const struct stream *stream, int choice)
{
	return stream->prompts[choice];
}

int stream_fd(const struct stream *stream)
{
	return stream->event_fd;
}

static const char *cancel_message(enum error_code code)
{
	switch (code) {
	case ERROR_DEADLINE:
		return "the request's deadline passed";
	case ERROR_SHUTTING_DOWN:
		return "the worker is shutting down";
	default:
		return "the request was cancelled";
	}
}

void stream_cancel(struct stream *stream, enum error_code code)
{
	struct event event = {.type = EVENT_ERROR};
	error_set(&event.error, code, "%s", cancel_message(code));
	stream_push_terminal(stream, &event);
}

void stream_close(struct stream *stream)
{
	if (!stream)
		return;
	stream_cancel(stream, ERROR_CANCELLED);
	stream_unref(stream);
}
