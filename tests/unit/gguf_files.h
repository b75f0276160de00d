/* GGUF files made by tests, field by field, so that every field can lie. */
#ifndef TALLOW_TESTS_GGUF_FILES_H
#define TALLOW_TESTS_GGUF_FILES_H

#include <stdint.h>
#include <string.h>

#include "base/bytes.h"
#include "tensor/gguf.h"

static inline void put_u32(struct bytes *out, uint32_t value)
{
	bytes_append(out, &value, sizeof value);
}

static inline void put_u64(struct bytes *out, uint64_t value)
{
	bytes_append(out, &value, sizeof value);
}

static inline void put_string(struct bytes *out, const char *text)
{
	put_u64(out, strlen(text));
	bytes_append_text(out, text);
}

static inline void put_header(struct bytes *out, uint64_t n_tensors, uint64_t n_values)
{
	bytes_append_text(out, "GGUF");
	put_u32(out, 3);
	put_u64(out, n_tensors);
	put_u64(out, n_values);
}

static inline void put_key(struct bytes *out, const char *key, uint32_t type)
{
	put_string(out, key);
	put_u32(out, type);
}

static inline void put_key_u32(struct bytes *out, const char *key, uint32_t value)
{
	put_key(out, key, GGUF_U32);
	put_u32(out, value);
}

static inline void put_key_u16(struct bytes *out, const char *key, uint16_t value)
{
	put_key(out, key, GGUF_U16);
	bytes_append(out, &value, sizeof value);
}

static inline void put_key_string(struct bytes *out, const char *key, const char *value)
{
	put_key(out, key, GGUF_STRING);
	put_string(out, value);
}

static inline void put_key_bool(struct bytes *out, const char *key, unsigned char value)
{
	put_key(out, key, GGUF_BOOL);
	bytes_append(out, &value, 1);
}

/* Then the items. */
static inline void put_key_array(struct bytes *out, const char *key, uint32_t type, uint64_t n_items)
{
	put_key(out, key, GGUF_ARRAY);
	put_u32(out, type);
	put_u64(out, n_items);
}

/* The head of a part of a split set that holds nothing else. */
static inline void put_part_of_set(struct bytes *out, uint16_t number, uint16_t count)
{
	put_header(out, 0, 2);
	put_key_u16(out, "split.no", number);
	put_key_u16(out, "split.count", count);
}

/* One dimension. */
static inline void put_tensor(struct bytes *out, const char *name, uint64_t n_values, uint32_t type, uint64_t offset)
{
	put_string(out, name);
	put_u32(out, 1);
	put_u64(out, n_values);
	put_u32(out, type);
	put_u64(out, offset);
}

static inline void put_zeros(struct bytes *out, size_t n_bytes)
{
	static const unsigned char zeros[64];
	for (; n_bytes; n_bytes -= n_bytes < 64 ? n_bytes : 64)
		bytes_append(out, zeros, n_bytes < 64 ? n_bytes : 64);
}

/* Padding, then data of n_bytes. */
static inline void put_data(struct bytes *out, size_t n_bytes)
{
	put_zeros(out, (32 - out->n_bytes % 32) % 32 + n_bytes);
}

#endif
