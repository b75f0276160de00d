/* What a process says when a signal ends it that nobody sent: which one, and where, as offsets into the files that are
 * mapped. Nothing of what it was working on: no registers, no memory, no text. */
#ifndef TALLOW_WORKER_CRASH_H
#define TALLOW_WORKER_CRASH_H

#include <stdbool.h>

/* From now on; once, while there is one thread. json: one line in the form of the log, else plain ones. Does nothing in a build
 * with a sanitizer, which has its own. version: static. */
void crash_report(const char *version, bool json);

#endif
