/* base: sizes that overflow, buffers at their bounds, errors that stay one line, published hash vectors, the log. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/checked.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"

/* ---- sizes ---- */

static void overflow_leaves_the_result_alone(void **state)
{
	(void)state;
	size_t out = 7;
	assert_false(checked_mul(SIZE_MAX / 2 + 1, 2, &out));
	assert_false(checked_add(SIZE_MAX, 1, &out));
	assert_int_equal(out, 7);
	assert_true(checked_mul(SIZE_MAX, 1, &out) && out == SIZE_MAX);
	assert_true(checked_mul(SIZE_MAX, 0, &out) && out == 0);
	assert_true(checked_add(SIZE_MAX - 1, 1, &out) && out == SIZE_MAX);
	assert_int_equal(round_up(0, 16), 0);
	assert_int_equal(round_up(1, 16), 16);
	assert_int_equal(round_up(16, 16), 16);
	assert_int_equal(round_up(13, 6), 18);
}

/* ---- arena ---- */

static void arena_pieces_are_zeroed_aligned_and_apart(void **state)
{
	(void)state;
	static const size_t sizes[] = {1, 15, 16, 17, 0, 4000, 16384, 16385, 100000, 3};
	enum { N_SIZES = sizeof sizes / sizeof *sizes, N_PIECES = 200 };
	struct arena arena = {0};
	unsigned char *pieces[N_PIECES];
	for (int i = 0; i < N_PIECES; i++) {
		size_t n = sizes[i % N_SIZES];
		pieces[i] = arena_alloc(&arena, n);
		assert_non_null(pieces[i]);
		assert_int_equal((uintptr_t)pieces[i] % 16, 0);
		for (size_t j = 0; j < n; j++)
			assert_int_equal(pieces[i][j], 0);
		memset(pieces[i], i, n);
	}
	for (int i = 0; i < N_PIECES; i++)
		for (size_t j = 0; j < sizes[i % N_SIZES]; j++)
			assert_int_equal(pieces[i][j], i);
	arena_free(&arena);
	assert_int_equal(arena.used_bytes, 0);
	assert_non_null(arena_alloc(&arena, 1)); /* usable again */
	arena_free(&arena);
	arena_free(&arena);
}

static void arena_keeps_its_bound(void **state)
{
	(void)state;
	struct arena arena = {.max_bytes = 64};
	assert_non_null(arena_alloc(&arena, 33)); /* 48 when rounded */
	assert_null(arena_alloc(&arena, 17));
	assert_non_null(arena_alloc(&arena, 16));
	assert_null(arena_alloc(&arena, 1));
	arena_free(&arena);
	assert_non_null(arena_alloc(&arena, 64));
	arena_free(&arena);

	struct arena boundless = {0};
	assert_null(arena_alloc(&boundless, SIZE_MAX));
	assert_null(arena_alloc(&boundless, SIZE_MAX - 15));
	assert_null(arena_array(&boundless, SIZE_MAX / 8 + 1, 8));
	assert_null(arena_strdup(&boundless, "x", SIZE_MAX));
	char *copy = arena_strdup(&boundless, "a\0b", 3);
	assert_memory_equal(copy, "a\0b", 4);
	assert_string_equal(arena_strdup(&boundless, "", 0), "");
	arena_free(&boundless);
}

/* ---- bytes ---- */

static void bytes_grow_and_stay_terminated(void **state)
{
	(void)state;
	struct bytes bytes = {0};
	assert_null(bytes.data);
	for (int i = 0; i < 10000; i++) {
		bytes_append_format(&bytes, "%d,", i % 10);
		assert_int_equal(bytes.n_bytes, 2 * (i + 1));
		assert_int_equal(bytes.data[bytes.n_bytes], 0);
	}
	assert_memory_equal(bytes.data + 19996, "8,9,", 5);
	bytes_clear(&bytes);
	assert_string_equal(bytes.data, "");
	bytes_append(&bytes, "a\0b", 3);
	bytes_append_text(&bytes, "c");
	bytes_append(&bytes, NULL, 0);
	assert_int_equal(bytes.n_bytes, 4);
	assert_memory_equal(bytes.data, "a\0bc", 5);
	assert_false(bytes.failed);
	bytes_free(&bytes);
	assert_null(bytes.data);
	bytes_append_text(&bytes, "again");
	assert_string_equal(bytes.data, "again");
	bytes_free(&bytes);
}

