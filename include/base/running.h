/* Which requests run, noted where it outlives the process: in memory that a supervisor shares with the worker it starts. So
 * that a request whose bytes end the process can be told from those that only ran beside it: one that ran at two crashes, and
 * was not answered in between, is kept out for a while.
 *
 * Supervisor:   struct running *running = running_create(&error);   // before fork
 *               ... running_crashed(running, clock_ns());           // once for each crash
 * Worker:       uint64_t mark = running_mark(running, path, n_path, body, n_body);
 *               if (!running_may(running, mark, clock_ns())) ... refuse
 *               int place = running_begin(running, mark);
 *               ... running_end(running, place, true);
 *
 * A mark is a keyed hash: neither what is asked nor its digest is kept. Any thread of the worker; the supervisor looks when
 * there is no worker, and trusts nothing that it finds.
 */
#ifndef TALLOW_BASE_RUNNING_H
#define TALLOW_BASE_RUNNING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum { RUNNING_CRASHES = 2, RUNNING_KEPT_OUT_S = 600 };

struct running;

/* Never freed: it lives as long as the processes. ERROR_MEMORY. */
struct running *running_create(struct error *error) MUST_USE;

uint64_t running_mark(const struct running *running, const void *path, size_t n_path, const void *body, size_t n_body);
/* False for one that ran at RUNNING_CRASHES crashes within the last RUNNING_KEPT_OUT_S. */
bool running_may(const struct running *running, uint64_t mark, int64_t now_ns);
/* The place that running_end wants; -1 when there is none left, and then nobody will know that it ran. */
int running_begin(struct running *running, uint64_t mark);
/* answered: it came to its end, so it is not what crashes. place -1 is harmless. */
void running_end(struct running *running, int place, bool answered);

/* The worker crashed: what it ran is under suspicion, once more. How many requests ran. */
int running_crashed(struct running *running, int64_t now_ns);
/* How often running_crashed was called. */
unsigned running_crashes(const struct running *running);

#endif
