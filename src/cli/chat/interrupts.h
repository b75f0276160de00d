/* Signals of a person at a terminal, read like a file: nothing is interrupted, and no handler runs.
 *
 *     struct interrupts interrupts;
 *     interrupts_hold(&interrupts, &error);               // before any thread is started
 *     poll(interrupts.fd ...); interrupts_next(&interrupts)  // SIGNAL_INTERRUPT: Ctrl-C
 *     interrupts_release(&interrupts);
 *
 * Where nobody sits at a terminal none are held: fd is -1, which poll passes over, and Ctrl-C ends the process as usual.
 */
#ifndef TALLOW_CLI_CHAT_INTERRUPTS_H
#define TALLOW_CLI_CHAT_INTERRUPTS_H

#include "base/error.h"

enum signal_seen {
	SIGNAL_NONE,
	SIGNAL_INTERRUPT, /* Ctrl-C */
	SIGNAL_PAUSE,     /* Ctrl-Z; what follows is interrupts_pause */
	SIGNAL_RESIZE,    /* the window has another size */
	SIGNAL_END,       /* the process is to end; what follows, last of all, is interrupts_die */
};

struct interrupts {
	int fd;
	int ended_by; /* the signal's number; 0: none */
};

/* ERROR_INTERNAL: no descriptor. */
bool interrupts_hold(struct interrupts *interrupts, struct error *error) MUST_USE;
/* The next one, if there is one. Does not wait. */
enum signal_seen interrupts_next(struct interrupts *interrupts);
/* Stops the process as Ctrl-Z does, and returns when it goes on. */
void interrupts_pause(void);
/* Closes the descriptor; signals that come later are not seen. */
void interrupts_release(struct interrupts *interrupts);
/* Ends the process by the signal that asked for it, where one did. Whoever started it is told so. */
void interrupts_die(const struct interrupts *interrupts);

#endif
