/* What the kernel tells a process: signals, and the end of its parent, as descriptors to poll. */
#ifndef TALLOW_WORKER_PROCESS_H
#define TALLOW_WORKER_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"

/* Blocks SIGTERM, SIGINT, SIGHUP and SIGUSR1 in this thread (and those it will start) and ignores SIGPIPE and SIGUSR2, which
 * would end the process. Returns a descriptor that is readable when one of the blocked ones came, or -1. */
int signals_open(struct error *error) MUST_USE;
/* The next signal that came, or 0. */
int signals_next(int fd);
/* From now on SIGTERM and SIGINT end the process at once with exit code 0: for the teardown, when nobody polls. */
void signals_end_at_once(void);

/* The kernel's own parent-death signal fires when the thread that spawned us ends, which is not what is meant here: a
 * pidfd stands for the whole parent process. */
struct parent {
	pid_t pid;
	int fd; /* readable when the parent has ended; -1 = compare the pid from time to time */
};
void parent_open(struct parent *parent);
/* readable: whether a poll said so of fd. */
bool parent_has_ended(const struct parent *parent, bool readable);
void parent_close(struct parent *parent);

#endif
