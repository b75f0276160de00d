/* Byte buffer: grows by doubling and remembers its first failure. */
#include "base/bytes.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

bool bytes_reserve(struct bytes *bytes, size_t n_bytes)
{
	size_t needed;
	if (bytes->failed || !checked_add(bytes->n_bytes, n_bytes, &needed) || !checked_add(needed, 1, &needed)) {
		bytes->failed = true;
		return false;
	}
	if (bytes->max_bytes && needed - 1 > bytes->max_bytes) {
		bytes->failed = bytes->full = true;
		return false;
	}
	if (needed <= bytes->capacity)
		return true;
	size_t capacity = bytes->capacity < 64 ? 64 : bytes->capacity;
	while (capacity < needed)
		if (!checked_mul(capacity, 2, &capacity))
			capacity = needed;
	char *data = realloc(bytes->data, capacity);
	if (!data) {
		bytes->failed = true;
		return false;
	}
	bytes->data = data;
	bytes->capacity = capacity;
	return true;
}

void bytes_append(struct bytes *bytes, const void *data, size_t n_bytes)
{
	if (!bytes_reserve(bytes, n_bytes))
		return;
	if (n_bytes)
		memcpy(bytes->data + bytes->n_bytes, data, n_bytes);
	bytes->n_bytes += n_bytes;
	bytes->data[bytes->n_bytes] = 0;
}

void bytes_append_text(struct bytes *bytes, const char *text)
{
	bytes_append(bytes, text, strlen(text));
}

void bytes_append_format(struct bytes *bytes, const char *format, ...)
{
	va_list measured, printed;
	va_start(measured, format);
	va_copy(printed, measured);
	int n = vsnprintf(NULL, 0, format, measured);
	va_end(measured);
	if (n < 0)
		bytes->failed = true;
	else if (bytes_reserve(bytes, (size_t)n)) {
		vsnprintf(bytes->data + bytes->n_bytes, (size_t)n + 1, format, printed);
		bytes->n_bytes += (size_t)n;
	}
	va_end(printed);
}

void bytes_clear(struct bytes *bytes)
{
	bytes->n_bytes = 0;
	bytes->failed = bytes->full = false;
	if (bytes->data)
		bytes->data[0] = 0;
}

void bytes_free(struct bytes *bytes)
{
	free(bytes->data);
	*bytes = (struct bytes){.max_bytes = bytes->max_bytes};
}

void bytes_clear_part(struct bytes *part, struct bytes *whole)
{
	whole->failed |= part->failed;
	bytes_clear(part);
}

void bytes_free_part(struct bytes *part, struct bytes *whole)
{
	whole->failed |= part->failed;
	bytes_free(part);
}

void bytes_append_base64(struct bytes *bytes, const unsigned char *data, size_t n_bytes)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	for (size_t i = 0; i < n_bytes; i += 3) {
		size_t n = n_bytes - i < 3 ? n_bytes - i : 3;
		uint32_t bits = (uint32_t)data[i] << 16 | (n > 1 ? (uint32_t)data[i + 1] << 8 : 0) | (n > 2 ? data[i + 2] : 0u);
		char four[4] = {digits[bits >> 18], digits[bits >> 12 & 63], n > 1 ? digits[bits >> 6 & 63] : '=',
		                n > 2 ? digits[bits & 63] : '='};
		bytes_append(bytes, four, sizeof four);
	}
}
