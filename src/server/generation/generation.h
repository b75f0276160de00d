/* One running generation as the server sees it: the engine's stream and what its events are framed with.
 *
 *     struct reply *reply = reply_submit(exchange, &request, &retry_after_s, &error);
 *     while (!reply->finished) { wait for stream_fd(reply->stream); stream_next(...); reply_note(reply, &event); }
 *     reply_destroy(reply);      // cancels what still runs
 */
#ifndef TALLOW_SERVER_REPLY_H
#define TALLOW_SERVER_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "engine/engine.h"
#include "server/request.h"

struct reply {
	struct stream *stream;
	char job_id[JOB_ID_BYTES + 1];
	char *model; /* name */
	uint64_t seed;
	char *stops[STOP_MAX_STRINGS];
	size_t n_stop_bytes[STOP_MAX_STRINGS];
	struct bytes ignored; /* JSON array, or empty */

	/* What the events told so far. */
	bool started, finished;
	int64_t started_unix_ms;
	int64_t prompt_tokens, cached_tokens;
	int64_t tokens_out;
	enum stop_reason stop_reason;
	int stop_matched;
	double queue_ms, prefill_ms, decode_ms, time_to_first_token_ms, tokens_per_second;
	struct error error; /* code ERROR_NONE unless it ended with one */

	struct bytes backlog; /* frames taken in before anyone opened the stream */
};

struct exchange;

/* Tokenises and submits. received_ns: when the request came, for its deadline. Caller destroys. */
struct reply *reply_submit(const struct exchange *exchange, const struct execute_request *request, int *retry_after_s,
                           struct error *error) MUST_USE;
void reply_destroy(struct reply *reply); /* NULL is harmless */

/* Takes in one event: updates the fields above. */
void reply_note(struct reply *reply, const struct event *event);

/* Takes in the events that are there and appends their frames, until *out has max_bytes or more. */
void reply_pull(struct reply *reply, struct bytes *out, size_t max_bytes);

/* `"usage":{...}` and `"timings":{...}` of an ended reply, into an open object. */
void reply_write_usage(const struct reply *reply, struct bytes *out);
/* The whole answer of "stream": false. */
void reply_write_whole(const struct reply *reply, const struct bytes *text, struct bytes *out);

#endif
