/* What systemd is told, and when it wants to hear from us. Nothing happens where it did not start this process.
 * https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html */
#ifndef TALLOW_WORKER_SYSTEMD_H
#define TALLOW_WORKER_SYSTEMD_H

#include <stdint.h>

/* Connects to NOTIFY_SOCKET, for later. */
void systemd_open(void);
/* Sends "READY=1" and the like as one datagram to NOTIFY_SOCKET. */
void systemd_notify(const char *state);
/* How often WATCHDOG=1 is due: half of what systemd waits. 0 = never. */
int64_t systemd_watchdog_ms(void);

#endif
