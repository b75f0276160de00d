/* POSTs with libcurl's multi interface (post.h). */
#include "worker/post.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct poster {
	CURLM *multi;
	struct curl_slist *headers;
};

struct post {
	struct poster *poster;
	CURL *easy;
	bool ended;
	bool accepted;
	char failure[CURL_ERROR_SIZE + 32];
};

struct poster *poster_create(struct error *error)
{
	struct poster *poster = calloc(1, sizeof *poster);
	if (!poster || curl_global_init(CURL_GLOBAL_DEFAULT) != 0) {
		free(poster);
		error_set(error, ERROR_INTERNAL, "cannot start the HTTP client");
		return NULL;
	}
	poster->multi = curl_multi_init();
	poster->headers = curl_slist_append(NULL, "Content-Type: application/json");
	if (!poster->multi || !poster->headers) {
		poster_destroy(poster);
		error_set(error, ERROR_INTERNAL, "cannot start the HTTP client");
		return NULL;
	}
	return poster;
}

void poster_destroy(struct poster *poster)
{
	if (!poster)
		return;
	curl_slist_free_all(poster->headers);
	curl_multi_cleanup(poster->multi);
	curl_global_cleanup();
	free(poster);
}

static bool is_loopback(const char *host)
{
	return strcmp(host, "localhost") == 0 || strncmp(host, "127.", 4) == 0 || strcmp(host, "[::1]") == 0;
}

/* The host of an http(s) URL into `host`; false when it is none. */
static bool url_host(const char *url, char *host, size_t capacity)
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
	if (!url_host(url, host, sizeof host))
		return error_set(error, ERROR_USAGE, "%s must be a URL as http://host:port/path (got \"%.200s\")", flag, url);
	return true;
}

static size_t drop_body(char *data, size_t size, size_t n_items, void *context)
{
	(void)data;
	(void)context;
	return size * n_items;
}

struct post *post_start(struct poster *poster, const char *url, const char *body, size_t n_bytes, int64_t timeout_ms)
{
	struct post *post = calloc(1, sizeof *post);
	if (!post)
		return NULL;
	post->poster = poster;
	post->easy = curl_easy_init();
	if (!post->easy) {
		free(post);
		return NULL;
	}
	CURL *easy = post->easy;
	char host[256] = "";
	curl_easy_setopt(easy, CURLOPT_PRIVATE, post);
	curl_easy_setopt(easy, CURLOPT_URL, url);
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, poster->headers);
	curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, (long)n_bytes);
	curl_easy_setopt(easy, CURLOPT_COPYPOSTFIELDS, body);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, drop_body);
	curl_easy_setopt(easy, CURLOPT_USERAGENT, "tallow");
	/* A proxy for the outside world knows nothing of this machine's own addresses. */
	if (url_host(url, host, sizeof host) && is_loopback(host))
		curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
	if (curl_multi_add_handle(poster->multi, easy) != CURLM_OK) {
		curl_easy_cleanup(easy);
		free(post);
		return NULL;
	}
	return post;
}

static void note_end(CURL *easy, CURLcode code)
{
	struct post *post = NULL;
	long status = 0;
	curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&post);
	curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
	post->ended = true;
	/* Once a status is there the other side has decided, even if its body was cut. */
	post->accepted = status >= 200 && status < 300;
	if (status)
		snprintf(post->failure, sizeof post->failure, "status %ld", status);
	else
		snprintf(post->failure, sizeof post->failure, "%s", curl_easy_strerror(code));
}

void poster_wait(struct poster *poster, struct pollfd *fds, unsigned n_fds, int timeout_ms)
{
	enum { MAX_FDS = 8 };
	struct curl_waitfd waits[MAX_FDS];
	int running, n_left;
	/* First on, then wait: a post that was just started has no socket yet that a wait could be about. */
	curl_multi_perform(poster->multi, &running);
	for (unsigned i = 0; i < n_fds && i < MAX_FDS; i++)
		waits[i] = (struct curl_waitfd){.fd = fds[i].fd, .events = CURL_WAIT_POLLIN};
	/* A post that ended at once must not wait for the time. */
	CURLMsg *message = curl_multi_info_read(poster->multi, &n_left);
	if (message) {
		note_end(message->easy_handle, message->data.result);
		timeout_ms = 0;
	}
	curl_multi_poll(poster->multi, waits, n_fds, timeout_ms, NULL);
	for (unsigned i = 0; i < n_fds && i < MAX_FDS; i++)
		fds[i].revents = waits[i].revents & CURL_WAIT_POLLIN ? POLLIN : 0;
	curl_multi_perform(poster->multi, &running);
	while ((message = curl_multi_info_read(poster->multi, &n_left)))
		if (message->msg == CURLMSG_DONE)
			note_end(message->easy_handle, message->data.result);
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
	curl_multi_remove_handle(post->poster->multi, post->easy);
	curl_easy_cleanup(post->easy);
	free(post);
}
