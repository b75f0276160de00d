#include "server/http/keys.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "server/http/auth.h"

enum { LONGEST_WAIT_S = 1000000000 }; /* that is told: a debt may be any */

static bool is_account_of(const struct key_account *account, const struct api_key *key)
{
	if (account->named != !key->unnamed)
		return false;
	return account->named ? strcmp(account->name, key->name) == 0
	                      : memcmp(account->digest.bytes, key->digest.bytes, DIGEST_BYTES) == 0;
}

static struct key_account *account_of(struct key_ring *ring, const struct api_key *key)
{
	struct key_account *account = ring->all_accounts;
	while (account && !is_account_of(account, key))
		account = account->next;
	if (account)
		return account;
	account = calloc(1, sizeof *account);
	if (!account)
		return NULL;
	account->named = !key->unnamed;
	account->digest = key->digest;
	memcpy(account->name, key->name, sizeof account->name);
	pthread_mutex_init(&account->lock, NULL);
	account->next = ring->all_accounts;
	ring->all_accounts = account;
	return account;
}

static unsigned long long tokens_of(const struct key_account *account)
{
	return atomic_load(&account->account.prompt_tokens) + atomic_load(&account->account.tokens_generated);
}

/* A limit that comes, or comes back, begins with a whole minute's tokens and no debt. */
static void set_limit(struct key_account *account, int64_t tokens_per_minute)
{
	pthread_mutex_lock(&account->lock);
	if (account->tokens_per_minute == 0) {
		account->n_spent = tokens_of(account);
		account->tokens_left = 0;
		account->refilled_ns = 0;
	}
	account->tokens_per_minute = tokens_per_minute;
	pthread_mutex_unlock(&account->lock);
}

/* Locked. What the ring's keys say of their accounts; of two lines with one key the first counts, as in find_key. */
static void put_in_force(struct key_ring *ring)
{
	ring->has_admin = false;
	for (struct key_account *account = ring->all_accounts; account; account = account->next)
		account->listed = account->named;
	for (int i = ring->n_keys - 1; i >= 0; i--) {
		const struct api_key *key = &ring->keys[i];
		struct key_account *account = ring->accounts[i];
		ring->has_admin |= key->admin;
		memcpy(account->name, key->name, sizeof account->name);
		account->listed = true;
		set_limit(account, key->tokens_per_minute);
	}
}

static bool check_names(const struct api_key *keys, int n_keys, struct error *error)
{
	for (int i = 0; i < n_keys; i++)
		for (int j = 0; j < i; j++)
			if (strcmp(keys[i].name, keys[j].name) == 0)
				return error_set(error, ERROR_USAGE, "two API keys have the name %s", keys[i].name);
	return true;
}

bool key_ring_replace(struct key_ring *ring, const struct api_key *keys, int n_keys, struct error *error)
{
	if (n_keys < 0 || n_keys > KEYS_MAX)
		return error_set(error, ERROR_USAGE, "%d API keys given; at most %d are supported", n_keys, KEYS_MAX);
	if (!check_names(keys, n_keys, error))
		return false;
	size_t n = (size_t)n_keys + 1;
	struct api_key *copy = calloc(n, sizeof *copy);
	struct key_account **accounts = calloc(n, sizeof *accounts);
	bool ok = copy && accounts;
	pthread_rwlock_wrlock(&ring->lock);
	for (int i = 0; ok && i < n_keys; i++) {
		copy[i] = keys[i];
		accounts[i] = account_of(ring, &keys[i]);
		ok = accounts[i] != NULL;
	}
	struct api_key *old = ok ? ring->keys : copy;
	struct key_account **old_accounts = ok ? ring->accounts : accounts;
	if (ok) {
		ring->keys = copy;
		ring->accounts = accounts;
		ring->n_keys = n_keys;
		put_in_force(ring);
	}
	pthread_rwlock_unlock(&ring->lock);
	free(old);
	free(old_accounts);
	return ok || error_set(error, ERROR_MEMORY, "no memory for %d API keys", n_keys);
}

