/* Keys, Host, Origin, request ids. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "server/http/auth.h"

static struct head_text text(const char *c_string)
{
	return (struct head_text){c_string, c_string ? strlen(c_string) : 0};
}

static void keys_are_compared_whole(void **state)
{
	(void)state;
	static const char *const keys[] = {"first-key", "second"};
	struct key_ring ring;
	struct error error;
	assert_true(key_ring_init(&ring, keys, 2, &error));
	assert_true(key_ring_allows(&ring, bearer_token(text("Bearer first-key")), NULL));
	assert_true(key_ring_allows(&ring, bearer_token(text("bearer  second ")), NULL));
	static const char *const wrong[] = {
	    NULL,      "",         "Bearer",        "Bearer ",      "Bearer first-ke", "Bearer first-key2",
	    "secondX", "Basic xx", "Bearer SECOND", "Bearersecond", "Bearer a b",
	};
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
		assert_false(key_ring_allows(&ring, bearer_token(text(wrong[i])), NULL));
	char overlong[1000] = "Bearer ";
	memset(overlong + 7, 'k', sizeof overlong - 8);
	assert_false(key_ring_allows(&ring, bearer_token(text(overlong)), NULL));
	key_ring_free(&ring);
}

static void keys_can_be_replaced(void **state)
{
	(void)state;
	static const char *const old[] = {"old"}, *const fresh[] = {"new"}, *const empty[] = {""};
	struct key_ring ring;
	struct error error;
	assert_true(key_ring_init(&ring, old, 1, &error));
	assert_false(key_ring_replace(&ring, empty, 1, &error));
	assert_int_equal(error.code, ERROR_USAGE);
	assert_true(key_ring_allows(&ring, bearer_token(text("Bearer old")), NULL));
	assert_true(key_ring_replace(&ring, fresh, 1, &error));
	assert_false(key_ring_allows(&ring, bearer_token(text("Bearer old")), NULL));
	assert_true(key_ring_allows(&ring, bearer_token(text("Bearer new")), NULL));
	key_ring_free(&ring);
}

static void jobs_belong_to_keys(void **state)
{
	(void)state;
	static const char *const keys[] = {"first", "second"};
	struct key_ring ring;
	struct error error;
	uint64_t first, first_again, second, nobody = 7;
	assert_true(key_ring_init(&ring, keys, 2, &error));
	assert_true(key_ring_allows(&ring, bearer_token(text("Bearer first")), &first));
	assert_true(key_ring_allows(&ring, bearer_token(text("bearer  first ")), &first_again));
	assert_true(key_ring_allows(&ring, bearer_token(text("Bearer second")), &second));
	assert_true(first == first_again && first != second);
	key_ring_free(&ring);
	assert_true(key_ring_init(&ring, NULL, 0, &error));
	assert_true(key_ring_allows(&ring, bearer_token(text("Bearer first")), &nobody));
	assert_int_equal(nobody, 0);
	key_ring_free(&ring);
}

/* What follows a text in memory is not part of it. */
static void sizes_count_not_ends(void **state)
{
	(void)state;
	static const char *const keys[] = {"sesame"};
	struct key_ring ring;
	struct error error;
	assert_true(key_ring_init(&ring, keys, 1, &error));
	assert_true(key_ring_allows(&ring, bearer_token((struct head_text){"Bearer sesame!", 13}), NULL));
	assert_false(key_ring_allows(&ring, bearer_token((struct head_text){"Bearer sesame\0x", 15}), NULL));
	assert_false(key_ring_allows(&ring, bearer_token((struct head_text){"Bearer sesame", 12}), NULL));
	key_ring_free(&ring);
	assert_true(host_is_local((struct head_text){"localhost.evil", 9}, ""));
	assert_false(host_is_local((struct head_text){"localhost\0.evil", 15}, ""));
	assert_true(host_is_local((struct head_text){"localhost:123456", 15}, ""));
	assert_true(request_id_is_plain((struct head_text){"id ", 2}));
	assert_false(request_id_is_plain((struct head_text){"id\0", 3}));
}

