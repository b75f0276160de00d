/* Hashing: SipHash-2-4 (Aumasson & Bernstein, 2012) with a per-process random key for tables that see untrusted keys,
 * SplitMix64 mixing for counters, constant-time comparison for secrets. */
#ifndef TALLOW_BASE_HASH_H
#define TALLOW_BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Keyed with a process-wide random key drawn at first use; thread-safe. */
uint64_t hash_bytes(const void *data, size_t n_bytes);
/* The same under a given key. Big-endian machines get other values: not for files or the wire. */
uint64_t hash_keyed(const uint64_t key[2], const void *data, size_t n_bytes);
/* SplitMix64 finaliser (Steele et al., 2014): a bijection on 64 bits. */
uint64_t hash_mix(uint64_t value);
/* True when equal; time depends on n_bytes only. */
bool bytes_equal_constant_time(const void *a, const void *b, size_t n_bytes);
/* n_bytes of the kernel's randomness; false only when the kernel has none. */
bool random_bytes(void *out, size_t n_bytes);

#endif
