/* What systemd is told, and when it wants to hear from us. Nothing happens where it did not start this process.
 * https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html */
#ifndef TALLOW_WORKER_SYSTEMD_H
#define TALLOW_WORKER_SYSTEMD_H

#include <stdint.h>
#include <sys/types.h>

/* Connects to NOTIFY_SOCKET, for later. */
void systemd_open(void);
/* Sends "READY=1" and the like as one datagram to NOTIFY_SOCKET. */
void systemd_notify(const char *state);
/* From now on that goes to the descriptor instead, to be passed on by the supervisor, which is who systemd knows. */
void systemd_relay(int fd, pid_t supervisor);
/* How often WATCHDOG=1 is due: half of what systemd waits. 0 = never. */
int64_t systemd_watchdog_ms(void);

#endif
