#include "engine/stream.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/platform.h"

enum {
	MAX_EVENTS = 1024,      /* a reader this far behind does not read */
	MAX_TEXT_BYTES = 65536, /* text of those events */
};

/* What a token needs: whole events would be most of a megabyte. */
struct record {
	enum event_type type;
	int32_t token;
	int64_t index;
	size_t n_text_bytes;
	bool has_logprobs;
};

struct stream {
	pthread_mutex_t mutex;
	struct record *records;          /* ring [MAX_EVENTS + 1]: one more for the terminal event */
	struct token_logprobs *logprobs; /* [MAX_EVENTS + 1], each that of the record in its place; NULL = never any */
	struct token_logprobs current_logprobs;
	int first, count;
	struct event started, terminal; /* of which there is one each */
	struct bytes text;              /* of the records in the ring, in order, from text_first on */
	size_t text_first;
	struct bytes current; /* text of the event the reader holds */
	bool ended;           /* the terminal event was pushed */
	int event_fd;
	atomic_bool cancelled;
	atomic_int cancel_code;
	atomic_int references;
};

struct stream *stream_create(struct error *error)
{
	struct stream *stream = calloc(1, sizeof *stream);
	struct record *records = calloc(MAX_EVENTS + 1, sizeof *records);
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	/* All the text it can ever hold is reserved here, so that a push cannot fail later. */
	if (!stream || !records || fd < 0 || !bytes_reserve(&stream->text, 2 * MAX_TEXT_BYTES) ||
	    !bytes_reserve(&stream->current, MAX_TEXT_BYTES)) {
		if (stream) {
			bytes_free(&stream->text);
			bytes_free(&stream->current);
		}
		if (fd >= 0)
			close(fd);
		free(records);
		free(stream);
		error_set(error, ERROR_INTERNAL, "cannot make an event stream: %s", strerror(errno));
		return NULL;
	}
	pthread_mutex_init(&stream->mutex, NULL);
	stream->records = records;
	stream->event_fd = fd;
	atomic_init(&stream->references, 2);
	return stream;
}

bool stream_reserve_logprobs(struct stream *stream, struct error *error)
{
	stream->logprobs = calloc(MAX_EVENTS + 1, sizeof *stream->logprobs);
	return stream->logprobs || error_set(error, ERROR_INTERNAL, "no memory for the log-probabilities of a request");
}

void stream_unref(struct stream *stream)
{
	if (!stream || atomic_fetch_sub(&stream->references, 1) > 1)
		return;
	close(stream->event_fd);
	bytes_free(&stream->text);
	bytes_free(&stream->current);
	free(stream->logprobs);
	free(stream->records);
	pthread_mutex_destroy(&stream->mutex);
	free(stream);
}

/* Under the mutex. */
static void push(struct stream *stream, const struct event *event, const char *text, size_t n_bytes)
{
	int place = (stream->first + stream->count) % (MAX_EVENTS + 1);
	struct record *record = &stream->records[place];
	*record = (struct record){.type = event->type,
	                          .token = event->token,
	                          .index = event->index,
	                          .n_text_bytes = n_bytes,
	                          .has_logprobs = event->logprobs && stream->logprobs};
	if (record->has_logprobs)
		stream->logprobs[place] = *event->logprobs;
	if (event->type == EVENT_STARTED)
		stream->started = *event;
	else if (event->type != EVENT_TOKEN)
		stream->terminal = *event;
	bytes_append(&stream->text, text, n_bytes);
	stream->count++;
	uint64_t one = 1;
	/* Cannot fail but by overflow of the counter, which is readable then anyway. */
	ssize_t written = write(stream->event_fd, &one, sizeof one);
	(void)written;
}

void stream_push_started(struct stream *stream, int64_t prompt_tokens, int64_t cached_tokens)
{
	struct event event = {
	    .type = EVENT_STARTED,
	    .started_unix_ms = clock_unix_ms(),
	    .prompt_tokens = prompt_tokens,
	    .cached_tokens = cached_tokens,
	};
	pthread_mutex_lock(&stream->mutex);
	if (!stream->ended)
		push(stream, &event, "", 0);
	pthread_mutex_unlock(&stream->mutex);
}

bool stream_push_token(struct stream *stream, int32_t token, int64_t index, const struct token_logprobs *logprobs,
                       const char *text, size_t n_bytes)
{
	struct event event = {.type = EVENT_TOKEN, .token = token, .index = index, .logprobs = logprobs};
	pthread_mutex_lock(&stream->mutex);
	size_t waiting = stream->text.n_bytes - stream->text_first;
	bool room = stream->ended || (stream->count < MAX_EVENTS && waiting + n_bytes <= MAX_TEXT_BYTES);
	if (room && !stream->ended)
		push(stream, &event, text, n_bytes);
	pthread_mutex_unlock(&stream->mutex);
	return room;
}

bool stream_push_terminal(struct stream *stream, const struct event *event)
{
	pthread_mutex_lock(&stream->mutex);
	bool first = !stream->ended;
	stream->ended = true;
	if (first)
		push(stream, event, "", 0);
	pthread_mutex_unlock(&stream->mutex);
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

bool stream_next(struct stream *stream, struct event *event)
{
	pthread_mutex_lock(&stream->mutex);
	bool got = stream->count > 0;
	if (got) {
		const struct record *record = &stream->records[stream->first];
		*event = record->type == EVENT_STARTED ? stream->started
		         : record->type != EVENT_TOKEN ? stream->terminal
		                                       : (struct event){.type = EVENT_TOKEN};
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
		stream->first = (stream->first + 1) % (MAX_EVENTS + 1);
		stream->count--;
	}
	if (stream->count == 0) {
		uint64_t counter;
		ssize_t n = read(stream->event_fd, &counter, sizeof counter); /* EAGAIN when nothing was pushed since */
		(void)n;
		bytes_clear(&stream->text);
		stream->text_first = 0;
	} else if (stream->text_first > MAX_TEXT_BYTES / 2) {
		memmove(stream->text.data, stream->text.data + stream->text_first, stream->text.n_bytes - stream->text_first);
		stream->text.n_bytes -= stream->text_first;
		stream->text_first = 0;
	}
	pthread_mutex_unlock(&stream->mutex);
	return got;
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
	if (!stream_push_terminal(stream, &event))
		return;
	atomic_store(&stream->cancel_code, (int)code);
	atomic_store(&stream->cancelled, true);
}

void stream_close(struct stream *stream)
{
	if (!stream)
		return;
	stream_cancel(stream, ERROR_CANCELLED);
	stream_unref(stream);
}
