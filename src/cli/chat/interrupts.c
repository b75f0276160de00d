/* Signals as a descriptor (interrupts.h). */
#include "cli/chat/interrupts.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

static const struct {
	int number;
	enum signal_seen means;
} held[] = {
    {SIGINT, SIGNAL_INTERRUPT}, {SIGTSTP, SIGNAL_PAUSE}, {SIGWINCH, SIGNAL_RESIZE},
    {SIGTERM, SIGNAL_END},      {SIGHUP, SIGNAL_END},    {SIGQUIT, SIGNAL_END},
};
enum { N_HELD = sizeof held / sizeof *held };

bool interrupts_hold(struct interrupts *interrupts, struct error *error)
{
	sigset_t set;
	sigemptyset(&set);
	for (int i = 0; i < N_HELD; i++)
		sigaddset(&set, held[i].number);
	*interrupts = (struct interrupts){.fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC)};
	if (interrupts->fd < 0)
		return error_set(error, ERROR_INTERNAL, "no descriptor for signals: %s", strerror(errno));
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	return true;
}

enum signal_seen interrupts_next(struct interrupts *interrupts)
{
	struct signalfd_siginfo info;
	if (interrupts->fd < 0 || read(interrupts->fd, &info, sizeof info) != sizeof info)
		return SIGNAL_NONE;
	for (int i = 0; i < N_HELD; i++) {
		if ((uint32_t)held[i].number != info.ssi_signo)
			continue;
		if (held[i].means == SIGNAL_END)
			interrupts->ended_by = held[i].number;
		return held[i].means;
	}
	return SIGNAL_NONE;
}

/* Lets a signal that was held do what it does by itself. */
static void let_through(int number)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, number);
	signal(number, SIG_DFL);
	raise(number);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL); /* here it comes */
	pthread_sigmask(SIG_BLOCK, &set, NULL);
}

void interrupts_pause(void)
{
	let_through(SIGTSTP);
}

void interrupts_release(struct interrupts *interrupts)
{
	if (interrupts->fd >= 0)
		close(interrupts->fd);
	interrupts->fd = -1;
}

void interrupts_die(const struct interrupts *interrupts)
{
	if (interrupts->ended_by)
		let_through(interrupts->ended_by);
}
