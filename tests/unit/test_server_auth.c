/* Keys, Host, Origin, request ids. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "server/http/auth.h"
#include "server/http/keys.h"

static struct head_text text(const char *c_string)
{
	return (struct head_text){c_string, c_string ? strlen(c_string) : 0};
}

static struct key_ring ring;

static struct api_key key_of(const char *c_string, const char *name)
{
	struct api_key key = {.max_priority = KEY_HIGHEST_PRIORITY};
	struct error error;
	assert_true(digest_of(c_string, strlen(c_string), &key.digest, &error));
	snprintf(key.name, sizeof key.name, "%s", name);
	return key;
}

static void open_ring(const struct api_key *keys, int n_keys)
{
	struct error error;
	assert_true(key_ring_init(&ring, keys, n_keys, &error));
}

static bool allows(struct head_text token)
{
	struct key_access access;
	struct error error = {0};
	bool allowed = key_ring_admit(&ring, token, &access, &error);
	assert_true(allowed || error.code == ERROR_UNAUTHORIZED);
	return allowed;
}

static struct key_access access_of(const char *token)
{
	struct key_access access;
	struct error error;
	assert_true(key_ring_admit(&ring, text(token), &access, &error));
	return access;
}

static void keys_are_compared_whole(void **state)
{
	(void)state;
	open_ring((struct api_key[]){key_of("first-key", "a"), key_of("second", "b")}, 2);
	assert_true(allows(bearer_token(text("Bearer first-key"))));
	assert_true(allows(bearer_token(text("bearer  second "))));
	static const char *const wrong[] = {
	    NULL,      "",         "Bearer",        "Bearer ",      "Bearer first-ke", "Bearer first-key2",
	    "secondX", "Basic xx", "Bearer SECOND", "Bearersecond", "Bearer a b",
	};
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
		assert_false(allows(bearer_token(text(wrong[i]))));
	char overlong[1000] = "Bearer ";
	memset(overlong + 7, 'k', sizeof overlong - 8);
	assert_false(allows(bearer_token(text(overlong))));
	key_ring_free(&ring);
}

static void keys_can_be_replaced(void **state)
{
	(void)state;
	struct error error;
	struct api_key twice[] = {key_of("x", "a"), key_of("y", "a")}, fresh = key_of("new", "b"),
	               back = key_of("newer", "a");
	open_ring((struct api_key[]){key_of("old", "a")}, 1);
	struct key_account *account = access_of("old").account;
	assert_false(key_ring_replace(&ring, twice, 2, &error));
	assert_int_equal(error.code, ERROR_USAGE);
	assert_true(allows(text("old")));
	assert_true(key_ring_replace(&ring, &fresh, 1, &error));
	assert_false(allows(text("old")));
	assert_true(allows(text("new")));
	assert_ptr_not_equal(access_of("new").account, account);
	/* A name's usage goes on, whatever its key is by then. */
	assert_true(key_ring_replace(&ring, &back, 1, &error));
	assert_ptr_equal(access_of("newer").account, account);
	key_ring_free(&ring);
}

/* What it is called is its line's, and another's after the next reread: neither counts nor debts go with it. */
static void keys_without_a_name_are_their_digests(void **state)
{
	(void)state;
	struct error error;
	struct api_key one = key_of("one", "line-1"), two = key_of("two", "line-2"), new = key_of("new", "line-1");
	one.unnamed = two.unnamed = new.unnamed = true;
	open_ring((struct api_key[]){one, two}, 2);
	struct key_account *of_one = access_of("one").account, *of_two = access_of("two").account;
	assert_string_equal(access_of("two").name, "line-2");
	snprintf(two.name, sizeof two.name, "line-3");
	snprintf(one.name, sizeof one.name, "line-2");
	assert_true(key_ring_replace(&ring, (struct api_key[]){new, one, two}, 3, &error));
	assert_ptr_equal(access_of("one").account, of_one);
	assert_ptr_equal(access_of("two").account, of_two);
	assert_string_equal(access_of("two").name, "line-3");
	assert_string_equal(of_two->name, "line-3");
	struct key_account *of_new = access_of("new").account;
	assert_true(of_new != of_one && of_new != of_two && of_new->listed);
	/* The place of a key that is gone may be another's: /metrics has one series of each name. */
	snprintf(two.name, sizeof two.name, "line-1");
	assert_true(key_ring_replace(&ring, &two, 1, &error));
	assert_true(of_two->listed && !of_one->listed && !of_new->listed);
	key_ring_free(&ring);
}

