/* What a request may ask of its answer, whatever that is: a place in a trace, and gzip. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include <cmocka.h>

#include "server/http/compress.h"
#include "server/http/trace.h"

static struct head_text text(const char *text)
{
	return (struct head_text){text, strlen(text)};
}

/* The examples of the specification, and what it forbids. */
static void traces_are_those_of_the_specification(void **state)
{
	(void)state;
	static const char *const good[] = {
	    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
	    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
	    "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
	    "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the-future-will-be-like",
	};
	static const char *const bad[] = {
	    "",
	    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
	    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
	    "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.more",
	    "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
	    "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
	    "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
	    "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
	    "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
	    "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
	    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0x",
	    "0 -4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
	};
	struct trace trace;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		if (!trace_parse(text(good[i]), &trace))
			fail_msg("refused: %s", good[i]);
		assert_memory_equal(trace.parent, good[i], TRACE_PARENT_BYTES);
		assert_int_equal(strlen(trace.parent), TRACE_PARENT_BYTES);
		assert_string_equal(trace.id, "4bf92f3577b34da6a3ce929d0e0e4736");
		assert_string_equal(trace.span, "00f067aa0ba902b7");
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		if (trace_parse(text(bad[i]), &trace))
			fail_msg("taken: %s", bad[i]);
		assert_string_equal(trace.parent, "");
	}
}

static void gzip_is_asked_for(void **state)
{
	(void)state;
	static const char *const yes[] = {"gzip",
	                                  "GZIP",
	                                  "gzip, deflate, br, zstd",
	                                  "deflate , gzip;q=0.5",
	                                  "br;q=1.0, gzip;q=0.001",
	                                  "*",
	                                  "identity;q=0, *;q=0.1",
	                                  "x-gzip",
	                                  ",gzip,"};
	static const char *const no[] = {"",        "identity",       "deflate, br",      "gzip;q=0", "gzip; Q=0.000",
	                                 "*;q=0",   "gzip;q=0, *",    "gzipped, notgzip", ",",        ";",
	                                 "br;gzip", "identity, *;q=0"};
	for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++)
		if (!compress_is_asked(text(yes[i])))
			fail_msg("not understood: %s", yes[i]);
	for (size_t i = 0; i < sizeof no / sizeof no[0]; i++)
		if (compress_is_asked(text(no[i])))
			fail_msg("asked for nothing: %s", no[i]);
}

static void what_is_packed_comes_out_again(void **state)
{
	(void)state;
	enum { N = 300000 };
	char *body = malloc(N), *again = malloc(N);
	struct bytes packed;
	for (int i = 0; i < N; i++)
		body[i] = (char)('a' + i % 7 * (i % 7) % 7);
	assert_true(compress_is_worth(N) && !compress_is_worth(100) && !compress_is_worth((size_t)1 << 30));
	assert_true(compress_gzip(body, N, &packed));
	assert_true(packed.n_bytes < N / 10);
	z_stream stream = {
	    .next_in = (void *)packed.data, .avail_in = (uInt)packed.n_bytes, .next_out = (void *)again, .avail_out = N};
	assert_int_equal(inflateInit2(&stream, 15 + 16), Z_OK); /* gzip, nothing else */
	assert_int_equal(inflate(&stream, Z_FINISH), Z_STREAM_END);
	assert_int_equal(stream.total_out, N);
	assert_memory_equal(again, body, N);
	inflateEnd(&stream);
	bytes_free(&packed);

	/* Noise would grow. */
	uint64_t noise = 1;
	for (int i = 0; i < N; i++) {
		noise = noise * 6364136223846793005u + 1442695040888963407u;
		body[i] = (char)(noise >> 56);
	}
	assert_false(compress_gzip(body, N, &packed));
	assert_null(packed.data);
	free(body);
	free(again);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(traces_are_those_of_the_specification),
	    cmocka_unit_test(gzip_is_asked_for),
	    cmocka_unit_test(what_is_packed_comes_out_again),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
