/* Who comes while there is no worker gets an answer here: 503 with Retry-After and JSON in the form of the API that the path
 * belongs to; GET /health says "restarting", GET /livez that somebody is alive. Of a request no more than the first line
 * is looked at, and no more kept than fits in a small buffer. */
#ifndef TALLOW_WORKER_WAITING_ROOM_H
#define TALLOW_WORKER_WAITING_ROOM_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

enum { WAITING_ROOM_SEATS = 64, WAITING_ROOM_FDS = WAITING_ROOM_SEATS + 1, SEAT_BYTES = 512 };

struct seat {
	int fd; /* -1: free */
	int64_t until_ns;
	bool answered; /* what still comes is read and dropped, so that closing does not take the answer back */
	unsigned n_bytes;
	char bytes[SEAT_BYTES];
};

struct waiting_room {
	struct seat seats[WAITING_ROOM_SEATS];
};

void waiting_room_init(struct waiting_room *room);
void waiting_room_clear(struct waiting_room *room); /* everybody out */
/* Fills fds [WAITING_ROOM_FDS]. listen_fd -1: nobody is let in. */
void waiting_room_poll(const struct waiting_room *room, int listen_fd, struct pollfd *fds);
/* After the poll, with the same fds. */
void waiting_room_step(struct waiting_room *room, const struct pollfd *fds, int64_t now_ns);
/* When somebody's time is up; -1: nobody is there. */
int waiting_room_due_ms(const struct waiting_room *room, int64_t now_ns);

#endif