static void bytes_remember_the_first_failure(void **state)
{
	(void)state;
	struct bytes bytes = {.max_bytes = 5};
	bytes_append_text(&bytes, "12345");
	assert_false(bytes.failed);
	bytes_append_text(&bytes, "6");
	assert_true(bytes.failed && bytes.full);
	bytes_append_format(&bytes, "%s", "");
	assert_string_equal(bytes.data, "12345");
	assert_false(bytes_reserve(&bytes, 0));
	bytes_clear(&bytes);
	bytes_append_format(&bytes, "%s", "abcde");
	assert_false(bytes.failed || bytes.full);
	assert_string_equal(bytes.data, "abcde");
	bytes_append_format(&bytes, "%d", 1);
	assert_true(bytes.failed);
	bytes_free(&bytes);
	assert_int_equal(bytes.max_bytes, 5);

	struct bytes boundless = {0};
	assert_false(bytes_reserve(&boundless, SIZE_MAX));
	assert_true(boundless.failed && !boundless.full);
	bytes_free(&boundless);

	struct bytes part = {.failed = true}, whole = {0};
	bytes_clear_part(&part, &whole);
	assert_true(whole.failed && !part.failed);
	bytes_free_part(&part, &whole);
	assert_true(whole.failed);
}

/* ---- errors ---- */

static void error_table_is_complete(void **state)
{
	(void)state;
	static const enum error_code codes[] = {
#define X(code, wire, http, type, exit, retriable) code,
	    ERROR_TABLE(X)
#undef X
	};
	for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
		const struct error_info *info = error_info(codes[i]);
		assert_true(info->wire_name[0] && info->http_status >= 200 && info->http_status < 600);
		assert_true((info->exit_code == 0) == (codes[i] == ERROR_NONE));
	}
	assert_string_equal(error_info(ERROR_QUEUE_FULL)->wire_name, "QUEUE_FULL");
	assert_int_equal(error_info(ERROR_QUEUE_FULL)->http_status, 429);
	assert_true(error_info(ERROR_QUEUE_FULL)->retriable);
	assert_string_equal(error_info(ERROR_MODEL_FAULT)->wire_name, "MODEL_FAULT");
	assert_true(error_info(ERROR_INFERENCE)->retriable && !error_info(ERROR_MODEL_FAULT)->retriable);
}

static void error_messages_stay_one_valid_line(void **state)
{
	(void)state;
	struct error error;
	assert_false(error_set(&error, ERROR_MODEL, "name \"%s\" %d", "a\nb\x1b[31m\x7f\xFF\xC3\xA9", 3));
	assert_int_equal(error.code, ERROR_MODEL);
	assert_string_equal(error.message, "name \"a?b?[31m??\xC3\xA9\" 3");
	assert_false(error_prefix(&error, "%s", "dir\n/file"));
	assert_string_equal(error.message, "dir?/file: name \"a?b?[31m??\xC3\xA9\" 3");
	assert_int_equal(error.code, ERROR_MODEL);
	error_set(&error, ERROR_MODEL, "%s", "a\xC2\x9B\x32Jb\xE2\x80\xAE\xC2\xA0"); /* U+009B is CSI */
	assert_string_equal(error.message, "a??2Jb???\xC2\xA0");

	/* Cut in the middle of a character, at every offset of it. */
	char wide[700];
	for (int shift = 0; shift < 3; shift++) {
		memset(wide, 'x', (size_t)shift);
		for (size_t i = (size_t)shift; i + 3 < sizeof wide; i += 3)
			memcpy(wide + i, "\xE2\x82\xAC", 4);
		error_set(&error, ERROR_MODEL, "%s", wide);
		assert_true(strlen(error.message) < sizeof error.message);
		for (int i = 0; i < 3; i++)
			error_prefix(&error, "%s", "p");
		struct bytes json = {0};
		json_write_string(&json, error.message, strlen(error.message));
		assert_null(strstr(json.data, "\xEF\xBF\xBD")); /* nothing had to be replaced: it is valid UTF-8 */
		bytes_free(&json);
	}
	error_prefix(&error, "%s", wide);
	assert_true(strlen(error.message) == sizeof error.message - 1);
}

/* ---- hashes ---- */

