/* What a supervisor and its worker have between them. */
#ifndef TALLOW_WORKER_SUPERVISED_H
#define TALLOW_WORKER_SUPERVISED_H

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/running.h"

/* Sent in place of a word to systemd: connections are accepted. */
#define TELLS_LISTENING "X_TALLOW_LISTENING=1"

/* Where they are is each process's own: of what lies in memory that both write, nothing is taken for a pointer. */
struct worker_memory {
	struct running *running;
	struct told *told;
	pid_t supervisor;
};

/* In memory that outlives a worker: what has been told; workers that come later do not tell it again. */
struct told {
	atomic_bool ready_line, callback_accepted;
};

/* What a supervisor has heard of its worker. */
struct heard {
	bool listening, ready, stopping;
	bool closed; /* the worker's end is */
};

/* Takes what waits on the channel, at most HEARD_AT_ONCE packets, and passes on to systemd the words that a worker has for it
 * and no others, but that it stops, which may not be the end of both: one that was taken over may write anything, and go on
 * doing so. */
enum { HEARD_AT_ONCE = 32 };
void supervised_hear(int channel_fd, struct heard *heard);

#endif
