#include "base/digest.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

#include "base/bytes.h"
#include <string.h>

/* GnuTLS's handle is a pointer to what we do not see; ours is the same pointer under a name of its own. */
static gnutls_hash_hd_t handle_of(struct digest_state *state)
{
	return (gnutls_hash_hd_t)(void *)state;
}

static bool is_made(int failure, struct error *error)
{
	return failure == 0 || error_set(error, ERROR_MEMORY, "cannot make a SHA-256 digest: %s", gnutls_strerror(failure));
}

struct digest_state *digest_begin(struct error *error)
{
	gnutls_hash_hd_t handle;
	if (!is_made(gnutls_hash_init(&handle, GNUTLS_DIG_SHA256), error))
		return NULL;
	return (struct digest_state *)(void *)handle;
}

void digest_add(struct digest_state *state, const void *data, size_t n_bytes)
{
	gnutls_hash(handle_of(state), data, n_bytes); /* fails for no valid handle */
}

void digest_end(struct digest_state *state, struct digest *out)
{
	gnutls_hash_deinit(handle_of(state), out->bytes);
}

bool digest_of(const void *data, size_t n_bytes, struct digest *out, struct error *error)
{
	/* At once: a handle that cannot be made for want of memory leaves some of it behind (GnuTLS 3.7.9). */
	return is_made(gnutls_hash_fast(GNUTLS_DIG_SHA256, data, n_bytes, out->bytes), error);
}

void digest_write(const struct digest *digest, char out[DIGEST_HEX_BYTES])
{
	static const char digits[] = "0123456789abcdef";
	for (int i = 0; i < DIGEST_BYTES; i++) {
		out[2 * i] = digits[digest->bytes[i] >> 4];
		out[2 * i + 1] = digits[digest->bytes[i] & 15];
	}
	out[2 * DIGEST_BYTES] = 0;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool digest_read(const char *text, struct digest *out)
{
	for (int i = 0; i < DIGEST_BYTES; i++) {
		int high = hex_value(text[2 * i]), low = high < 0 ? -1 : hex_value(text[2 * i + 1]);
		if (high < 0 || low < 0)
			return false;
		out->bytes[i] = (unsigned char)(high << 4 | low);
	}
	return text[2 * DIGEST_BYTES] == 0;
}

void digest_library_version(struct bytes *out)
{
	bytes_append_format(out, "GnuTLS %s", gnutls_check_version(NULL));
}
