/* The heartbeat: a fresh body every interval; a failure is logged and tried again sooner, and never fatal. */
#ifndef TALLOW_WORKER_HEARTBEAT_H
#define TALLOW_WORKER_HEARTBEAT_H

#include <stdint.h>

#include "base/bytes.h"
#include "worker/post.h"

/* Zeroed = off. */
struct heartbeat {
	const char *url;
	int64_t interval_ms;
	int64_t next_ns;
	int64_t pause_ms;  /* after a failure; 0 = the last one went through */
	int failures;      /* in a row */
	struct post *post; /* the one that is under way, or NULL */
};

void heartbeat_begin(struct heartbeat *heartbeat, const char *url, int64_t interval_ms, int64_t now_ns);
/* Ends what is done; true when the caller shall write a body and call heartbeat_send. */
bool heartbeat_step(struct heartbeat *heartbeat, int64_t now_ns);
void heartbeat_send(struct heartbeat *heartbeat, struct poster *poster, const struct bytes *body, int64_t now_ns);
int64_t heartbeat_due_ns(const struct heartbeat *heartbeat); /* INT64_MAX: not by the clock */
void heartbeat_free(struct heartbeat *heartbeat);

#endif
