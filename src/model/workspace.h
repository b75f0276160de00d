/* Step memory: every buffer the forward pass writes, in one allocation laid out from config and plan.
 *
 * The same function measures (base NULL) and carves, so that what the plan says is what is used.
 */
#ifndef TALLOW_MODEL_WORKSPACE_H
#define TALLOW_MODEL_WORKSPACE_H

#include <stdbool.h>
#include <stddef.h>

#include "kernels/kernels.h"
#include "model/layer.h"
#include "model/plan.h"

/* By how much each row is rotated. */
struct angles {
	float *cosines, *sines; /* [rows, rotary_dim / 2] */
};

struct workspace {
	float *x;           /* [rows, hidden] residual stream */
	float *normed;      /* [rows, hidden] */
	float *q;           /* [rows, n_heads * head_dim] */
	float *k, *v;       /* [rows, n_kv_heads * head_dim] */
	float *attended;    /* [rows, n_heads * head_dim] */
	float *projected;   /* [rows, hidden] what o and down give, before it is added to x */
	float *gate, *up;   /* [rows, intermediate] */
	void *prepared;     /* matmul's form of the widest input */
	float *frequencies; /* [1 + variants, rotary_dim / 2] the usual ones, then those of each span that varies */
	int64_t *variants;  /* [n_parallel] which frequencies the latter are; none where rope never varies */
	struct angles angles[ROPE_TABLE_COUNT];
	float *head_input;           /* [logit rows, hidden] */
	float *logits;               /* [logit rows, vocab] */
	const unsigned char **pages; /* [page slots] addresses of the pages of every span */
	int n_page_slots;
	struct row_span *row_spans;      /* [max_step_rows] */
	struct attention_job *attention; /* [max_step_rows] */
};

/* Lays the buffers out from `base` on (aligned to 64, or NULL to measure) and returns the bytes; 0 on overflow. */
size_t workspace_layout(struct workspace *workspace, void *base, const struct model_config *config,
                        const struct model_plan *plan, const struct kernels *kernels);

#endif
