/* What may be drawn: each filter leaves a shorter list of candidates (sampler_private.h). */
#include <math.h>

#include "engine/sampler_private.h"

/* Most likely first; equal ones by id, so that the order is total and the result the same everywhere. */
static int by_likelihood(const struct candidate *a, const struct candidate *b)
{
	if (a->logit != b->logit)
		return a->logit > b->logit ? -1 : 1;
	return a->token < b->token ? -1 : a->token > b->token;
}

/* Parts [low, high] in two (Hoare): [low, *left] are more likely than [*right, high], and the one that may lie between is in
 * its place. */
static void part(struct candidate *candidates, int64_t low, int64_t high, int64_t *left, int64_t *right)
{
	struct candidate pivot = candidates[low + (high - low) / 2];
	int64_t i = low, j = high;
	while (i <= j) {
		while (by_likelihood(&candidates[i], &pivot) < 0)
			i++;
		while (by_likelihood(&candidates[j], &pivot) > 0)
			j--;
		if (i <= j) {
			struct candidate swapped = candidates[i];
			candidates[i++] = candidates[j];
			candidates[j--] = swapped;
		}
	}
	*left = j;
	*right = i;
}

void select_most_likely(struct candidate *candidates, int64_t n, int64_t k)
{
	int64_t low = 0, high = n - 1, left, right;
	while (low < high) {
		part(candidates, low, high, &left, &right);
		if (k - 1 <= left)
			high = left;
		else if (k - 1 >= right)
			low = right;
		else
			return;
	}
}

/* qsort would allocate. The shorter part goes first, so few ranges wait: fewer than n has bits. */
void sort_by_likelihood(struct candidate *candidates, int64_t n)
{
	struct {
		int64_t low, high;
	} waiting[64];
	int n_waiting = 0;
	int64_t low = 0, high = n - 1, left, right;
	for (;;) {
		while (low < high) {
			part(candidates, low, high, &left, &right);
			bool left_is_longer = left - low > high - right;
			waiting[n_waiting].low = left_is_longer ? low : right;
			waiting[n_waiting++].high = left_is_longer ? left : high;
			low = left_is_longer ? right : low;
			high = left_is_longer ? high : left;
		}
		if (n_waiting == 0)
			return;
		low = waiting[--n_waiting].low;
		high = waiting[n_waiting].high;
	}
}

int64_t keep_nucleus(struct candidate *candidates, int64_t n, double top_p)
{
	double total = 0;
	for (int64_t i = 0; i < n; i++)
		total += candidates[i].weight;
	/* The tokens below this weight hold less than 1 - top_p together, so none of them can be needed. */
	double cutoff = n > 1 ? (1.0 - top_p) * total / (double)n : 0;
	int64_t n_kept = 0;
	for (int64_t i = 0; i < n; i++)
		if (candidates[i].weight >= cutoff)
			candidates[n_kept++] = candidates[i];
	sort_by_likelihood(candidates, n_kept);
	double reached = 0;
	for (int64_t i = 0; i < n_kept; i++) {
		reached += candidates[i].weight;
		if (reached >= top_p * total)
			return i + 1;
	}
	return n_kept;
}

int64_t keep_min_p(struct candidate *candidates, int64_t n, double min_p)
{
	double most = 0;
	for (int64_t i = 0; i < n; i++)
		most = candidates[i].weight > most ? candidates[i].weight : most;
	int64_t n_kept = 0;
	for (int64_t i = 0; i < n; i++)
		if (candidates[i].weight >= min_p * most)
			candidates[n_kept++] = candidates[i];
	return n_kept;
}

static double sum_of_weights(const struct candidate *candidates, int64_t n)
{
	double total = 0;
	for (int64_t i = 0; i < n; i++)
		total += candidates[i].weight;
	return total;
}

