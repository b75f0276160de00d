#include "worker/post_helper.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "worker/post.h"

enum { LONGEST_WAIT_MS = 60000 };

struct transfer {
	struct transfer *next;
	CURL *easy;
	uint32_t id;
};

struct helper {
	int fd;
	const char *const *urls;
	unsigned n_urls;
	CURLM *multi;
	struct curl_slist *headers;
	struct transfer *transfers;
};

static void answer(const struct helper *helper, uint32_t id, bool accepted, const char *failure)
{
	struct post_answer message = {.id = id, .accepted = accepted};
	snprintf(message.failure, sizeof message.failure, "%s", failure);
	while (send(helper->fd, &message, sizeof message, MSG_NOSIGNAL) < 0)
		if (errno != EINTR)
			_exit(0); /* nobody is there any more */
}

static size_t drop_body(char *data, size_t size, size_t n_items, void *context)
{
	(void)data;
	(void)context;
	return size * n_items;
}

static bool is_loopback(const char *host)
{
	struct in_addr address;
	bool numeric = inet_pton(AF_INET, host, &address) == 1;
	return strcasecmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0 ||
	       (numeric && ntohl(address.s_addr) >> 24 == 127);
}

static void set_up(const struct helper *helper, CURL *easy, const struct post_message *message, const char *body)
{
	const char *url = helper->urls[message->url];
	char host[256] = "";
	curl_easy_setopt(easy, CURLOPT_URL, url);
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, helper->headers);
	curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, (long)message->n_bytes);
	curl_easy_setopt(easy, CURLOPT_COPYPOSTFIELDS, body);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)message->timeout_ms);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, drop_body);
	curl_easy_setopt(easy, CURLOPT_USERAGENT, "tallow");
	/* A proxy for the outside world knows nothing of this machine's own addresses. */
	if (post_url_host(url, host, sizeof host) && is_loopback(host))
		curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
}

static void start(struct helper *helper, const struct post_message *message, const char *body)
{
	struct transfer *transfer = message->url < helper->n_urls ? calloc(1, sizeof *transfer) : NULL;
	if (transfer)
		transfer->easy = curl_easy_init();
	if (!transfer || !transfer->easy) {
		free(transfer);
		answer(helper, message->id, false, "no memory for a request");
		return;
	}
	transfer->id = message->id;
	set_up(helper, transfer->easy, message, body);
	curl_easy_setopt(transfer->easy, CURLOPT_PRIVATE, transfer);
	curl_multi_add_handle(helper->multi, transfer->easy);
	transfer->next = helper->transfers;
	helper->transfers = transfer;
}

static void end(struct helper *helper, struct transfer *transfer)
{
	struct transfer **link = &helper->transfers;
	while (*link && *link != transfer)
		link = &(*link)->next;
	if (*link)
		*link = transfer->next;
	curl_multi_remove_handle(helper->multi, transfer->easy);
	curl_easy_cleanup(transfer->easy);
	free(transfer);
}

static void cancel(struct helper *helper, uint32_t id)
{
	for (struct transfer *transfer = helper->transfers; transfer; transfer = transfer->next)
		if (transfer->id == id) {
			end(helper, transfer);
			return;
		}
}

static void take_message(struct helper *helper)
{
	static union {
		struct post_message message;
		char bytes[sizeof(struct post_message) + POST_MAX_BYTES + 1];
	} packet;
	ssize_t n = recv(helper->fd, &packet, sizeof packet, MSG_DONTWAIT);
	if (n == 0)
		_exit(0);
	if (n < (ssize_t)sizeof packet.message || (size_t)n != sizeof packet.message + packet.message.n_bytes)
		return;
	if (packet.message.url == POST_CANCEL)
		cancel(helper, packet.message.id);
	else
		start(helper, &packet.message, packet.bytes + sizeof packet.message);
}

static void tell_ended(struct helper *helper)
{
	int n_left;
	for (CURLMsg *message; (message = curl_multi_info_read(helper->multi, &n_left));) {
		if (message->msg != CURLMSG_DONE)
			continue;
		struct transfer *transfer = NULL;
		long status = 0;
		char failure[POST_FAILURE_BYTES];
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&transfer);
		curl_easy_getinfo(message->easy_handle, CURLINFO_RESPONSE_CODE, &status);
		if (status)
			snprintf(failure, sizeof failure, "status %ld", status);
		else
			snprintf(failure, sizeof failure, "%s", curl_easy_strerror(message->data.result));
		/* Once a status is there the other side has decided, even if its body was cut. */
		answer(helper, transfer->id, status >= 200 && status < 300, failure);
		end(helper, transfer);
	}
}

_Noreturn void post_helper_run(int fd, const char *const *urls, unsigned n_urls)
{
	struct helper helper = {.fd = fd, .urls = urls, .n_urls = n_urls};
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != 0 || !(helper.multi = curl_multi_init()) ||
	    !(helper.headers = curl_slist_append(NULL, "Content-Type: application/json")))
		_exit(1); /* the worker finds the socket closed */
	for (;;) {
		int n_running;
		struct curl_waitfd wait = {.fd = fd, .events = CURL_WAIT_POLLIN};
		curl_multi_perform(helper.multi, &n_running);
		tell_ended(&helper);
		/* A transfer that was just begun has nothing yet that a wait could be about. */
		curl_multi_poll(helper.multi, &wait, 1, LONGEST_WAIT_MS, NULL);
		if (wait.revents)
			take_message(&helper);
	}
}
