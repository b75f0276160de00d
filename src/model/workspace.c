#include "model/workspace.h"

#include <stdint.h>

#include "base/checked.h"
#include "model/rope.h"

/* Hands out consecutive pieces of one block; remembers overflow instead of failing at each. */
struct carver {
	unsigned char *base;
	size_t used;
	bool overflow;
};

static void *carve(struct carver *carver, size_t n_items, size_t item_bytes)
{
	size_t n, end;
	if (!checked_mul(n_items, item_bytes, &n) || !checked_add(n, 63, &n) ||
	    !checked_add(carver->used, n / 64 * 64, &end)) {
		carver->overflow = true;
		return NULL;
	}
	void *piece = carver->base ? carver->base + carver->used : NULL;
	carver->used = end;
	return piece;
}

static float *carve_rows(struct carver *carver, int n_rows, int64_t width)
{
	size_t n;
	if (!checked_mul((size_t)n_rows, (size_t)width, &n)) {
		carver->overflow = true;
		return NULL;
	}
	return carve(carver, n, sizeof(float));
}

/* Of all widths that a product reads and all types that a matrix has. */
static size_t widest_input_bytes(const struct model_config *config, const struct model_plan *plan,
                                 const struct kernels *kernels, int n_rows)
{
	const int64_t widths[] = {config->hidden_size, config->n_heads * config->head_dim, config->intermediate_size};
	size_t widest = 0;
	for (int type = 0; type < DTYPE_COUNT; type++)
		for (int i = 0; i < 3 && (plan->weights.types & UINT64_C(1) << type); i++) {
			size_t n = matmul_input_bytes(kernels, (enum dtype)type, n_rows, widths[i]);
			widest = n > widest ? n : widest;
		}
	return widest;
}

size_t workspace_layout(struct workspace *w, void *base, const struct model_config *config,
                        const struct model_plan *plan, const struct kernels *kernels)
{
	struct carver carver = {.base = base};
	int n_rows = plan->max_step_rows;
	int64_t q_width = config->n_heads * config->head_dim;
	int64_t kv_width = config->n_kv_heads * config->head_dim;
	int prepared_rows = n_rows > plan->max_logit_rows ? n_rows : plan->max_logit_rows;

	w->x = carve_rows(&carver, n_rows, config->hidden_size);
	w->normed = carve_rows(&carver, n_rows, config->hidden_size);
	w->q = carve_rows(&carver, n_rows, q_width);
	w->k = carve_rows(&carver, n_rows, kv_width);
	w->v = carve_rows(&carver, n_rows, kv_width);
	w->attended = carve_rows(&carver, n_rows, q_width);
	w->projected = carve_rows(&carver, n_rows, config->hidden_size);
	w->gate = carve_rows(&carver, n_rows, config->intermediate_size);
	w->up = carve_rows(&carver, n_rows, config->intermediate_size);
	w->prepared = carve(&carver, widest_input_bytes(config, plan, kernels, prepared_rows), 1);
	int n_variants = rope_varies(&config->rope) ? plan->n_parallel : 0;
	w->frequencies = carve_rows(&carver, 1 + n_variants, config->rotary_dim / 2);
	w->variants = carve(&carver, (size_t)n_variants, sizeof *w->variants);
	for (int i = 0; i < ROPE_TABLE_COUNT; i++) {
		w->angles[i].cosines = carve_rows(&carver, n_rows, config->rotary_dim / 2);
		w->angles[i].sines = carve_rows(&carver, n_rows, config->rotary_dim / 2);
	}
	w->head_input = carve_rows(&carver, plan->max_logit_rows, config->hidden_size);
	w->logits = carve_rows(&carver, plan->max_logit_rows, config->vocab_size);

	int64_t context_pages = (plan->context + plan->kv.page_tokens - 1) / plan->kv.page_tokens;
	size_t n_page_slots;
	if (!checked_mul((size_t)plan->n_parallel, (size_t)context_pages, &n_page_slots) || n_page_slots > INT32_MAX)
		return 0;
	w->n_page_slots = (int)n_page_slots;
	w->pages = carve(&carver, n_page_slots, sizeof *w->pages);
	w->row_spans = carve(&carver, (size_t)n_rows, sizeof *w->row_spans);
	w->attention = carve(&carver, (size_t)n_rows, sizeof *w->attention);
	return carver.overflow ? 0 : carver.used;
}
