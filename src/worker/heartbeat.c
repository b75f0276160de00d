/* The heartbeat (heartbeat.h). */
#include "worker/heartbeat.h"

#include "base/log.h"
#include "base/platform.h"

enum { FIRST_PAUSE_MS = 1000, LONGEST_ATTEMPT_MS = 10000, SHORTEST_ATTEMPT_MS = 1000 };

void heartbeat_begin(struct heartbeat *heartbeat, const char *url, int64_t interval_ms, int64_t now_ns)
{
	*heartbeat = (struct heartbeat){.url = url, .interval_ms = interval_ms, .next_ns = now_ns};
}

/* The next one is due earlier than the interval says, at first a second from now, then twice as late each time. */
static void note_failure(struct heartbeat *heartbeat, const char *reason, int64_t now_ns)
{
	heartbeat->failures++;
	heartbeat->pause_ms = heartbeat->pause_ms ? heartbeat->pause_ms * 2 : FIRST_PAUSE_MS;
	if (heartbeat->pause_ms > heartbeat->interval_ms)
		heartbeat->pause_ms = heartbeat->interval_ms;
	heartbeat->next_ns = now_ns + heartbeat->pause_ms * 1000000;
	log_event(LOG_WARN, "heartbeat_failed", NULL, LOG_TEXT("reason", reason),
	          LOG_INT("failures_in_a_row", heartbeat->failures), LOG_INT("retry_in_ms", heartbeat->pause_ms));
}

static void end_attempt(struct heartbeat *heartbeat, int64_t now_ns)
{
	if (!post_accepted(heartbeat->post)) {
		note_failure(heartbeat, post_failure(heartbeat->post), now_ns);
	} else {
		heartbeat->failures = 0;
		heartbeat->pause_ms = 0;
	}
	post_free(heartbeat->post);
	heartbeat->post = NULL;
}

bool heartbeat_step(struct heartbeat *heartbeat, int64_t now_ns)
{
	if (!heartbeat->url)
		return false;
	if (heartbeat->post && post_ended(heartbeat->post))
		end_attempt(heartbeat, now_ns);
	return !heartbeat->post && now_ns >= heartbeat->next_ns;
}

void heartbeat_send(struct heartbeat *heartbeat, struct poster *poster, const struct bytes *body, int64_t now_ns)
{
	int64_t timeout_ms = heartbeat->interval_ms < LONGEST_ATTEMPT_MS ? heartbeat->interval_ms : LONGEST_ATTEMPT_MS;
	heartbeat->next_ns = now_ns + heartbeat->interval_ms * 1000000;
	heartbeat->post = body->failed ? NULL
	                               : post_start(poster, heartbeat->url, body->data, body->n_bytes,
	                                            timeout_ms < SHORTEST_ATTEMPT_MS ? SHORTEST_ATTEMPT_MS : timeout_ms);
	if (!heartbeat->post)
		note_failure(heartbeat, "no memory for a request", now_ns);
}

int64_t heartbeat_due_ns(const struct heartbeat *heartbeat)
{
	return heartbeat->url && !heartbeat->post ? heartbeat->next_ns : INT64_MAX;
}

void heartbeat_free(struct heartbeat *heartbeat)
{
	post_free(heartbeat->post);
	*heartbeat = (struct heartbeat){0};
}