/* Appendix A of the SipHash paper and the first vectors of its reference code: key 00 01 .. 0f, data 00 01 .. */
static void siphash_gives_the_published_values(void **state)
{
	(void)state;
	const union {
		unsigned char bytes[16];
		uint64_t words[2];
	} key = {.bytes = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}};
	const unsigned char data[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14};
	assert_true(hash_keyed(key.words, data, 0) == 0x726fdb47dd0e0e31u);
	assert_true(hash_keyed(key.words, data, 1) == 0x74f839c593dc67fdu);
	assert_true(hash_keyed(key.words, data, 7) == 0xab0200f58b01d137u);
	assert_true(hash_keyed(key.words, data, 8) == 0x93f5f5799a932462u);
	assert_true(hash_keyed(key.words, data, 15) == 0xa129ca6149be45e5u);
}

static void hashes_tell_inputs_apart(void **state)
{
	(void)state;
	assert_true(hash_bytes("abc", 3) == hash_bytes("abc", 3));
	assert_true(hash_bytes("abc", 3) != hash_bytes("abd", 3));
	assert_true(hash_bytes("abc", 3) != hash_bytes("abc", 4));
	/* The first output of the SplitMix64 generator seeded with 0. */
	assert_true(hash_mix(0) == 0xe220a8397b1dcdafu);
	unsigned char a[32] = {0}, b[32] = {0};
	assert_true(random_bytes(a, sizeof a) && random_bytes(b, sizeof b));
	assert_memory_not_equal(a, b, sizeof a);
	assert_true(random_bytes(a, 0));
}

static void secrets_are_compared_whole(void **state)
{
	(void)state;
	char a[] = "0123456789abcdef", b[sizeof a];
	for (size_t i = 0; i < sizeof a - 1; i++) {
		memcpy(b, a, sizeof a);
		b[i] ^= 1;
		assert_false(bytes_equal_constant_time(a, b, sizeof a - 1));
		assert_true(bytes_equal_constant_time(a, b, i));
	}
	assert_true(bytes_equal_constant_time(NULL, NULL, 0));
}

/* ---- log ---- */

struct capture {
	int saved_fd, read_fd;
};

static struct capture capture_stderr(void)
{
	int ends[2];
	struct capture capture = {.saved_fd = dup(STDERR_FILENO)};
	assert_int_equal(pipe(ends), 0);
	assert_true(dup2(ends[1], STDERR_FILENO) >= 0);
	close(ends[1]);
	capture.read_fd = ends[0];
	return capture;
}

/* What was written since; standard error is as before afterwards. */
static void end_capture(struct capture *capture, char *text, size_t capacity)
{
	dup2(capture->saved_fd, STDERR_FILENO);
	close(capture->saved_fd);
	size_t n = 0;
	for (ssize_t got; (got = read(capture->read_fd, text + n, capacity - 1 - n)) > 0;)
		n += (size_t)got;
	text[n] = 0;
	close(capture->read_fd);
}

static void json_lines_parse(void **state)
{
	(void)state;
	char text[4096];
	struct capture capture = capture_stderr();
	log_init(LOG_INFO, LOG_FORMAT_AUTO); /* a pipe is no terminal */
	log_event(LOG_INFO, "request_end", "ab\n12", LOG_INT("tokens", 12), LOG_MS("decode_ms", 80.51249),
	          LOG_TEXT("why", "a \"b\" \x01 \xFF"));
	end_capture(&capture, text, sizeof text);
	size_t n = strlen(text);
	assert_true(n > 0 && strchr(text, '\n') == text + n - 1);
	struct error error;
	struct json *line = json_parse(text, n, NULL, &error);
	assert_non_null(line);
	int64_t tokens;
	double decode_ms;
	assert_string_equal(json_string(json_get(line, "level"), NULL), "info");
	assert_string_equal(json_string(json_get(line, "event"), NULL), "request_end");
	assert_string_equal(json_string(json_get(line, "request_id"), NULL), "ab\n12");
	assert_string_equal(json_string(json_get(line, "why"), NULL), "a \"b\" \x01 \xEF\xBF\xBD");
	assert_true(json_int64(json_get(line, "tokens"), &tokens) && tokens == 12);
	assert_true(json_double(json_get(line, "decode_ms"), &decode_ms) && decode_ms == 80.512);
	const char *ts = json_string(json_get(line, "ts"), &n);
	assert_true(ts && n == 24 && ts[10] == 'T' && ts[23] == 'Z');
	json_destroy(line);
}

