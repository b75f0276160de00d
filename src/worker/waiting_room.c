/* The waiting room (waiting_room.h): as little HTTP as will do. */
#include "worker/waiting_room.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PATIENCE_MS = 2000, ANSWER_BYTES = 600 };

#define WORDS "the worker is being started; try again in a second"

#define OWN "{\"error\":{\"code\":\"MODEL_LOADING\",\"message\":\"" WORDS "\",\"retriable\":true}}"

/* By the beginning of the path; the last is for all others. */
static const struct form {
	const char *path;
	const char *body;
} forms[] = {
    {"/health", "{\"status\":\"restarting\"}"},
    {"/v1/ready", "{\"ready\":false,\"status\":\"restarting\"}"},
    {"/v1/messages", "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"" WORDS "\"}}"},
    {"/api/", "{\"error\":\"" WORDS "\"}"},
    {"/v1/inf", OWN}, /* inference, infer */
    {"/v1/jobs", OWN},
    {"/v1/loading", OWN},
    {"/v1/", "{\"error\":{\"message\":\"" WORDS "\",\"type\":\"server_error\",\"param\":null,\"code\":null}}"},
    {"", OWN},
};

void waiting_room_init(struct waiting_room *room)
{
	for (int i = 0; i < WAITING_ROOM_SEATS; i++)
		room->seats[i].fd = -1;
}

static void leave(struct seat *seat)
{
	if (seat->fd >= 0)
		close(seat->fd);
	seat->fd = -1;
}

void waiting_room_clear(struct waiting_room *room)
{
	for (int i = 0; i < WAITING_ROOM_SEATS; i++)
		leave(&room->seats[i]);
}

void waiting_room_poll(const struct waiting_room *room, int listen_fd, struct pollfd *fds)
{
	bool free_seat = false;
	for (int i = 0; i < WAITING_ROOM_SEATS; i++) {
		fds[1 + i] = (struct pollfd){.fd = room->seats[i].fd, .events = POLLIN};
		free_seat |= room->seats[i].fd < 0;
	}
	fds[0] = (struct pollfd){.fd = free_seat ? listen_fd : -1, .events = POLLIN};
}

int waiting_room_due_ms(const struct waiting_room *room, int64_t now_ns)
{
	int64_t first_ns = INT64_MAX;
	for (int i = 0; i < WAITING_ROOM_SEATS; i++)
		if (room->seats[i].fd >= 0 && room->seats[i].until_ns < first_ns)
			first_ns = room->seats[i].until_ns;
	if (first_ns == INT64_MAX)
		return -1;
	return first_ns <= now_ns ? 0 : (int)((first_ns - now_ns) / 1000000) + 1;
}

/* One newcomer a turn: others wait in the kernel, and may find a worker there. */
static void let_in(struct waiting_room *room, int listen_fd, int64_t now_ns)
{
	int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	for (int i = 0; fd >= 0 && i < WAITING_ROOM_SEATS; i++)
		if (room->seats[i].fd < 0) {
			room->seats[i] = (struct seat){.fd = fd, .until_ns = now_ns + (int64_t)PATIENCE_MS * 1000000};
			return;
		}
	if (fd >= 0)
		close(fd);
}

/* "GET /path..." */
static void write_answer(struct seat *seat)
{
	char answer[ANSWER_BYTES];
	seat->bytes[seat->n_bytes < SEAT_BYTES ? seat->n_bytes : SEAT_BYTES - 1] = 0;
	const char *space = strchr(seat->bytes, ' '), *path = space ? space + 1 : "";
	const struct form *form = forms;
	while (strncmp(path, form->path, strlen(form->path)) != 0)
		form++;
	bool alive = strncmp(path, "/livez", 6) == 0, head = strncmp(seat->bytes, "HEAD ", 5) == 0;
	const char *body = alive ? "{\"status\":\"alive\"}" : form->body;
	int n = snprintf(answer, sizeof answer,
	                 "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n%sConnection: "
	                 "close\r\n\r\n%s",
	                 alive ? "200 OK" : "503 Service Unavailable", strlen(body), alive ? "" : "Retry-After: 1\r\n",
	                 head ? "" : body);
	if (send(seat->fd, answer, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
		leave(seat);
		return;
	}
	shutdown(seat->fd, SHUT_WR);
	seat->answered = true;
}

static void read_seat(struct seat *seat)
{
	char dropped[4096];
	bool keeps = !seat->answered && seat->n_bytes < SEAT_BYTES - 1;
	ssize_t n = recv(seat->fd, keeps ? seat->bytes + seat->n_bytes : dropped,
	                 keeps ? SEAT_BYTES - 1 - seat->n_bytes : sizeof dropped, MSG_DONTWAIT);
	if (n <= 0) {
		leave(seat);
		return;
	}
	seat->n_bytes += keeps ? (unsigned)n : 0;
	/* A first line that does not end is answered, too. */
	if (!seat->answered && (memchr(seat->bytes, '\n', seat->n_bytes) || seat->n_bytes == SEAT_BYTES - 1))
		write_answer(seat);
}

void waiting_room_step(struct waiting_room *room, const struct pollfd *fds, int64_t now_ns)
{
	for (int i = 0; i < WAITING_ROOM_SEATS; i++) {
		struct seat *seat = &room->seats[i];
		if (seat->fd >= 0 && fds[1 + i].fd == seat->fd && fds[1 + i].revents)
			read_seat(seat);
		if (seat->fd >= 0 && now_ns >= seat->until_ns)
			leave(seat);
	}
	if (fds[0].fd >= 0 && fds[0].revents)
		let_in(room, fds[0].fd, now_ns);
}
