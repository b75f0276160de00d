/* The log's way out: bytes for standard output, standard error and the log's own file, from any thread.
 *
 * Until writer_start, and in commands that never call it, a put is a write(2) of the caller. From then on it is a copy into
 * a bounded ring, and one thread writes: whoever logs never waits for whoever reads. The thread asks poll before each
 * write, and takes turns, so that an output that nobody reads keeps nothing from the other. What finds no room is dropped
 * and counted.
 *
 * A child made by fork has no such thread: it must exec.
 */
#ifndef TALLOW_BASE_LOG_WRITER_H
#define TALLOW_BASE_LOG_WRITER_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum { LOG_LINE_BYTES = 8192 }; /* of the longest line */

/* Writes the line that tells of n_dropped lines to line [LOG_LINE_BYTES]; its size. Called with the ring locked. */
typedef size_t writer_tell(uint64_t n_dropped, char *line);

/* ERROR_MEMORY when the thread cannot be started. Not while it runs. */
bool writer_start(writer_tell *tell, struct error *error) MUST_USE;
/* Waits for what is in the ring, at most timeout_ms; what is put later is dropped. Harmless when it was not started. */
void writer_stop(int timeout_ms);
/* WRITER_LOG is standard error until a file is opened for it. */
enum writer_output { WRITER_OUTPUT, WRITER_ERRORS, WRITER_LOG, N_WRITER_OUTPUTS };

/* The file, made where it is not there (0640), that lines of the log are appended to from now on; once, before writer_start.
 * ERROR_USAGE when it cannot be opened. */
bool writer_open(const char *path, struct error *error) MUST_USE;
/* Opens it again, which may have been moved away; by the writer's thread, once that runs. When it cannot be opened the old
 * one stays, and a line in it says why. Harmless without a file. */
void writer_reopen(void);
/* Whether the log would take a byte at once. */
bool writer_has_room(void);
/* At most LOG_LINE_BYTES. `failure` (static) is logged as a warning when a write of these bytes fails; NULL: nothing is. */
void writer_put(enum writer_output output, const char *data, size_t n_bytes, const char *failure);
/* How many puts found no room, since the process began. */
uint64_t writer_dropped(void);

#endif
