/* The growable list of ids that encoding fills. */
#include "text/token_ids.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

bool token_ids_append(struct token_ids *ids, const int32_t *more, size_t n_more, struct error *error)
{
	if (n_more == 0)
		return true;
	if (ids->capacity - ids->n_ids < n_more) {
		size_t capacity, n_bytes;
		int32_t *grown = NULL;
		if (checked_add(ids->capacity, n_more, &capacity) && checked_mul(capacity, 2, &capacity) &&
		    checked_mul(capacity, sizeof *grown, &n_bytes))
			grown = realloc(ids->ids, n_bytes);
		if (!grown)
			return error_set(error, ERROR_MEMORY, "not enough memory for %zu token ids", ids->n_ids + n_more);
		ids->ids = grown;
		ids->capacity = capacity;
	}
	memcpy(ids->ids + ids->n_ids, more, n_more * sizeof *more);
	ids->n_ids += n_more;
	return true;
}

void token_ids_free(struct token_ids *ids)
{
	free(ids->ids);
	*ids = (struct token_ids){0};
}
