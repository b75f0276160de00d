/* The ready callback: one body, sent until it is accepted or time is up. */
#ifndef TALLOW_WORKER_CALLBACK_H
#define TALLOW_WORKER_CALLBACK_H

#include <stdint.h>

#include "base/bytes.h"
#include "worker/post.h"

enum callback_state { CALLBACK_IDLE, CALLBACK_TRYING, CALLBACK_ACCEPTED, CALLBACK_FAILED };

/* Zeroed = idle. */
struct callback {
	enum callback_state state;
	const char *url;
	struct bytes body;
	int64_t deadline_ns;
	int64_t next_ns; /* when the next attempt is due; while one runs it has no meaning */
	int64_t pause_ms;
	int attempts;
	struct post *post; /* the attempt that runs, or NULL */
	char failure[160]; /* of the last attempt */
};

/* Takes over the body. */
void callback_begin(struct callback *callback, const char *url, struct bytes body, int64_t timeout_ms, int64_t now_ns);
/* Starts, ends and repeats attempts as they are due. */
void callback_step(struct callback *callback, struct poster *poster, int64_t now_ns);
/* clock_ns() when callback_step has something to do again, INT64_MAX when only a descriptor can say. */
int64_t callback_due_ns(const struct callback *callback);
void callback_free(struct callback *callback);

#endif