static void jobs_belong_to_keys(void **state)
{
	(void)state;
	open_ring((struct api_key[]){key_of("first", "a"), key_of("second", "b")}, 2);
	uint64_t first = access_of("first").owner;
	assert_true(first == access_of("first").owner && first != access_of("second").owner && first != 0);
	key_ring_free(&ring);
	open_ring(NULL, 0);
	assert_true(access_of("first").owner == 0 && access_of("first").account == NULL);
	key_ring_free(&ring);
}

static void admins_are_those_that_are_called_so(void **state)
{
	(void)state;
	struct error error;
	struct api_key keys[] = {key_of("first", "a"), key_of("second", "b")};
	open_ring(keys, 2);
	assert_true(access_of("first").admin && access_of("second").admin); /* nobody is more than others */
	keys[1].admin = true;
	keys[0].max_priority = -3;
	keys[0].max_requests = 7;
	assert_true(key_ring_replace(&ring, keys, 2, &error));
	assert_false(access_of("first").admin);
	assert_true(access_of("second").admin);
	assert_true(access_of("first").max_priority == -3 && access_of("first").max_requests == 7);
	assert_true(access_of("second").max_priority == KEY_HIGHEST_PRIORITY && access_of("second").max_requests == 0);
	key_ring_free(&ring);
	open_ring(NULL, 0);
	assert_true(access_of(NULL).admin && access_of(NULL).max_priority == KEY_HIGHEST_PRIORITY);
	key_ring_free(&ring);
}

static void tokens_come_back_with_time(void **state)
{
	(void)state;
	const int64_t second = 1000000000, start = 1000 * second;
	struct error error = {0};
	struct api_key key = key_of("first", "a");
	int retry_after_s = 0;
	key.tokens_per_minute = 60;
	open_ring(&key, 1);
	struct key_access access = access_of("first");
	assert_true(key_may_spend(&access, start, &retry_after_s, &error));
	atomic_fetch_add(&access.account->account.prompt_tokens, 50);
	assert_true(key_may_spend(&access, start, &retry_after_s, &error)); /* ten are left */
	atomic_fetch_add(&access.account->account.tokens_generated, 30);
	assert_false(key_may_spend(&access, start, &retry_after_s, &error)); /* twenty too many */
	assert_int_equal(error.code, ERROR_QUEUE_FULL);
	assert_in_range(retry_after_s, 21, 22);
	assert_false(key_may_spend(&access, start + 19 * second, &retry_after_s, &error));
	assert_in_range(retry_after_s, 1, 3);
	assert_true(key_may_spend(&access, start + 22 * second, &retry_after_s, &error));
	/* No more than a minute's is saved up. */
	atomic_fetch_add(&access.account->account.tokens_generated, 61);
	assert_false(key_may_spend(&access, start + 10000 * second, &retry_after_s, &error));
	key_ring_free(&ring);
}

