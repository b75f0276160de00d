/* Keys, Host, Origin (auth.h). */
#include "server/http/auth.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/hash.h"
#include "engine/engine.h"

static struct key *keys_copy(const char *const *keys, int n_keys, struct error *error)
{
	if (n_keys < 0 || n_keys > KEYS_MAX) {
		error_set(error, ERROR_USAGE, "%d API keys given; at most %d are supported", n_keys, KEYS_MAX);
		return NULL;
	}
	struct key *copy = calloc((size_t)n_keys + 1, sizeof *copy);
	if (!copy) {
		error_set(error, ERROR_MEMORY, "no memory for %d API keys", n_keys);
		return NULL;
	}
	for (int i = 0; i < n_keys; i++) {
		copy[i].n_bytes = strlen(keys[i]);
		if (copy[i].n_bytes < 1 || copy[i].n_bytes > KEY_MAX_BYTES) {
			error_set(error, ERROR_USAGE, "API key %d has %zu bytes; expected 1 to %d", i + 1, copy[i].n_bytes,
			          KEY_MAX_BYTES);
			free(copy);
			return NULL;
		}
		memcpy(copy[i].text, keys[i], copy[i].n_bytes);
	}
	return copy;
}

bool key_ring_init(struct key_ring *ring, const char *const *keys, int n_keys, struct error *error)
{
	*ring = (struct key_ring){0};
	ring->keys = keys_copy(keys, n_keys, error);
	if (!ring->keys)
		return false;
	ring->n_keys = n_keys;
	pthread_rwlock_init(&ring->lock, NULL);
	return true;
}

void key_ring_free(struct key_ring *ring)
{
	if (!ring->keys)
		return;
	pthread_rwlock_destroy(&ring->lock);
	explicit_bzero(ring->keys, ((size_t)ring->n_keys + 1) * sizeof *ring->keys);
	free(ring->keys);
	ring->keys = NULL;
}

bool key_ring_replace(struct key_ring *ring, const char *const *keys, int n_keys, struct error *error)
{
	struct key *fresh = keys_copy(keys, n_keys, error);
	if (!fresh)
		return false;
	pthread_rwlock_wrlock(&ring->lock);
	struct key *old = ring->keys;
	int n_old = ring->n_keys;
	ring->keys = fresh;
	ring->n_keys = n_keys;
	pthread_rwlock_unlock(&ring->lock);
	explicit_bzero(old, ((size_t)n_old + 1) * sizeof *old);
	free(old);
	return true;
}

struct head_text bearer_token(struct head_text authorization)
{
	static const char scheme[] = "Bearer ";
	size_t n_scheme = sizeof scheme - 1;
	if (!authorization.at || authorization.n_bytes < n_scheme || strncasecmp(authorization.at, scheme, n_scheme) != 0)
		return (struct head_text){0};
	struct head_text token = {authorization.at + n_scheme, authorization.n_bytes - n_scheme};
	while (token.n_bytes > 0 && *token.at == ' ') {
		token.at++;
		token.n_bytes--;
	}
	while (token.n_bytes > 0 && token.at[token.n_bytes - 1] == ' ')
		token.n_bytes--;
	return token;
}

static bool is_readable(struct head_text token)
{
	return token.at && token.n_bytes >= 1 && token.n_bytes <= KEY_MAX_BYTES;
}

bool key_ring_allows(struct key_ring *ring, struct head_text token, uint64_t *owner)
{
	struct key given = {0};
	bool allowed = false, readable = is_readable(token);
	if (readable) {
		memcpy(given.text, token.at, token.n_bytes);
		given.n_bytes = token.n_bytes;
	}
	pthread_rwlock_rdlock(&ring->lock);
	bool open = ring->n_keys == 0;
	/* No early way out: the time taken says nothing about which key was nearly right. */
	for (int i = 0; readable && i < ring->n_keys; i++)
		allowed |= bytes_equal_constant_time(ring->keys[i].text, given.text, KEY_MAX_BYTES) &
		           (ring->keys[i].n_bytes == given.n_bytes);
	pthread_rwlock_unlock(&ring->lock);
	if (owner)
		*owner = open ? 0 : token_identity(token);
	return open || allowed;
}

uint64_t token_identity(struct head_text token)
{
	return is_readable(token) ? hash_bytes(token.at, token.n_bytes) : 0;
}

/* Length of the host in "host", "host:port", "[v6]", "[v6]:port"; 0 when it is none of these. */
static size_t host_length(struct head_text host)
{
	const char *end = memchr(host.at, host.n_bytes > 0 && host.at[0] == '[' ? ']' : ':', host.n_bytes);
	size_t n_bytes = end ? (size_t)(end - host.at) : host.n_bytes;
	if (host.n_bytes > 0 && host.at[0] == '[') {
		if (!end)
			return 0;
		n_bytes++;
	}
	if (n_bytes == host.n_bytes)
		return n_bytes;
	if (host.at[n_bytes] != ':' || host.n_bytes - n_bytes - 1 > 5)
		return 0;
	for (size_t i = n_bytes + 1; i < host.n_bytes; i++)
		if (host.at[i] < '0' || host.at[i] > '9')
			return 0;
	return n_bytes;
}

bool host_is_local(struct head_text host, const char *bound_host)
{
	struct head_text name = {host.at, host_length(host)};
	if (name.n_bytes == 0)
		return false;
	if (head_text_is(name, "localhost") || head_text_is(name, "127.0.0.1") || head_text_is(name, "[::1]"))
		return true;
	if (name.at[0] == '[')
		return name.n_bytes > 2 && head_text_is((struct head_text){name.at + 1, name.n_bytes - 2}, bound_host);
	return head_text_is(name, bound_host);
}

bool origin_is_allowed(struct head_text origin, const char *cors_origin, struct head_text host, bool *cross_site)
{
	*cross_site = false;
	if (host.at && origin.n_bytes == 7 + host.n_bytes && strncasecmp(origin.at, "http://", 7) == 0 &&
	    strncasecmp(origin.at + 7, host.at, host.n_bytes) == 0)
		return true;
	*cross_site = true;
	return cors_origin && (strcmp(cors_origin, "*") == 0 || head_text_is(origin, cors_origin));
}

bool request_id_is_plain(struct head_text text)
{
	if (text.n_bytes < 1 || text.n_bytes > REQUEST_ID_BYTES)
		return false;
	for (size_t i = 0; i < text.n_bytes; i++)
		if (!isalnum((unsigned char)text.at[i]) && !memchr("._:-", text.at[i], 4))
			return false;
	return true;
}
