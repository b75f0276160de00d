/* POSTs by way of the helper process (post.h). */
#include "worker/post.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "worker/post_helper.h"
#include "worker/worker.h"

struct poster {
	int fd; /* to the helper; -1: it is gone */
	uint32_t next_id;
	unsigned n_urls;
	const char *urls[POST_MAX_URLS];
	struct post *posts; /* that were begun and not freed */
};

struct post {
	struct poster *poster;
	struct post *next;
	uint32_t id;
	bool ended;
	bool accepted;
	char failure[POST_FAILURE_BYTES];
};

/* ---- addresses ---- */

bool post_url_host(const char *url, char *host, size_t capacity)
{
	CURLU *parsed = curl_url();
	char *scheme = NULL, *name = NULL;
	bool ok = parsed && curl_url_set(parsed, CURLUPART_URL, url, 0) == CURLUE_OK &&
	          curl_url_get(parsed, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
	          curl_url_get(parsed, CURLUPART_HOST, &name, 0) == CURLUE_OK &&
	          (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0);
	if (ok)
		snprintf(host, capacity, "%s", name);
	curl_free(scheme);
	curl_free(name);
	curl_url_cleanup(parsed);
	return ok;
}

bool post_check_url(const char *url, const char *flag, struct error *error)
{
	char host[256];
	if (!post_url_host(url, host, sizeof host))
		return error_set(error, ERROR_USAGE, "%s must be a URL as http://host:port/path (got \"%.200s\")", flag, url);
	return true;
}

const char *post_url_shown(const char *url)
{
	const char *authority = strstr(url, "://");
	size_t n_bytes = authority ? strcspn(authority + 3, "/?#") : 0;
	const char *at = n_bytes ? memrchr(authority + 3, '@', n_bytes) : NULL;
	return at ? at + 1 : url;
}

/* ---- the helper ---- */

/* In the child: nothing of the worker's stays open, or it would outlive the worker. */
static _Noreturn void become_helper(int fd, const char *const *urls, unsigned n_urls)
{
	enum { OWN_FD = 3 };
	int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int standard = 0; nothing >= 0 && standard <= 2; standard++)
		dup2(nothing, standard);
	if (fd != OWN_FD && dup2(fd, OWN_FD) < 0)
		_exit(1);
	closefrom(OWN_FD + 1); /* where the kernel has no call for that, too */
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	prctl(PR_SET_NAME, "tallow-post", 0, 0, 0);
	post_helper_run(OWN_FD, urls, n_urls);
}

struct poster *poster_create(const char *const *urls, unsigned n_urls, struct error *error)
{
	int ends[2];
	struct poster *poster = calloc(1, sizeof *poster);
	if (!poster || n_urls > POST_MAX_URLS) {
		free(poster);
		error_set(error, ERROR_MEMORY, "no memory for the worker");
		return NULL;
	}
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
		error_set(error, ERROR_MEMORY, "cannot open a pair of sockets: %s", strerror(errno));
		free(poster);
		return NULL;
	}
	pid_t child = fork();
	if (child == 0)
		become_helper(ends[1], urls, n_urls);
	close(ends[1]);
	poster->fd = ends[0];
	poster->n_urls = n_urls;
	memcpy(poster->urls, urls, n_urls * sizeof *urls);
	if (child > 0)
		return poster;
	error_set(error, ERROR_MEMORY, "cannot start the process that speaks to the orchestrator: %s", strerror(errno));
	poster_destroy(poster);
	return NULL;
}

void poster_destroy(struct poster *poster)
{
	if (!poster)
		return;
	if (poster->fd >= 0)
		close(poster->fd); /* the helper ends */
	free(poster);
}

static void lose_helper(struct poster *poster)
{
	if (poster->fd >= 0)
		close(poster->fd);
	poster->fd = -1;
	for (struct post *post = poster->posts; post; post = post->next) {
		if (!post->ended)
			snprintf(post->failure, sizeof post->failure, "the process that sends has ended");
		post->ended = true;
	}
}

