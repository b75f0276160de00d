/* Sizes that memory depends on go through these: false on overflow, *out untouched. */
#ifndef TALLOW_BASE_CHECKED_H
#define TALLOW_BASE_CHECKED_H

#include <stdbool.h>
#include <stddef.h>

static inline bool checked_mul(size_t a, size_t b, size_t *out)
{
	size_t product;
	if (__builtin_mul_overflow(a, b, &product))
		return false;
	*out = product;
	return true;
}

static inline bool checked_add(size_t a, size_t b, size_t *out)
{
	size_t sum;
	if (__builtin_add_overflow(a, b, &sum))
		return false;
	*out = sum;
	return true;
}

/* Rounds up to a multiple of `step` (a power of two or not, > 0). */
static inline size_t round_up(size_t value, size_t step)
{
	return (value + step - 1) / step * step;
}

#endif
