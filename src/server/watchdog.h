/* One thread for everything that must happen although no connection's thread is there to do it: deadlines of headers
 * and bodies, and the jobs whose stream is not open yet (their events are taken in, so that the engine does not see a
 * reader that does not read; in the end they are cancelled). It also gives freed memory back to the system. */
#ifndef TALLOW_SERVER_WATCHDOG_H
#define TALLOW_SERVER_WATCHDOG_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/error.h"
#include "server/generation/jobs.h"
#include "server/http/connections.h"

struct watchdog {
	struct connections *connections; /* borrowed */
	struct jobs *jobs;               /* borrowed */
	pthread_t thread;
	bool running;
	int wake_fd;
	atomic_bool stop;
	atomic_bool awake; /* looks again by itself within a tick */
};

bool watchdog_start(struct watchdog *watchdog, struct connections *connections, struct jobs *jobs,
                    struct error *error) MUST_USE;
void watchdog_stop(struct watchdog *watchdog); /* harmless when it never started */
/* A connection came: wakes the thread when it sleeps without a timeout. */
void watchdog_notice(struct watchdog *watchdog);
/* A job came: wakes the thread in any case. */
void watchdog_wake(struct watchdog *watchdog);

#endif