int64_t keep_top_n_sigma(struct candidate *candidates, int64_t n, double n_sigma)
{
	double sum = 0, squares = 0;
	float most = candidates[0].logit;
	for (int64_t i = 0; i < n; i++) {
		sum += (double)candidates[i].logit;
		most = candidates[i].logit > most ? candidates[i].logit : most;
	}
	double mean = sum / (double)n;
	for (int64_t i = 0; i < n; i++)
		squares += ((double)candidates[i].logit - mean) * ((double)candidates[i].logit - mean);
	double least = (double)most - n_sigma * sqrt(squares / (double)n);
	int64_t n_kept = 0;
	for (int64_t i = 0; i < n; i++)
		if ((double)candidates[i].logit >= least)
			candidates[n_kept++] = candidates[i];
	return n_kept;
}

/* How far a candidate's surprisal is from the entropy, times the temperature; `centre` is what its logit would be at the
 * entropy itself. */
static double untypicality(const struct candidate *candidate, double centre)
{
	return fabs((double)candidate->logit - centre);
}

/* Parts [low, high] as part() does, by untypicality. */
static void part_typical(struct candidate *candidates, int64_t low, int64_t high, double centre, int64_t *left,
                         int64_t *right)
{
	double pivot = untypicality(&candidates[low + (high - low) / 2], centre);
	int64_t i = low, j = high;
	while (i <= j) {
		while (untypicality(&candidates[i], centre) < pivot)
			i++;
		while (untypicality(&candidates[j], centre) > pivot)
			j--;
		if (i <= j) {
			struct candidate swapped = candidates[i];
			candidates[i++] = candidates[j];
			candidates[j--] = swapped;
		}
	}
	*left = j;
	*right = i;
}

int64_t keep_typical(struct candidate *candidates, int64_t n, double typical_p)
{
	double total = 0, weighted = 0;
	float most = candidates[0].logit;
	for (int64_t i = 1; i < n; i++)
		most = candidates[i].logit > most ? candidates[i].logit : most;
	for (int64_t i = 0; i < n; i++) {
		total += candidates[i].weight;
		weighted += candidates[i].weight * ((double)candidates[i].logit - (double)most); /* finite: weight may be 0 */
	}
	/* The surprisal is log(total) - (logit - most) / temperature, the entropy the mean of that. */
	double centre = (double)most + weighted / total;

	/* What is sought is where the mass, most typical first, reaches typical_p: only the part that it lies in is parted on. */
	int64_t low = 0, high = n - 1, left, right;
	double before = 0;
	while (low < high) {
		part_typical(candidates, low, high, centre, &left, &right);
		double of_left = sum_of_weights(candidates + low, left - low + 1);
		double between = sum_of_weights(candidates + left + 1, right - left - 1);
		if (before + of_left >= typical_p * total) {
			high = left;
		} else if (right > high || before + of_left + between >= typical_p * total) {
			low = high = right - 1;
		} else {
			before += of_left + between;
			low = right;
		}
	}
	double most_untypical = untypicality(&candidates[low], centre);
	int64_t n_kept = 0;
	for (int64_t i = 0; i < n; i++)
		if (untypicality(&candidates[i], centre) <= most_untypical)
			candidates[n_kept++] = candidates[i];
	return n_kept;
}

int64_t drop_top_choices(struct candidate *candidates, int64_t n, double threshold)
{
	double least_weight = threshold * sum_of_weights(candidates, n);
	int64_t least = -1, n_above = 0;
	for (int64_t i = 0; i < n; i++) {
		if (candidates[i].weight < least_weight)
			continue;
		n_above++;
		if (least < 0 || by_likelihood(&candidates[i], &candidates[least]) > 0)
			least = i;
	}
	if (n_above < 2)
		return n;
	int64_t n_kept = 0;
	for (int64_t i = 0; i < n; i++)
		if (candidates[i].weight < least_weight || i == least)
			candidates[n_kept++] = candidates[i];
	return n_kept;
}

int64_t keep_unsurprising(struct candidate *candidates, int64_t n, double most_bits)
{
	double least_weight = exp2(-most_bits) * sum_of_weights(candidates, n), most = 0;
	for (int64_t i = 0; i < n; i++)
		most = candidates[i].weight > most ? candidates[i].weight : most;
	least_weight = least_weight < most ? least_weight : most;
	int64_t n_kept = 0;
	for (int64_t i = 0; i < n; i++)
		if (candidates[i].weight >= least_weight)
			candidates[n_kept++] = candidates[i];
	return n_kept;
}
