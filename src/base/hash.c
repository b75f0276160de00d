/* SipHash-2-4 under a key of this process, SplitMix64, comparison of secrets, randomness. */
#include "base/hash.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/random.h>

#include "base/platform.h"

static pthread_once_t key_once = PTHREAD_ONCE_INIT;
static uint64_t process_key[2];

static void draw_key(void)
{
	if (random_bytes(process_key, sizeof process_key))
		return;
	/* No randomness to be had: weaker, but still not the same in every process. */
	process_key[0] = hash_mix((uint64_t)clock_ns());
	process_key[1] = hash_mix((uint64_t)clock_unix_ms() ^ (uint64_t)(uintptr_t)&key_once);
}

static uint64_t rotate(uint64_t value, int bits)
{
	return value << bits | value >> (64 - bits);
}

static void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[2] += v[3];
	v[1] = rotate(v[1], 13) ^ v[0];
	v[3] = rotate(v[3], 16) ^ v[2];
	v[0] = rotate(v[0], 32);
	v[2] += v[1];
	v[0] += v[3];
	v[1] = rotate(v[1], 17) ^ v[2];
	v[3] = rotate(v[3], 21) ^ v[0];
	v[2] = rotate(v[2], 32);
}

uint64_t hash_bytes(const void *data, size_t n_bytes)
{
	pthread_once(&key_once, draw_key);
	return hash_keyed(process_key, data, n_bytes);
}

uint64_t hash_keyed(const uint64_t key[2], const void *data, size_t n_bytes)
{
	uint64_t v[4] = {key[0] ^ 0x736f6d6570736575u, key[1] ^ 0x646f72616e646f6du, key[0] ^ 0x6c7967656e657261u,
	                 key[1] ^ 0x7465646279746573u};
	const unsigned char *at = data;
	size_t left = n_bytes;
	uint64_t word;
	for (; left >= 8; at += 8, left -= 8) {
		memcpy(&word, at, 8);
		v[3] ^= word;
		sip_round(v);
		sip_round(v);
		v[0] ^= word;
	}
	word = (uint64_t)n_bytes << 56;
	for (size_t i = 0; i < left; i++)
		word |= (uint64_t)at[i] << (8 * i);
	v[3] ^= word;
	sip_round(v);
	sip_round(v);
	v[0] ^= word;
	v[2] ^= 0xff;
	for (int i = 0; i < 4; i++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

uint64_t hash_mix(uint64_t value)
{
	value += 0x9e3779b97f4a7c15u;
	value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
	value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
	return value ^ (value >> 31);
}

bool bytes_equal_constant_time(const void *a, const void *b, size_t n_bytes)
{
	const volatile unsigned char *left = a, *right = b;
	unsigned char difference = 0;
	for (size_t i = 0; i < n_bytes; i++)
		difference |= left[i] ^ right[i];
	return difference == 0;
}

bool random_bytes(void *out, size_t n_bytes)
{
	unsigned char *at = out;
	while (n_bytes) {
		ssize_t n = getrandom(at, n_bytes, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		at += n;
		n_bytes -= (size_t)n;
	}
	return true;
}