static void no_keys_let_all_in(void **state)
{
	(void)state;
	struct key_ring ring;
	struct error error;
	assert_true(key_ring_init(&ring, NULL, 0, &error));
	assert_true(key_ring_allows(&ring, bearer_token(text(NULL)), NULL));
	key_ring_free(&ring);
	char overlong[KEY_MAX_BYTES + 2];
	memset(overlong, 'k', sizeof overlong - 1);
	overlong[sizeof overlong - 1] = '\0';
	const char *keys[] = {overlong};
	assert_false(key_ring_init(&ring, keys, 1, &error));
}

static void only_local_hosts_pass(void **state)
{
	(void)state;
	static const char *const local[] = {
	    "localhost", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:65535", "[::1]", "[::1]:8080", "127.0.0.9:80",
	};
	static const char *const foreign[] = {
	    "",
	    "evil.example",
	    "evil.example:8080",
	    "localhost.evil.example",
	    "127.0.0.1.evil.example",
	    "localhost:-1",
	    "localhost:x",
	    "localhost:80:80",
	    "[::1",
	    "[::1]x",
	    "::1",
	    "[]",
	    "localhost:123456",
	    "0.0.0.0",
	    "127.0.0.2",
	    "localhost/",
	    " localhost",
	    "user@localhost",
	};
	for (size_t i = 0; i < sizeof local / sizeof local[0]; i++)
		if (!host_is_local(text(local[i]), "127.0.0.9"))
			fail_msg("refused: %s", local[i]);
	for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++)
		if (host_is_local(text(foreign[i]), "127.0.0.1"))
			fail_msg("let in: %s", foreign[i]);
	assert_true(host_is_local(text("[fe80::1]:80"), "fe80::1"));
	assert_false(host_is_local(text("fe80::1"), "fe80::1"));
	assert_false(host_is_local(text("x"), ""));
}

static void only_own_and_named_origins_pass(void **state)
{
	(void)state;
	bool cross;
	assert_true(origin_is_allowed(text("http://127.0.0.1:80"), NULL, text("127.0.0.1:80"), &cross));
	assert_false(cross);
	assert_false(origin_is_allowed(text("http://127.0.0.1:81"), NULL, text("127.0.0.1:80"), &cross));
	assert_false(origin_is_allowed(text("https://evil.example"), NULL, text("127.0.0.1:80"), &cross));
	assert_false(origin_is_allowed(text("null"), NULL, text(NULL), &cross));
	assert_true(origin_is_allowed(text("https://app.example"), "https://app.example", text("127.0.0.1:80"), &cross));
	assert_true(cross);
	assert_false(origin_is_allowed(text("https://app.example.evil"), "https://app.example", text(NULL), &cross));
	assert_true(origin_is_allowed(text("null"), "*", text(NULL), &cross));
}

static void request_ids_must_be_plain(void **state)
{
	(void)state;
	assert_true(request_id_is_plain(text("a")));
	assert_true(request_id_is_plain(text("550e8400-e29b-41d4-a716-446655440000")));
	assert_true(request_id_is_plain(text("A.b_c:1")));
	assert_true(request_id_is_plain(text("0123456789012345678901234567890123456789012345678901234567890123")));
	assert_false(request_id_is_plain(text("01234567890123456789012345678901234567890123456789012345678901234")));
	assert_false(request_id_is_plain(text("")));
	assert_false(request_id_is_plain(text("a b")));
	assert_false(request_id_is_plain(text("a\"b")));
	assert_false(request_id_is_plain(text("\xc3\xa9")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(keys_are_compared_whole),
	    cmocka_unit_test(keys_can_be_replaced),
	    cmocka_unit_test(jobs_belong_to_keys),
	    cmocka_unit_test(sizes_count_not_ends),
	    cmocka_unit_test(no_keys_let_all_in),
	    cmocka_unit_test(only_local_hosts_pass),
	    cmocka_unit_test(only_own_and_named_origins_pass),
	    cmocka_unit_test(request_ids_must_be_plain),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
