/* What the worker gives up once it has what it needs, so that whoever takes it over by a request gains little.
 *
 *     sandbox_narrow_files(&sandbox, paths, n_paths);   // before any thread is started: they inherit it (Landlock)
 *     ... load, listen ...
 *     sandbox_close(&sandbox);                          // all threads at once (seccomp), before ready is told
 *     sandbox_describe(&sandbox, out);                  // for /info
 *
 * Never an error: what this kernel, emulator or build does not have is noted, and told by /info and one line of the log.
 *
 * Files: reading beneath the given paths and the system's own facts alone, writing and making none, but that a log file may be
 * opened again: where Landlock keeps that to its folder files of it may be appended to (LOG_OPEN_FLAGS). None is cut, or
 * removed but in the folder of a Unix socket, whose file goes at the end. Calls: those of sandbox_calls, the rest fails with
 * EPERM. No new socket, no connection, no program, no process, no memory that is executable, no signal to another process;
 * files are opened to read. What is not given up: answering connections, reading those paths, threads. */
#ifndef TALLOW_WORKER_SANDBOX_H
#define TALLOW_WORKER_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"

struct sandbox {
	bool wanted;
	int landlock_abi;     /* 0: no Landlock */
	const char *log_file; /* NULL: none that can be opened again */
	const char *socket_path;
	bool no_new_privileges, seccomp, not_dumpable, no_capabilities;
	char why_not[160]; /* what is missing, and why; "" when all is there */
};

/* wanted: false for --no-sandbox. log_file, and socket_path of a Unix socket that the worker makes: NULL where there is
 * none. */
void sandbox_init(struct sandbox *sandbox, bool wanted, const char *log_file, const char *socket_path);
/* Paths that are not there are passed over; of a folder the links in it count as what they lead to. Gives up capabilities, too,
 * but for reading any file, and for binding a port below 1024 where binds_low_port. */
void sandbox_narrow_files(struct sandbox *sandbox, const char *const *paths, size_t n_paths, bool binds_low_port);
void sandbox_close(struct sandbox *sandbox);
/* `{"on":true,"seccomp":true,"landlock":7,...}` */
void sandbox_describe(const struct sandbox *sandbox, struct bytes *out);

/* The calls that are allowed after sandbox_close, by name; for the test that has a reason for each. */
const char *const *sandbox_calls(size_t *n_calls);

#endif