static void what_was_taken_without_a_limit_costs_nothing(void **state)
{
	(void)state;
	const int64_t second = 1000000000, start = 1000 * second;
	struct error error = {0};
	struct api_key key = key_of("first", "a");
	int retry_after_s = 0;
	open_ring(&key, 1);
	atomic_ullong *generated = &access_of("first").account->account.tokens_generated;
	for (int i = 0; i < 2; i++) {
		struct key_access access = access_of("first");
		assert_true(key_may_spend(&access, start, &retry_after_s, &error));
		atomic_fetch_add(generated, 1000000);
		key.tokens_per_minute = 60;
		assert_true(key_ring_replace(&ring, &key, 1, &error));
		access = access_of("first");
		assert_true(key_may_spend(&access, start, &retry_after_s, &error));
		atomic_fetch_add(generated, 70);
		assert_false(key_may_spend(&access, start, &retry_after_s, &error));
		assert_in_range(retry_after_s, 11, 12);
		/* Read again, the limit and the debt are what they were. */
		assert_true(key_ring_replace(&ring, &key, 1, &error));
		access = access_of("first");
		assert_false(key_may_spend(&access, start, &retry_after_s, &error));
		key.tokens_per_minute = 0;
		assert_true(key_ring_replace(&ring, &key, 1, &error));
	}
	key_ring_free(&ring);
}

static void debts_may_be_any_and_clocks_go_forward(void **state)
{
	(void)state;
	const int64_t second = 1000000000, start = 1000 * second;
	struct error error = {0};
	struct api_key key = key_of("first", "a");
	int retry_after_s = 0;
	key.tokens_per_minute = 60;
	open_ring(&key, 1);
	struct key_access access = access_of("first");
	assert_true(key_may_spend(&access, start, &retry_after_s, &error));
	assert_true(key_may_spend(&access, start - 100 * second, &retry_after_s, &error));
	assert_true(key_may_spend(&access, start, &retry_after_s, &error));
	atomic_fetch_add(&access.account->account.prompt_tokens, 70);
	assert_false(key_may_spend(&access, start, &retry_after_s, &error)); /* what was earlier gave no tokens twice */
	atomic_fetch_add(&access.account->account.prompt_tokens, 1000000000000000);
	assert_false(key_may_spend(&access, start, &retry_after_s, &error));
	assert_true(retry_after_s > 1000000);
	key_ring_free(&ring);
}

/* What follows a text in memory is not part of it. */
static void sizes_count_not_ends(void **state)
{
	(void)state;
	open_ring((struct api_key[]){key_of("sesame", "a")}, 1);
	assert_true(allows(bearer_token((struct head_text){"Bearer sesame!", 13})));
	assert_false(allows(bearer_token((struct head_text){"Bearer sesame\0x", 15})));
	assert_false(allows(bearer_token((struct head_text){"Bearer sesame", 12})));
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
	open_ring(NULL, 0);
	assert_true(allows(bearer_token(text(NULL))));
	key_ring_free(&ring);
}

/* FIPS 180-2, appendix B. */
static void digests_are_those_of_the_standard(void **state)
{
	(void)state;
	struct error error;
	struct digest digest, read;
	char hex[DIGEST_HEX_BYTES];
	assert_true(digest_of("abc", 3, &digest, &error));
	digest_write(&digest, hex);
	assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	hex[0] = 'B';
	assert_true(digest_read(hex, &read));
	assert_memory_equal(&read, &digest, sizeof digest);
	hex[63] = 'g';
	assert_false(digest_read(hex, &read) || digest_read("", &read) || digest_read("ba", &read));
	struct digest_state *pieces = digest_begin(&error);
	digest_add(pieces, "a", 1);
	digest_add(pieces, "bc", 2);
	digest_end(pieces, &read);
	assert_memory_equal(&read, &digest, sizeof digest);
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
	static const struct host_names none;
	bool cross;
	assert_true(origin_is_allowed(text("http://127.0.0.1:80"), NULL, text("127.0.0.1:80"), &none, &cross));
	assert_false(cross);
	assert_false(origin_is_allowed(text("http://127.0.0.1:81"), NULL, text("127.0.0.1:80"), &none, &cross));
	assert_false(origin_is_allowed(text("https://evil.example"), NULL, text("127.0.0.1:80"), &none, &cross));
	assert_false(origin_is_allowed(text("null"), NULL, text(NULL), &none, &cross));
	assert_true(
	    origin_is_allowed(text("https://app.example"), "https://app.example", text("127.0.0.1:80"), &none, &cross));
	assert_true(cross);
	assert_false(origin_is_allowed(text("https://app.example.evil"), "https://app.example", text(NULL), &none, &cross));
	assert_true(origin_is_allowed(text("null"), "*", text(NULL), &none, &cross));
}

