/* The process that speaks to the orchestrator for the worker, which may not connect to anything once it serves
 * (sandbox.h). It is forked before there is any thread, and knows the addresses that there were on the command line;
 * the worker names one by its number. Packets over a socket, one message each; when that closes, the helper ends. */
#ifndef TALLOW_WORKER_POST_HELPER_H
#define TALLOW_WORKER_POST_HELPER_H

#include <stdbool.h>
#include <stdint.h>

enum { POST_MAX_BYTES = 64 << 10, POST_FAILURE_BYTES = 320, POST_MAX_URLS = 8 };
#define POST_CANCEL UINT32_MAX

struct post_message {
	int64_t timeout_ms;
	uint32_t id;      /* given back in the answer */
	uint32_t url;     /* its number; POST_CANCEL: nobody wants an answer to `id` any more */
	uint32_t n_bytes; /* that follow */
};

struct post_answer {
	uint32_t id;
	bool accepted;
	char failure[POST_FAILURE_BYTES]; /* NUL-terminated; why it was not accepted */
};

/* Serves the socket until it closes, then ends the process. urls: [n_urls]. */
_Noreturn void post_helper_run(int fd, const char *const *urls, unsigned n_urls);

#endif
