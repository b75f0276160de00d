/* POSTs to the orchestrator, without blocking, by a helper process with libcurl (post_helper.h).
 *
 *     struct poster *poster = poster_create(urls, n_urls, &error);   // forks: before there is any other thread
 *     struct post *post = post_start(poster, url, body, n_bytes, timeout_ms);
 *     ... poster_wait(poster, fds, n_fds, timeout_ms);
 *     if (post_ended(post)) { post_accepted(post) ...; post_free(post); }
 *
 * Accepted means any 2xx. Redirects are not followed; the answer's body is not read. One thread.
 */
#ifndef TALLOW_WORKER_POST_H
#define TALLOW_WORKER_POST_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct poster;
struct post;

/* urls [n_urls]: all that there will be posts to; borrowed. */
struct poster *poster_create(const char *const *urls, unsigned n_urls, struct error *error) MUST_USE;
void poster_destroy(struct poster *poster); /* posts must be freed; NULL is harmless */
/* Waits for the descriptors (revents are set), for progress of a post or for the time, and moves posts on. */
void poster_wait(struct poster *poster, struct pollfd *fds, unsigned n_fds, int timeout_ms);

/* The host of an http(s) URL into `host`; false when it is none. */
bool post_url_host(const char *url, char *host, size_t capacity);
/* ERROR_USAGE when it is not http://... or https://... with a host; `flag` names it. */
bool post_check_url(const char *url, const char *flag, struct error *error) MUST_USE;
/* Of a URL what a message may show: not who asks, whose password may stand in it. */
const char *post_url_shown(const char *url);
/* Copies the body; NULL when memory is short, the URL none of those, or the body beyond any measure. */
struct post *post_start(struct poster *poster, const char *url, const char *body, size_t n_bytes, int64_t timeout_ms);
bool post_ended(const struct post *post);
bool post_accepted(const struct post *post);
const char *post_failure(const struct post *post); /* "status 503", "Couldn't connect to server" */
void post_free(struct post *post);                 /* ends it when it still runs; NULL is harmless */

#endif
