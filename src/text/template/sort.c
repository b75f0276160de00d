/* A stable sort by keys, as Python's sorted: what cannot be ordered is an error, and reversed order keeps equal items in
 * theirs. */
#include <string.h>

#include "text/template/calls.h"

struct keyed {
	struct value key, item;
};

/* Whether b belongs before a. */
static bool before(struct render *r, const struct keyed *a, const struct keyed *b, bool reverse, bool *out)
{
	return reverse ? value_less(r, &a->key, &b->key, "<", out) : value_less(r, &b->key, &a->key, "<", out);
}

/* Merges the sorted runs [0, middle) and [middle, n) of `from`. */
static bool merge(struct render *r, const struct keyed *from, size_t middle, size_t n, bool reverse, struct keyed *to)
{
	size_t left = 0, right = middle;
	for (size_t i = 0; i < n; i++) {
		bool take_right = left == middle;
		if (left < middle && right < n && !before(r, &from[left], &from[right], reverse, &take_right))
			return false;
		to[i] = take_right ? from[right++] : from[left++];
	}
	return render_step(r, n);
}

bool sort_items(struct render *r, struct list *items, const struct value *keys, bool reverse)
{
	size_t n = items->n_items;
	struct keyed *from = render_array(r, n + 1, sizeof *from), *to = render_array(r, n + 1, sizeof *to);
	if (!from || !to)
		return false;
	for (size_t i = 0; i < n; i++)
		from[i] = (struct keyed){keys[i], items->items[i]};
	for (size_t width = 1; width < n; width *= 2) {
		for (size_t start = 0; start < n; start += 2 * width) {
			size_t rest = n - start, middle = width < rest ? width : rest, whole = 2 * width < rest ? 2 * width : rest;
			if (!merge(r, from + start, middle, whole, reverse, to + start))
				return false;
		}
		struct keyed *swap = from;
		from = to;
		to = swap;
	}
	for (size_t i = 0; i < n; i++)
		items->items[i] = from[i].item;
	return true;
}
