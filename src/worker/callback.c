/* The ready callback with back-off (callback.h). */
#include "worker/callback.h"

#include <stdio.h>

#include "base/log.h"
#include "base/platform.h"

enum {
	FIRST_PAUSE_MS = 100,
	LONGEST_PAUSE_MS = 3000,
	SHORTEST_ATTEMPT_MS = 500,
	LONGEST_ATTEMPT_MS = 10000,
};

void callback_begin(struct callback *callback, const char *url, struct bytes body, int64_t timeout_ms, int64_t now_ns)
{
	*callback = (struct callback){
	    .state = CALLBACK_TRYING,
	    .url = url,
	    .body = body,
	    .deadline_ns = now_ns + timeout_ms * 1000000,
	    .next_ns = now_ns,
	    .pause_ms = FIRST_PAUSE_MS,
	};
}

static void start_attempt(struct callback *callback, struct poster *poster, int64_t now_ns)
{
	int64_t left_ms = (callback->deadline_ns - now_ns) / 1000000;
	if (left_ms < SHORTEST_ATTEMPT_MS)
		left_ms = SHORTEST_ATTEMPT_MS;
	callback->attempts++;
	callback->post = post_start(poster, callback->url, callback->body.data, callback->body.n_bytes,
	                            left_ms < LONGEST_ATTEMPT_MS ? left_ms : LONGEST_ATTEMPT_MS);
	if (!callback->post) {
		snprintf(callback->failure, sizeof callback->failure, "no memory for a request");
		callback->next_ns = now_ns + callback->pause_ms * 1000000;
	}
}

static void end_attempt(struct callback *callback, int64_t now_ns)
{
	bool accepted = post_accepted(callback->post);
	snprintf(callback->failure, sizeof callback->failure, "%s", post_failure(callback->post));
	post_free(callback->post);
	callback->post = NULL;
	if (accepted) {
		callback->state = CALLBACK_ACCEPTED;
		log_event(LOG_INFO, "callback_accepted", NULL, LOG_INT("attempts", callback->attempts));
		return;
	}
	log_event(LOG_WARN, "callback_refused", NULL, LOG_INT("attempt", callback->attempts),
	          LOG_TEXT("reason", callback->failure), LOG_INT("retry_in_ms", callback->pause_ms));
	callback->next_ns = now_ns + callback->pause_ms * 1000000;
	callback->pause_ms = callback->pause_ms * 2 < LONGEST_PAUSE_MS ? callback->pause_ms * 2 : LONGEST_PAUSE_MS;
}

void callback_step(struct callback *callback, struct poster *poster, int64_t now_ns)
{
	if (callback->state != CALLBACK_TRYING)
		return;
	if (callback->post && post_ended(callback->post))
		end_attempt(callback, now_ns);
	if (callback->state != CALLBACK_TRYING || callback->post)
		return;
	if (callback->attempts > 0 && now_ns >= callback->deadline_ns)
		callback->state = CALLBACK_FAILED;
	else if (now_ns >= callback->next_ns)
		start_attempt(callback, poster, now_ns);
}

int64_t callback_due_ns(const struct callback *callback)
{
	if (callback->state != CALLBACK_TRYING || callback->post)
		return INT64_MAX;
	return callback->attempts > 0 && callback->deadline_ns < callback->next_ns ? callback->deadline_ns
	                                                                           : callback->next_ns;
}

void callback_free(struct callback *callback)
{
	post_free(callback->post);
	bytes_free(&callback->body);
	*callback = (struct callback){0};
}
