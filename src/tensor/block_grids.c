/* Unpacks the grids: 31 KB. */
#include "tensor/block_grids.h"

#include <assert.h>
#include <pthread.h>
#include <stddef.h>

static struct block_grids grids;
static pthread_once_t grids_once = PTHREAD_ONCE_INIT;

/* points[n_points][n_values]; n_levels^n_values bits. */
static void unpack(const uint64_t *bits, const int8_t *levels, unsigned n_levels, int8_t *points, size_t n_points,
                   unsigned n_values)
{
	size_t n_numbers = 1, n = 0;
	for (unsigned i = 0; i < n_values; i++)
		n_numbers *= n_levels;
	for (size_t number = 0; number < n_numbers; number++) {
		if (!(bits[number / 64] >> (number % 64) & 1))
			continue;
		assert(n < n_points);
		size_t rest = number;
		for (unsigned i = 0; i < n_values; i++, rest /= n_levels)
			points[n * n_values + i] = levels[rest % n_levels];
		n++;
	}
	assert(n == n_points);
}

static void unpack_all(void)
{
	static const int8_t iq1[3] = {-1, 0, 1}, iq2[3] = {8, 25, 43}, iq3_xxs[8] = {4, 12, 20, 28, 36, 44, 52, 62},
	                    iq3_s[8] = {1, 3, 5, 7, 9, 11, 13, 15};
	unpack(grid_bits_iq1, iq1, 3, grids.iq1[0], 2048, 8);
	unpack(grid_bits_iq2_xxs, iq2, 3, grids.iq2_xxs[0], 256, 8);
	unpack(grid_bits_iq2_xs, iq2, 3, grids.iq2_xs[0], 512, 8);
	unpack(grid_bits_iq2_s, iq2, 3, grids.iq2_s[0], 1024, 8);
	unpack(grid_bits_iq3_xxs, iq3_xxs, 8, grids.iq3_xxs[0], 256, 4);
	unpack(grid_bits_iq3_s, iq3_s, 8, grids.iq3_s[0], 512, 4);
}

const struct block_grids *block_grids(void)
{
	pthread_once(&grids_once, unpack_all);
	return &grids;
}
