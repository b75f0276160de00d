/* Heads of requests, chunked bodies, and the gate that reads both from a socket before the HTTP library does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "server/http/chunks.h"
#include "server/http/gate.h"
#include "server/http/head.h"

/* ---- heads ---- */

/* Scans all of it in pieces of `piece` bytes, then parses: the result, with the error's code. */
static enum head_result read_head(const char *bytes, size_t n_bytes, size_t piece, struct head *head,
                                  struct error *error)
{
	struct head_scanner scanner = {0};
	for (size_t at = 0; at < n_bytes;) {
		size_t n_piece = n_bytes - at < piece ? n_bytes - at : piece, n_used = 0;
		enum head_result result = head_scan(&scanner, bytes + at, n_piece, &n_used, error);
		at += n_used;
		if (result == HEAD_WHOLE)
			return head_parse(bytes, at, head, error) ? HEAD_WHOLE : HEAD_BAD;
		if (result == HEAD_BAD)
			return HEAD_BAD;
		assert_int_equal(n_used, n_piece);
	}
	return HEAD_PARTIAL;
}

static struct head must_read(const char *text)
{
	struct head head;
	struct error error = {0};
	if (read_head(text, strlen(text), SIZE_MAX, &head, &error) != HEAD_WHOLE)
		fail_msg("refused: %s (%s)", text, error.message);
	return head;
}

static void assert_text(struct head_text text, const char *wanted)
{
	assert_int_equal(text.n_bytes, strlen(wanted));
	assert_memory_equal(text.at, wanted, text.n_bytes);
}

static const char whole_head[] = "POST /v1/x%20y?a=1&b HTTP/1.1\r\nHost: localhost:80\r\ncontent-LENGTH:  95 \t\r\n"
                                 "X-Empty:\r\nX-Twice: one\r\nx-twice: two\r\nX-High: \xc3\xa9\r\n\r\n";

static void parts_are_found(void **state)
{
	(void)state;
	struct head head = must_read(whole_head);
	struct head_text value;
	assert_text(head.method, "POST");
	assert_text(head.path, "/v1/x%20y");
	assert_text(head.host, "localhost:80");
	assert_int_equal(head.minor_version, 1);
	assert_true(head.has_length && head.content_length == 95 && !head.chunked);
	assert_int_equal(head.n_fields, 6);
	assert_int_equal(head_find(&head, "X-EMPTY", &value), 1);
	assert_int_equal(value.n_bytes, 0);
	assert_int_equal(head_find(&head, "X-Twice", &value), 2);
	assert_text(value, "one");
	assert_int_equal(head_find(&head, "X-High", &value), 1);
	assert_text(value, "\xc3\xa9");
	assert_int_equal(head_find(&head, "X-Non", &value), 0);
}

static void every_truncation_waits_for_more_and_pieces_do_not_matter(void **state)
{
	(void)state;
	struct head head;
	struct error error = {0};
	size_t n_whole = strlen(whole_head);
	for (size_t n = 0; n < n_whole; n++) {
		char *exact = malloc(n + 1); /* so that a sanitizer sees a read beyond */
		memcpy(exact, whole_head, n);
		assert_int_equal(read_head(exact, n, SIZE_MAX, &head, &error), HEAD_PARTIAL);
		free(exact);
	}
	for (size_t piece = 1; piece < n_whole; piece++)
		assert_int_equal(read_head(whole_head, n_whole, piece, &head, &error), HEAD_WHOLE);
}