/* ---- posts ---- */

/* A message is one packet. By sendmsg its parts could lie apart, but that is not left once the worker serves (sandbox.h). */
static bool tell(const struct poster *poster, const struct post_message *message, const char *body)
{
	size_t n_bytes = sizeof *message + message->n_bytes;
	char *packet = malloc(n_bytes);
	ssize_t n;
	if (!packet)
		return false;
	memcpy(packet, message, sizeof *message);
	if (message->n_bytes > 0)
		memcpy(packet + sizeof *message, body, message->n_bytes);
	do
		n = send(poster->fd, packet, n_bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	free(packet);
	return n >= 0;
}

struct post *post_start(struct poster *poster, const char *url, const char *body, size_t n_bytes, int64_t timeout_ms)
{
	uint32_t number = 0;
	while (number < poster->n_urls && strcmp(poster->urls[number], url) != 0)
		number++;
	struct post *post = number < poster->n_urls && n_bytes <= POST_MAX_BYTES ? calloc(1, sizeof *post) : NULL;
	if (!post)
		return NULL;
	post->poster = poster;
	post->id = poster->next_id++;
	post->next = poster->posts;
	poster->posts = post;
	struct post_message message = {
	    .id = post->id, .url = number, .timeout_ms = timeout_ms, .n_bytes = (uint32_t)n_bytes};
	if (poster->fd < 0 || !tell(poster, &message, body)) {
		post->ended = true;
		snprintf(post->failure, sizeof post->failure, "the process that sends does not answer");
	}
	return post;
}

/* What the helper has told so far. */
static bool take_answers(struct poster *poster)
{
	bool any = false;
	for (;;) {
		struct post_answer answer;
		ssize_t n = poster->fd < 0 ? -1 : recv(poster->fd, &answer, sizeof answer, MSG_DONTWAIT);
		if (n == 0 || (n < 0 && errno == ECONNRESET)) {
			lose_helper(poster);
			return true;
		}
		if (n != sizeof answer)
			return any;
		any = true;
		for (struct post *post = poster->posts; post; post = post->next)
			if (post->id == answer.id && !post->ended) {
				post->ended = true;
				post->accepted = answer.accepted;
				snprintf(post->failure, sizeof post->failure, "%.*s", POST_FAILURE_BYTES - 1, answer.failure);
			}
	}
}

void poster_wait(struct poster *poster, struct pollfd *fds, unsigned n_fds, int timeout_ms)
{
	enum { MAX_FDS = 8 };
	struct pollfd all[MAX_FDS + 1];
	unsigned n = n_fds < MAX_FDS ? n_fds : MAX_FDS;
	if (n > 0)
		memcpy(all, fds, n * sizeof *fds);
	all[n] = (struct pollfd){.fd = poster->fd, .events = POLLIN};
	if (take_answers(poster))
		timeout_ms = 0; /* what ended need not wait for the time */
	if (poll(all, n + 1, timeout_ms) < 0)
		for (unsigned i = 0; i <= n; i++)
			all[i].revents = 0;
	for (unsigned i = 0; i < n; i++)
		fds[i].revents = all[i].revents;
	take_answers(poster);
}

bool post_ended(const struct post *post)
{
	return post->ended;
}

bool post_accepted(const struct post *post)
{
	return post->accepted;
}

const char *post_failure(const struct post *post)
{
	return post->failure;
}

void post_free(struct post *post)
{
	if (!post)
		return;
	struct post **link = &post->poster->posts;
	while (*link != post)
		link = &(*link)->next;
	*link = post->next;
	if (!post->ended && post->poster->fd >= 0)
		(void)tell(post->poster, &(struct post_message){.id = post->id, .url = POST_CANCEL}, NULL);
	free(post);
}

void worker_library_version(struct bytes *out)
{
	bytes_append_format(out, "libcurl %s", curl_version_info(CURLVERSION_NOW)->version);
}
