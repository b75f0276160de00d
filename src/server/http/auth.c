/* Keys, Host, Origin (auth.h). */
#include "server/auth.h"

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
	struct key *copy = calloc((size_t)n_keys + 1, sizeof(*copy));
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
	explicit_bzero(ring->keys, ((size_t)ring->n_keys + 1) * sizeof(*ring->keys));
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
	explicit_bzero(old, ((size_t)n_old + 1) * sizeof(*old));
	free(old);
	return true;
}

/* The token of "Bearer <token>", zero-padded; false when the header has another form. */
static bool bearer_token(const char *authorization, struct key *token)
{
	if (!authorization || strncasecmp(authorization, "Bearer ", 7) != 0)
		return false;
	const char *start = authorization + 7;
	while (*start == ' ')
		start++;
	token->n_bytes = strlen(start);
	while (token->n_bytes > 0 && start[token->n_bytes - 1] == ' ')
		token->n_bytes--;
	if (token->n_bytes < 1 || token->n_bytes > KEY_MAX_BYTES)
		return false;
	memcpy(token->text, start, token->n_bytes);
	return true;
}

bool key_ring_allows(struct key_ring *ring, const char *authorization)
{
	struct key token = {0};
	bool readable = bearer_token(authorization, &token);
	bool allowed = false;
	pthread_rwlock_rdlock(&ring->lock);
	if (ring->n_keys == 0)
		allowed = true;
	else if (readable)
		/* No early way out: the time taken says nothing about which key was nearly right. */
		for (int i = 0; i < ring->n_keys; i++)
			allowed |= bytes_equal_constant_time(ring->keys[i].text, token.text, KEY_MAX_BYTES) &
			           (ring->keys[i].n_bytes == token.n_bytes);
	pthread_rwlock_unlock(&ring->lock);
	return allowed;
}

uint64_t authorization_identity(const char *authorization)
{
	struct key token = {0};
	return bearer_token(authorization, &token) ? hash_bytes(token.text, token.n_bytes) : 0;
}

/* Length of the host in "host", "host:port", "[v6]", "[v6]:port"; 0 when it is none of these. */
static size_t host_length(const char *host)
{
	size_t n_bytes;
	if (host[0] == '[') {
		const char *end = strchr(host, ']');
		if (!end)
			return 0;
		n_bytes = (size_t)(end - host) + 1;
	} else {
		n_bytes = strcspn(host, ":");
	}
	if (host[n_bytes] == '\0')
		return n_bytes;
	if (host[n_bytes] != ':')
		return 0;
	const char *port = host + n_bytes + 1;
	size_t n_digits = strspn(port, "0123456789");
	return n_digits <= 5 && port[n_digits] == '\0' ? n_bytes : 0;
}

static bool text_is(const char *text, size_t n_bytes, const char *wanted)
{
	return strlen(wanted) == n_bytes && strncasecmp(text, wanted, n_bytes) == 0;
}

bool host_is_local(const char *host, const char *bound_host)
{
	size_t n_bytes = host_length(host);
	if (n_bytes == 0)
		return false;
	if (text_is(host, n_bytes, "localhost") || text_is(host, n_bytes, "127.0.0.1") || text_is(host, n_bytes, "[::1]"))
		return true;
	if (host[0] == '[')
		return n_bytes > 2 && text_is(host + 1, n_bytes - 2, bound_host);
	return text_is(host, n_bytes, bound_host);
}

bool origin_is_allowed(const char *origin, const char *cors_origin, const char *host, bool *cross_site)
{
	*cross_site = false;
	if (host && strncasecmp(origin, "http://", 7) == 0 && strcasecmp(origin + 7, host) == 0)
		return true;
	*cross_site = true;
	return cors_origin && (strcmp(cors_origin, "*") == 0 || strcasecmp(cors_origin, origin) == 0);
}

bool request_id_is_plain(const char *text)
{
	size_t n_bytes = strlen(text);
	if (n_bytes < 1 || n_bytes > REQUEST_ID_BYTES)
		return false;
	for (size_t i = 0; i < n_bytes; i++)
		if (!isalnum((unsigned char)text[i]) && !strchr("._:-", text[i]))
			return false;
	return true;
}