bool key_ring_init(struct key_ring *ring, const struct api_key *keys, int n_keys, struct error *error)
{
	*ring = (struct key_ring){0};
	pthread_rwlock_init(&ring->lock, NULL);
	if (key_ring_replace(ring, keys, n_keys, error))
		return true;
	key_ring_free(ring);
	return false;
}

void key_ring_free(struct key_ring *ring)
{
	for (struct key_account *account = ring->all_accounts, *next; account; account = next) {
		next = account->next;
		pthread_mutex_destroy(&account->lock);
		free(account);
	}
	free(ring->keys);
	free(ring->accounts);
	pthread_rwlock_destroy(&ring->lock);
	*ring = (struct key_ring){0};
}

/* Which key it is; -1: none. */
static int find_key(const struct key_ring *ring, const struct digest *digest)
{
	int found = -1;
	/* No early way out: the time taken says nothing about which key was nearly right. */
	for (int i = ring->n_keys - 1; i >= 0; i--)
		if (bytes_equal_constant_time(ring->keys[i].digest.bytes, digest->bytes, DIGEST_BYTES))
			found = i;
	return found;
}

bool key_ring_admit(struct key_ring *ring, struct head_text token, struct key_access *access, struct error *error)
{
	struct digest digest = {0};
	bool readable = token.at && token.n_bytes >= 1 && token.n_bytes <= KEY_MAX_BYTES;
	if (readable && !digest_of(token.at, token.n_bytes, &digest, error))
		return false;
	pthread_rwlock_rdlock(&ring->lock);
	bool open = ring->n_keys == 0;
	int at = readable ? find_key(ring, &digest) : -1;
	*access = (struct key_access){.max_priority = KEY_HIGHEST_PRIORITY, .admin = open};
	if (at >= 0) {
		const struct api_key *key = &ring->keys[at];
		*access = (struct key_access){
		    .owner = token_identity(token),
		    .account = ring->accounts[at],
		    .max_requests = key->max_requests,
		    .tokens_per_minute = key->tokens_per_minute,
		    .max_priority = key->max_priority,
		    .admin = key->admin || !ring->has_admin,
		};
		memcpy(access->name, key->name, sizeof access->name);
	}
	pthread_rwlock_unlock(&ring->lock);
	return open || at >= 0 ||
	       error_set(error, ERROR_UNAUTHORIZED, "a valid API key is required (Authorization: Bearer ... or X-Api-Key)");
}

/* Until a key in debt has its first token again. */
static int seconds_until(double tokens_left, double rate)
{
	double seconds = (1 - tokens_left) / rate * 60;
	return seconds < LONGEST_WAIT_S ? (int)seconds + 1 : LONGEST_WAIT_S;
}

bool key_may_spend(const struct key_access *access, int64_t now_ns, int *retry_after_s, struct error *error)
{
	struct key_account *account = access->account;
	double rate = (double)access->tokens_per_minute;
	if (!account || access->tokens_per_minute == 0)
		return true;
	pthread_mutex_lock(&account->lock);
	unsigned long long spent = tokens_of(account);
	/* Another thread may have looked at the clock later, and been here first. */
	int64_t elapsed_ns = now_ns > account->refilled_ns ? now_ns - account->refilled_ns : 0;
	account->tokens_left += account->refilled_ns ? rate * (double)elapsed_ns / 60e9 : rate;
	if (account->tokens_left > rate)
		account->tokens_left = rate;
	account->refilled_ns += elapsed_ns;
	account->tokens_left -= (double)(spent - account->n_spent);
	account->n_spent = spent;
	double left = account->tokens_left;
	pthread_mutex_unlock(&account->lock);
	if (left > 0)
		return true;
	*retry_after_s = seconds_until(left, rate);
	return error_set(error, ERROR_QUEUE_FULL,
	                 "this key may have %lld tokens a minute, which are spent; try again in %d s",
	                 (long long)access->tokens_per_minute, *retry_after_s);
}