static void what_follows_is_not_taken(void **state)
{
	(void)state;
	static const char two[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /second HTTP/1.1\r\n\r\n";
	struct head_scanner scanner = {0};
	struct error error;
	size_t n_used = 0;
	assert_int_equal(head_scan(&scanner, two, sizeof two - 1, &n_used, &error), HEAD_WHOLE);
	assert_int_equal(n_used, strlen("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
}

struct bad_head {
	const char *text;
	size_t n_bytes; /* 0: strlen */
	enum error_code code;
};

#define BYTES(literal) literal, sizeof literal - 1

static void what_is_in_doubt_is_refused(void **state)
{
	(void)state;
	static const struct bad_head cases[] = {
	    /* names: RFC 9112 5.1 */
	    {BYTES("GET / HTTP/1.1\r\nHost: a\r\nContent-Length : 95\r\n\r\n"), ERROR_INVALID_REQUEST},
	    {BYTES("GET / HTTP/1.1\r\nHost: a\r\nContent-Length\t: 95\r\n\r\n"), ERROR_INVALID_REQUEST},
	    {BYTES("GET / HTTP/1.1\r\nHost: a\r\nContent-Length\v: 95\r\n\r\n"), ERROR_INVALID_REQUEST},
	    {BYTES("GET / HTTP/1.1\r\nHost: a\r\nContent-Length\0: 95\r\n\r\n"), ERROR_INVALID_REQUEST},
	    {BYTES("GET / HTTP/1.1\r\nHost: a\r\nA B: 1\r\n\r\n"), ERROR_INVALID_REQUEST},
	    {BYTES("GET / HTTP/1.1\r\nHost: a\r\n: 1\r\n\r\n"), ERROR_INVALID_REQUEST},
	    {BYTES("GET / HTTP/1.1\r\nHost: a\r\nA(: 1\r\n\r\n"), ERROR_INVALID_REQUEST},
	    {BYTES("GET / HTTP/1.1\r\nHost: a\r\nX\xc3\xa9: 1\r\n\r\n"), ERROR_INVALID_REQUEST},
	    {BYTES("GET / HTTP/1.1\r\nHost: a\r\nNoColon\r\n\r\n"), ERROR_INVALID_REQUEST},
	    /* folded lines, and white space before the first field: 5.2, 2.2 */
	    {BYTES("GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n"), ERROR_INVALID_REQUEST},
	    {BYTES("GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n\t2\r\n\r\n"), ERROR_INVALID_REQUEST},
	    {BYTES("GET / HTTP/1.1\r\n Host: a\r\n\r\n"), ERROR_INVALID_REQUEST},
	    /* line ends and control characters: 2.2 */
	    {BYTES("GET / HTTP/1.1\nHost: a\n\n"), ERROR_INVALID_REQUEST},
	    {BYTES("GET / HTTP/1.1\r\nHost: a\r\nX: 1\n\r\n"), ERROR_INVALID_REQUEST},
	    {BYTES("GET / HTTP/1.1\r\nHost: a\r\nX: 1\rY: 2\r\n\r\n"), ERROR_INVALID_REQUEST},
	    {BYTES("GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\r\n\r\n"), ERROR_INVALID_REQUEST},
	    {BYTES("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer sesame\0x\r\n\r\n"), ERROR_INVALID_REQUEST},
	    {BYTES("GET / HTTP/1.1\r\nHost: localhost\0.evil.com\r\n\r\n"), ERROR_INVALID_REQUEST},
	    {BYTES("GET /health\0evil HTTP/1.1\r\nHost: a\r\n\r\n"), ERROR_INVALID_REQUEST},
	    {BYTES("GET / HTTP/1.1\r\nHost: a\r\nX: \x1b[2J\r\n\r\n"), ERROR_INVALID_REQUEST},
	    {BYTES("GET / HTTP/1.1\r\nHost: a\r\nX: \x7f\r\n\r\n"), ERROR_INVALID_REQUEST},
	    {BYTES("\x16\x03\x01\x02\x00"), ERROR_INVALID_REQUEST},
	    {BYTES("\r\n\r\n\r\n\r\n\r\n"), ERROR_INVALID_REQUEST},
	    /* the request line: 3 */
	    {BYTES("GET\r\n\r\n"), ERROR_INVALID_REQUEST},
	    {BYTES("GET /\r\n\r\n"), ERROR_INVALID_REQUEST},
	    {BYTES("GET  / HTTP/1.1\r\nHost: a\r\n\r\n"), ERROR_INVALID_REQUEST},
	    {BYTES("GET /  HTTP/1.1\r\nHost: a\r\n\r\n"), ERROR_INVALID_REQUEST},
	    {BYTES("GET / HTTP/1.1 \r\nHost: a\r\n\r\n"), ERROR_INVALID_REQUEST},
	    {BYTES(" GET / HTTP/1.1\r\nHost: a\r\n\r\n"), ERROR_INVALID_REQUEST},
	    {BYTES("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"), ERROR_INVALID_REQUEST},
	    {BYTES("G(T / HTTP/1.1\r\nHost: a\r\n\r\n"), ERROR_INVALID_REQUEST},
	    {BYTES("GET / http/1.1\r\nHost: a\r\n\r\n"), ERROR_INVALID_REQUEST},
	    {BYTES("GET / HTTP/1.10\r\nHost: a\r\n\r\n"), ERROR_INVALID_REQUEST},
	    {BYTES("GET / HTTP/2.0\r\nHost: a\r\n\r\n"), ERROR_HTTP_VERSION},
	    {BYTES("GET / HTTP/0.9\r\n\r\n"), ERROR_HTTP_VERSION},
	    {BYTES("GET x HTTP/1.1\r\nHost: a\r\n\r\n"), ERROR_INVALID_REQUEST},
	    {BYTES("GET * HTTP/1.1\r\nHost: a\r\n\r\n"), ERROR_INVALID_REQUEST},
	    {BYTES("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n"), ERROR_INVALID_REQUEST},
	    {BYTES("GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n"), ERROR_INVALID_REQUEST},
	    {BYTES("GET http://u@a/x HTTP/1.1\r\nHost: a\r\n\r\n"), ERROR_INVALID_REQUEST},
	    {BYTES("GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n"), ERROR_INVALID_REQUEST},
	    /* Host: 3.2 */
	    {BYTES("GET / HTTP/1.1\r\n\r\n"), ERROR_INVALID_REQUEST},
	    {BYTES("GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n"), ERROR_INVALID_REQUEST},
	    {BYTES("GET http://a/ HTTP/1.1\r\n\r\n"), ERROR_INVALID_REQUEST},
	    {BYTES("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n"), ERROR_INVALID_REQUEST},
	    {BYTES("GET / HTTP/1.1\r\nHost: a b\r\n\r\n"), ERROR_INVALID_REQUEST},
	    {BYTES("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"), ERROR_INVALID_REQUEST},
	    /* the body's end: 6 */
	    {BYTES("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n"), ERROR_INVALID_REQUEST},
	    {BYTES("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n"), ERROR_INVALID_REQUEST},
	    {BYTES("POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n"), ERROR_INVALID_REQUEST},
	    {BYTES("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n"), ERROR_INVALID_REQUEST},
	    {BYTES("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n"), ERROR_INVALID_REQUEST},
	    {BYTES("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\n"), ERROR_INVALID_REQUEST},
	    {BYTES("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1 1\r\n\r\n"), ERROR_INVALID_REQUEST},
	    {BYTES("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
	     ERROR_INVALID_REQUEST},
	    {BYTES("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
	     ERROR_INVALID_REQUEST},
	    {BYTES("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"), ERROR_INVALID_REQUEST},
	    {BYTES("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n"), ERROR_INVALID_REQUEST},
	    {BYTES("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n"), ERROR_INVALID_REQUEST},
	    {BYTES("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), ERROR_INVALID_REQUEST},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		for (size_t piece = 1; piece <= cases[i].n_bytes; piece += 7) {
			struct head head;
			struct error error = {0};
			if (read_head(cases[i].text, cases[i].n_bytes, piece, &head, &error) != HEAD_BAD)
				fail_msg("case %zu was taken: %s", i, cases[i].text);
			if (error.code != cases[i].code)
				fail_msg("case %zu: %s", i, error.message);
		}
	}
}

static void what_is_allowed_passes(void **state)
{
	(void)state;
	struct head head = must_read("\r\n\r\nGET / HTTP/1.1\r\nHost:\r\n\r\n");
	assert_true(head.host.at && head.host.n_bytes == 0);
	head = must_read("GET / HTTP/1.0\r\n\r\n");
	assert_true(head.minor_version == 0 && !head.host.at && !head.has_length);
	assert_int_equal(must_read("GET / HTTP/1.7\r\nHost: a\r\n\r\n").minor_version, 1);
	assert_text(must_read("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").path, "*");
	head = must_read("GET HTTP://[::1]:80/x?y HTTP/1.1\r\nHost: other\r\n\r\n");
	assert_text(head.host, "[::1]:80");
	assert_text(head.path, "/x");
	assert_text(must_read("GET https://a HTTP/1.1\r\nHost: a\r\n\r\n").path, "/");
	assert_text(must_read("GET http://a?q HTTP/1.1\r\nHost: a\r\n\r\n").path, "/");
	assert_text(must_read("brew //x/../%00;p HTTP/1.1\r\nHost: a\r\n\r\n").path, "//x/../%00;p");
	assert_true(must_read("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n").chunked);
	assert_int_equal(
	    must_read("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0000000000000000000000007\r\n\r\n").content_length, 7);
	assert_true(
	    must_read("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n").content_length ==
	    INT64_MAX);
}

static void options_of_connection_and_expect(void **state)
{
	(void)state;
	struct head head =
	    must_read("GET / HTTP/1.1\r\nHost: a\r\nConnection: TE , Close\r\nConnection: keep-alive\r\n\r\n");
	assert_true(head.close && head.keep_alive);
	head = must_read("GET / HTTP/1.1\r\nHost: a\r\nConnection: closed\r\nExpect: 100-Continue\r\n\r\n");
	assert_true(!head.close && head.expects_continue && !head.expects_something);
	head = must_read("GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue, wonders\r\n\r\n");
	assert_true(head.expects_continue && head.expects_something);
	head = must_read("GET / HTTP/1.0\r\nExpect: wonders\r\n\r\n");
	assert_true(!head.expects_continue && !head.expects_something);
}

static void assert_refused(struct bytes *text, enum error_code code)
{
	struct head head;
	struct error error = {0};
	assert_int_equal(read_head(text->data, text->n_bytes, 1000, &head, &error), HEAD_BAD);
	assert_int_equal(error.code, code);
	bytes_clear(text);
}

static void sizes_are_bounded(void **state)
{
	(void)state;
	struct bytes text = {0};
	struct head head;
	struct error error = {0};
	for (int n_arguments = HEAD_MAX_ARGUMENTS; n_arguments <= HEAD_MAX_ARGUMENTS + 1; n_arguments++) {
		bytes_append_text(&text, "GET /?a");
		for (int i = 1; i < n_arguments; i++)
			bytes_append_text(&text, "&a");
		bytes_append_text(&text, " HTTP/1.1\r\nHost: a\r\n\r\n");
		if (n_arguments > HEAD_MAX_ARGUMENTS) {
			assert_refused(&text, ERROR_URI_TOO_LONG);
		} else {
			assert_int_equal(read_head(text.data, text.n_bytes, SIZE_MAX, &head, &error), HEAD_WHOLE);
			bytes_clear(&text);
		}
	}
	for (int n_fields = HEAD_MAX_FIELDS; n_fields <= HEAD_MAX_FIELDS + 1; n_fields++) {
		bytes_append_text(&text, "GET / HTTP/1.1\r\nHost: a\r\n");
		for (int i = 1; i < n_fields; i++)
			bytes_append_text(&text, "X: 1\r\n");
		bytes_append_text(&text, "\r\n");
		if (n_fields > HEAD_MAX_FIELDS) {
			assert_refused(&text, ERROR_HEAD_TOO_LARGE);
		} else {
			assert_int_equal(read_head(text.data, text.n_bytes, SIZE_MAX, &head, &error), HEAD_WHOLE);
			bytes_clear(&text);
		}
	}
	bytes_append_text(&text, "GET /");
	for (int i = 0; i < HEAD_MAX_TARGET_BYTES; i++)
		bytes_append_text(&text, "a");
	bytes_append_text(&text, " HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_refused(&text, ERROR_URI_TOO_LONG);
	bytes_append_text(&text, "GET / HTTP/1.1\r\nHost: a\r\nX: "); /* and no end */
	while (text.n_bytes <= HEAD_MAX_BYTES)
		bytes_append_text(&text, "a");
	assert_refused(&text, ERROR_HEAD_TOO_LARGE);
	while (text.n_bytes <= HEAD_MAX_BYTES) /* a first line without an end */
		bytes_append_text(&text, "a");
	assert_refused(&text, ERROR_URI_TOO_LONG);
	bytes_free(&text);
}

/* ---- chunks ---- */

static enum chunks_state decode(const char *bytes, size_t n_bytes, size_t piece, struct bytes *out, size_t *n_used)
{
	struct chunk_decoder decoder = {0};
	*n_used = 0;
	bytes_clear(out);
	while (*n_used < n_bytes && decoder.state != CHUNKS_ENDED && decoder.state != CHUNKS_BAD) {
		char data[256];
		size_t n_piece = n_bytes - *n_used < piece ? n_bytes - *n_used : piece, n_data = 0;
		*n_used += chunks_decode(&decoder, bytes + *n_used, n_piece, data, &n_data);
		bytes_append(out, data, n_data);
	}
	return decoder.state;
}

static void chunks_are_joined_however_they_come(void **state)
{
	(void)state;
	static const char body[] =
	    "3\r\nabc\r\n0A \t;x=\"y\" \r\n0123\r\n6789\r\n1 \r\n!\r\n000\r\nT: v\r\nU: w\r\n\r\nGET /";
	size_t n_body = sizeof body - 1 - strlen("GET /"), n_used;
	struct bytes out = {0};
	for (size_t piece = 1; piece < sizeof body; piece++) {
		assert_int_equal(decode(body, sizeof body - 1, piece, &out, &n_used), CHUNKS_ENDED);
		assert_int_equal(n_used, n_body);
		assert_string_equal(out.data, "abc0123\r\n6789!");
	}
	for (size_t n = 0; n < n_body; n++) {
		enum chunks_state at_end = decode(body, n, SIZE_MAX, &out, &n_used);
		assert_true(at_end != CHUNKS_ENDED && at_end != CHUNKS_BAD);
	}
	bytes_free(&out);
}

static void broken_chunks_are_noticed(void **state)
{
	(void)state;
	static const struct {
		const char *body;
		size_t n_bytes;
	} cases[] = {
	    {BYTES("zz\r\n")},
	    {BYTES("\r\n")},
	    {BYTES("-1\r\n")},
	    {BYTES("0x1\r\na\r\n")},
	    {BYTES(" 1\r\na\r\n")},
	    {BYTES("1\na\r\n")},
	    {BYTES("1\r\nab\r\n")},
	    {BYTES("1\r\na\n0\r\n")},
	    {BYTES("1\r\na0\r\n")},
	    {BYTES("1 0\r\na\r\n")},
	    {BYTES("1 x\r\na\r\n")},
	    {BYTES("1\t1;x\r\na\r\n")},
	    {BYTES("1 \n\r\na\r\n")},
	    {BYTES("1;\0\r\na\r\n")},
	    {BYTES("1;\n\r\na\r\n")},
	    {BYTES("0\r\nX: \0\r\n\r\n")},
	    {BYTES("0\r\n\rX")},
	    {BYTES("0\r\nX: y\n\r\n")},
	    {BYTES("00000000000000000\r\n")},
	    {BYTES("fffffffffffffffff\r\n")},
	};
	struct bytes out = {0};
	size_t n_used;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		for (size_t piece = 1; piece <= cases[i].n_bytes; piece++)
			if (decode(cases[i].body, cases[i].n_bytes, piece, &out, &n_used) != CHUNKS_BAD)
				fail_msg("case %zu was taken", i);
	static const char *const skipped[][2] = {{"1;", "x"}, {"1", " "}};
	for (size_t i = 0; i < 2; i++) {
		struct bytes endless = {0};
		bytes_append_text(&endless, skipped[i][0]);
		for (int j = 0; j < 20000; j++)
			bytes_append_text(&endless, skipped[i][1]);
		assert_int_equal(decode(endless.data, endless.n_bytes, 200, &out, &n_used), CHUNKS_BAD);
		bytes_free(&endless);
	}
	bytes_free(&out);
}

/* ---- the gate ---- */

struct watcher {
	int n_begun, n_refused;
	enum error_code code;
};

static void note_begun(void *context, void *peer)
{
	(void)peer;
	((struct watcher *)context)->n_begun++;
}

static void note_refused(void *context, const struct error *error, struct bytes *answer)
{
	struct watcher *watcher = context;
	watcher->n_refused++;
	watcher->code = error->code;
	bytes_append_text(answer, "refused");
}

struct gated {
	int ends[2]; /* [0] is read through the gate */
	struct watcher watcher;
	struct gate_listener listener;
	struct gate gate;
};

static void gated_open(struct gated *gated)
{
	*gated = (struct gated){0};
	gated->listener = (struct gate_listener){note_begun, note_refused, &gated->watcher};
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, gated->ends), 0);
	assert_true(gate_open(&gated->gate, gated->ends[0], &gated->listener, NULL));
}

static void gated_close(struct gated *gated)
{
	gate_close(&gated->gate);
	close(gated->ends[0]);
	close(gated->ends[1]);
}

static void client_sends(struct gated *gated, const char *text)
{
	assert_int_equal(send(gated->ends[1], text, strlen(text), 0), strlen(text));
}

/* What recv(2) gives the library, as text. */
static ssize_t library_reads(struct gated *gated, char *out, size_t max_bytes)
{
	ssize_t n_bytes = recv(gated->ends[0], out, max_bytes - 1, 0);
	out[n_bytes > 0 ? n_bytes : 0] = '\0';
	return n_bytes;
}

static void pipelined_requests_pass_one_at_a_time(void **state)
{
	(void)state;
	struct gated gated;
	char out[512];
	gated_open(&gated);
	assert_int_equal(library_reads(&gated, out, sizeof out), -1); /* nothing yet: it may poll */
	client_sends(&gated, "POST /a?q HTTP/1.1\r\nHost: a\r\nX: 1\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nxyz"
	                     "\r\nHEAD /b HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
	                     "POST /c HTTP/1.1\r\nHost: c\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
	                     "1;e\r\nu\r\n2\r\nvw\r\n0\r\nT: t\r\n\r\nGET /");
	assert_true(library_reads(&gated, out, sizeof out) > 0);
	assert_string_equal(out, "POST / HTTP/1.1\r\nHost: -\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
	struct request_head *first = gate_take_head(&gated.gate);
	assert_non_null(first);
	assert_text(first->head.path, "/a");
	assert_null(gate_take_head(&gated.gate));
	assert_int_equal(library_reads(&gated, out, sizeof out), 3);
	assert_string_equal(out, "xyz");
	assert_true(library_reads(&gated, out, sizeof out) > 0);
	assert_string_equal(out, "HEAD / HTTP/1.0\r\nHost: -\r\nConnection: keep-alive\r\n\r\n");
	struct request_head *second = gate_take_head(&gated.gate);
	assert_text(second->head.path, "/b");
	assert_true(library_reads(&gated, out, sizeof out) > 0);
	assert_string_equal(out, "POST / HTTP/1.1\r\nHost: -\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n");
	struct request_head *third = gate_take_head(&gated.gate);
	assert_true(library_reads(&gated, out, sizeof out) > 0);
	assert_string_equal(out, "3\r\nuvw\r\n0\r\n\r\n");
	assert_text(first->head.path, "/a"); /* each keeps its own bytes */
	assert_int_equal(gated.watcher.n_begun, 3);
	assert_int_equal(gated.watcher.n_refused, 0);
	free(first);
	free(second);
	free(third);
	gated_close(&gated);
}

/* The second request of a connection is checked as the first; what follows a bad one is nobody's request. */
static void a_bad_head_is_answered_once_and_ends_it(void **state)
{
	(void)state;
	struct gated gated;
	char out[512];
	gated_open(&gated);
	client_sends(
	    &gated,
	    "GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost : a\r\n\r\nGET /c HTTP/1.1\r\nHost: a\r\n\r\n");
	shutdown(gated.ends[1], SHUT_WR);
	assert_true(library_reads(&gated, out, sizeof out) > 0);
	free(gate_take_head(&gated.gate));
	assert_int_equal(library_reads(&gated, out, sizeof out), 0);
	assert_int_equal(library_reads(&gated, out, sizeof out), 0);
	assert_int_equal(gated.watcher.n_refused, 1);
	assert_int_equal(gated.watcher.code, ERROR_INVALID_REQUEST);
	assert_true(gated.gate.refused && !gate_take_head(&gated.gate));
	assert_int_equal(recv(gated.ends[1], out, sizeof out, 0), strlen("refused"));
	assert_int_equal(recv(gated.ends[1], out, sizeof out, 0), 0);
	gated_close(&gated);
}

static void a_broken_chunk_is_answered(void **state)
{
	(void)state;
	struct gated gated;
	char out[512];
	gated_open(&gated);
	client_sends(&gated, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabX");
	shutdown(gated.ends[1], SHUT_WR);
	assert_true(library_reads(&gated, out, sizeof out) > 0);
	free(gate_take_head(&gated.gate));
	assert_int_equal(library_reads(&gated, out, sizeof out), 0);
	assert_int_equal(gated.watcher.n_refused, 1);
	gated_close(&gated);
}

/* The client leaves in the middle of a head: nothing to answer, nothing left behind. */
static void half_a_head_is_no_request(void **state)
{
	(void)state;
	struct gated gated;
	char out[512];
	gated_open(&gated);
	client_sends(&gated, "GET / HTTP/1.1\r\nHo");
	shutdown(gated.ends[1], SHUT_WR);
	assert_int_equal(library_reads(&gated, out, sizeof out), 0);
	assert_int_equal(gated.watcher.n_begun, 1);
	assert_int_equal(gated.watcher.n_refused, 0);
	assert_null(gate_take_head(&gated.gate));
	gated_close(&gated);
}

/* Unread data would turn the close into a reset, which can overtake the last answer. */
static void closing_leaves_nothing_unread(void **state)
{
	(void)state;
	struct gated gated;
	char out[512];
	gated_open(&gated);
	client_sends(&gated, "GET / HTTP/1.0\r\n\r\n\r\nwhat nobody asked for");
	assert_true(library_reads(&gated, out, sizeof out) > 0);
	free(gate_take_head(&gated.gate));
	gate_close(&gated.gate);
	assert_int_equal(recv(gated.ends[0], out, sizeof out, 0), -1); /* there is no gate any more, and nothing to read */
	gated_close(&gated);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(parts_are_found),
	    cmocka_unit_test(every_truncation_waits_for_more_and_pieces_do_not_matter),
	    cmocka_unit_test(what_follows_is_not_taken),
	    cmocka_unit_test(what_is_in_doubt_is_refused),
	    cmocka_unit_test(what_is_allowed_passes),
	    cmocka_unit_test(options_of_connection_and_expect),
	    cmocka_unit_test(sizes_are_bounded),
	    cmocka_unit_test(chunks_are_joined_however_they_come),
	    cmocka_unit_test(broken_chunks_are_noticed),
	    cmocka_unit_test(pipelined_requests_pass_one_at_a_time),
	    cmocka_unit_test(a_bad_head_is_answered_once_and_ends_it),
	    cmocka_unit_test(a_broken_chunk_is_answered),
	    cmocka_unit_test(half_a_head_is_no_request),
	    cmocka_unit_test(closing_leaves_nothing_unread),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