static void plain_lines_cannot_be_broken_or_steer_a_terminal(void **state)
{
	(void)state;
	char text[4096];
	struct capture capture = capture_stderr();
	log_init(LOG_WARN, LOG_FORMAT_PLAIN);
	log_event(LOG_INFO, "hidden", NULL);
	log_event(LOG_OFF, "hidden", NULL);
	log_event(LOG_WARN, "seen", NULL);
	log_event(LOG_ERROR, "end", "id\x1b[2J", LOG_TEXT("a", "x y"), LOG_TEXT("b", "z"), LOG_TEXT("c", NULL),
	          LOG_NUMBER("d", 1.5), LOG_TEXT("e", "\xC2\x9B\x7F\xE2\x80\xAE\xC3\xA9"));
	end_capture(&capture, text, sizeof text);
	assert_null(strstr(text, "hidden"));
	assert_null(strchr(text, '\x1b'));
	assert_non_null(strstr(text, " warn  seen\n"));
	assert_non_null(strstr(text, " error end req=\"id\\u001b[2J\" a=\"x y\" b=z c=\"\" d=1.5 "
	                             "e=\"\\u009b\\u007f\\u202e\xC3\xA9\"\n"));
	assert_true(text[2] == ':' && text[5] == ':' && text[8] == '.');
	assert_true(log_enabled(LOG_ERROR) && !log_enabled(LOG_INFO) && !log_enabled(LOG_OFF));
}

static void long_lines_leave_a_trace(void **state)
{
	(void)state;
	char text[4096], *huge = malloc(20000);
	memset(huge, 'x', 20000);
	huge[19999] = 0;
	struct capture capture = capture_stderr();
	log_init(LOG_INFO, LOG_FORMAT_JSON);
	log_event(LOG_INFO, "huge", huge, LOG_TEXT("text", "y"));
	log_message(LOG_INFO, "sentence", "%s", huge);
	end_capture(&capture, text, sizeof text);
	assert_non_null(strstr(text, "\"event\":\"huge\",\"message\":\"too long for the log\""));
	assert_non_null(strstr(text, "\"event\":\"sentence\",\"message\":\"xxxx"));
	free(huge);
}

static void a_closed_standard_error_is_harmless(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN); /* as main does */
	struct capture capture = capture_stderr();
	close(capture.read_fd);
	log_init(LOG_INFO, LOG_FORMAT_JSON);
	errno = 7;
	log_message(LOG_ERROR, "nobody", "listens");
	close(STDERR_FILENO);
	log_message(LOG_ERROR, "nobody", "listens");
	assert_int_equal(errno, 7);
	dup2(capture.saved_fd, STDERR_FILENO);
	close(capture.saved_fd);
}

static void levels_have_names(void **state)
{
	(void)state;
	enum log_level level = LOG_OFF;
	assert_true(log_level_parse("debug", &level) && level == LOG_DEBUG);
	assert_true(log_level_parse("off", &level) && level == LOG_OFF);
	assert_false(log_level_parse("Warn", &level));
	assert_false(log_level_parse("", &level));
	assert_int_equal(level, LOG_OFF);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(overflow_leaves_the_result_alone),
	    cmocka_unit_test(arena_pieces_are_zeroed_aligned_and_apart),
	    cmocka_unit_test(arena_keeps_its_bound),
	    cmocka_unit_test(bytes_grow_and_stay_terminated),
	    cmocka_unit_test(bytes_remember_the_first_failure),
	    cmocka_unit_test(error_table_is_complete),
	    cmocka_unit_test(error_messages_stay_one_valid_line),
	    cmocka_unit_test(siphash_gives_the_published_values),
	    cmocka_unit_test(hashes_tell_inputs_apart),
	    cmocka_unit_test(secrets_are_compared_whole),
	    cmocka_unit_test(json_lines_parse),
	    cmocka_unit_test(plain_lines_cannot_be_broken_or_steer_a_terminal),
	    cmocka_unit_test(long_lines_leave_a_trace),
	    cmocka_unit_test(a_closed_standard_error_is_harmless),
	    cmocka_unit_test(levels_have_names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