static void named_hosts_pass(void **state)
{
	(void)state;
	char *texts[] = {"tallow.example", "[fe80::1]", "10.0.0.7"};
	const struct host_names names = {texts, 3}, none = {0};
	bool cross;
	static const char *const named[] = {"tallow.example", "TALLOW.example:8443", "[fe80::1]:1", "10.0.0.7"};
	static const char *const other[] = {"",           "tallow.example.evil",  "a.tallow.example", "tallow.example:x",
	                                    "10.0.0.70",  "tallow.example:80:80", "fe80::1",          "tallow.example/",
	                                    "x@10.0.0.7", "tallow.example:123456"};
	for (size_t i = 0; i < sizeof named / sizeof named[0]; i++) {
		assert_true(host_is_named(text(named[i]), &names));
		assert_false(host_is_named(text(named[i]), &none));
		for (int secure = 0; secure < 2; secure++) {
			char origin[100];
			snprintf(origin, sizeof origin, "%s://%s", secure ? "https" : "HTTP", named[i]);
			cross = true;
			assert_true(origin_is_allowed(text(origin), NULL, text("127.0.0.1:80"), &names, &cross));
			assert_false(cross);
			assert_false(origin_is_allowed(text(origin), NULL, text("127.0.0.1:80"), &none, &cross));
		}
	}
	for (size_t i = 0; i < sizeof other / sizeof other[0]; i++) {
		char origin[100];
		snprintf(origin, sizeof origin, "https://%s", other[i]);
		if (host_is_named(text(other[i]), &names) || origin_is_allowed(text(origin), NULL, text("x"), &names, &cross))
			fail_msg("let in: %s", other[i]);
	}
	assert_false(origin_is_allowed(text("ftp://tallow.example"), NULL, text("x"), &names, &cross));
	assert_false(origin_is_allowed(text("tallow.example"), NULL, text("x"), &names, &cross));
}

static void names_of_hosts_are_plain(void **state)
{
	(void)state;
	static const char *const plain[] = {"a",        "tallow.example", "my_host-1",
	                                    "10.0.0.7", "[::1]",          "xn--bcher-kva.example"};
	static const char *const none[] = {"",    "*",   "*.example", "a:80", "http://a", "a/",
	                                   "a b", "::1", "[]",        "[::1", "a,b",      "\xc3\xa4"};
	for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++)
		if (!host_name_is_plain(text(plain[i])))
			fail_msg("refused: %s", plain[i]);
	for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
		if (host_name_is_plain(text(none[i])))
			fail_msg("taken: %s", none[i]);
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
	    cmocka_unit_test(admins_are_those_that_are_called_so),
	    cmocka_unit_test(tokens_come_back_with_time),
	    cmocka_unit_test(digests_are_those_of_the_standard),
	    cmocka_unit_test(sizes_count_not_ends),
	    cmocka_unit_test(no_keys_let_all_in),
	    cmocka_unit_test(only_local_hosts_pass),
	    cmocka_unit_test(only_own_and_named_origins_pass),
	    cmocka_unit_test(named_hosts_pass),
	    cmocka_unit_test(names_of_hosts_are_plain),
	    cmocka_unit_test(request_ids_must_be_plain),
	    cmocka_unit_test(keys_without_a_name_are_their_digests),
	    cmocka_unit_test(what_was_taken_without_a_limit_costs_nothing),
	    cmocka_unit_test(debts_may_be_any_and_clocks_go_forward),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
