/* The forward pass: one layer loop over the rows of a batch, prefill and decode alike. What a layer does is in its spec
 * (model/layer.h).
 *
 * Rows: decode spans first, one after another, then each prefill span at the next multiple of MATMUL_ROW_PAD (it owns
 * its rows rounded up to that; what padding rows hold does not matter, they never meet another row).
 */
#include <assert.h>
#include <string.h>

#include "base/checked.h"
#include "kernels/convert.h"
#include "model/model_private.h"
#include "model/rope.h"

/* One forward in progress. */
struct step {
	struct model *model;
	struct forward_span *spans;
	int n_spans;
	int n_rows;      /* padding included */
	int n_row_spans; /* of spans that are not cancelled, in workspace.row_spans */
};

/* ---- rows ---- */

static void place_spans(struct step *step)
{
	int row = 0, n_page_slots = 0;
	for (int i = 0; i < step->n_spans; i++) {
		struct forward_span *span = &step->spans[i];
		assert(span->n_rows > 0 && span->logits >= 0 && span->logits <= span->n_rows);
		assert(span->phase == ROWS_DECODE || span->position % step->model->plan.tile_rows == 0);
		assert(i == 0 || span->phase == ROWS_PREFILL || span[-1].phase == ROWS_DECODE);
		span->cancelled = false;
		span->logit_row = -1;
		if (span->phase == ROWS_PREFILL)
			row = (int)round_up((size_t)row, MATMUL_ROW_PAD);
		step->model->first_rows[i] = row;
		row += span->n_rows;

		step->model->first_pages[i] = n_page_slots;
		int64_t page_tokens = step->model->plan.kv.page_tokens;
		int n_pages = (int)((span->position + span->n_rows + page_tokens - 1) / page_tokens);
		assert(n_pages <= span->n_pages && n_page_slots + n_pages <= step->model->work.n_page_slots);
		for (int j = 0; j < n_pages; j++)
			step->model->work.pages[n_page_slots++] = kv_page_data(step->model->kv, span->pages[j]);
	}
	if (step->n_spans && step->spans[step->n_spans - 1].phase == ROWS_PREFILL)
		row = (int)round_up((size_t)row, MATMUL_ROW_PAD);
	step->n_rows = row;
	assert(step->n_rows <= step->model->plan.max_step_rows);
}

/* Frequencies of the spans whose sequences are rotated otherwise than usual. Spans keep their places from step to step, so
 * most find their frequencies there. */
static void place_frequencies(struct step *step)
{
	struct workspace *work = &step->model->work;
	const struct model_config *config = &step->model->config;
	for (int i = 0; i < step->n_spans; i++) {
		int64_t variant = step->spans[i].rope_variant;
		assert(variant == 0 || (rope_varies(&config->rope) && i < step->model->plan.n_parallel));
		if (variant == 0 || work->variants[i] == variant)
			continue;
		rope_frequencies(&config->rope, config->rotary_dim, variant, step->model->weights.rope_divisors,
		                 work->frequencies + (1 + i) * (config->rotary_dim / 2));
		work->variants[i] = variant;
	}
}

/* The rows that still matter, for matmul: neighbouring decode rows in one span. */
static void collect_row_spans(struct step *step)
{
	struct row_span *rows = step->model->work.row_spans;
	int n = 0;
	for (int i = 0; i < step->n_spans; i++) {
		const struct forward_span *span = &step->spans[i];
		int first = step->model->first_rows[i];
		if (span->cancelled)
			continue;
		if (span->phase == ROWS_DECODE && n && rows[n - 1].phase == ROWS_DECODE &&
		    rows[n - 1].first + rows[n - 1].n_rows == first)
			rows[n - 1].n_rows += span->n_rows;
		else
			rows[n++] = (struct row_span){.first = first, .n_rows = span->n_rows, .phase = span->phase};
	}
	step->n_row_spans = n;
}

/* Looks at the cancel flags; false when nothing is left to compute. */
static bool still_wanted(struct step *step)
{
	bool changed = false;
	for (int i = 0; i < step->n_spans; i++) {
		struct forward_span *span = &step->spans[i];
		if (!span->cancelled && span->cancel && atomic_load_explicit(span->cancel, memory_order_relaxed)) {
			span->cancelled = true;
			changed = true;
		}
	}
	if (changed)
		collect_row_spans(step);
	return step->n_row_spans > 0;
}

/* ---- work on single rows, shared out over the pool ---- */

typedef void row_function(struct step *step, const void *argument, int row);

struct row_work {
	struct step *step;
	row_function *function;
	const void *argument;
	int rows_per_task;
};

static void run_rows_task(void *context, int task, int worker)
{
	(void)worker;
	const struct row_work *work = context;
	int first = task * work->rows_per_task;
	int end = first + work->rows_per_task;
	const struct row_span *spans = work->step->model->work.row_spans;
	for (int i = 0; i < work->step->n_row_spans; i++) {
		int from = spans[i].first > first ? spans[i].first : first;
		int to = spans[i].first + spans[i].n_rows < end ? spans[i].first + spans[i].n_rows : end;
		for (int row = from; row < to; row++)
			work->function(work->step, work->argument, row);
	}
}

/* Calls function for every row that matters. A few rows are not worth waking the pool for. */
static void for_rows(struct step *step, row_function *function, const void *argument)
{
	enum { ROWS_PER_TASK = 8 };
	struct row_work work = {.step = step, .function = function, .argument = argument, .rows_per_task = ROWS_PER_TASK};
	int n_tasks = (step->n_rows + ROWS_PER_TASK - 1) / ROWS_PER_TASK;
	if (n_tasks <= 1)
		run_rows_task(&work, 0, 0);
	else
		pool_run(step->model->pool, n_tasks, run_rows_task, &work);
}

static void embed_row(struct step *step, const void *argument, int row)
{
	(void)argument;
	struct model *model = step->model;
	int64_t hidden = model->config.hidden_size;
	const struct weight *embedding = &model->weights.embedding;
	for (int i = step->n_spans - 1; i >= 0; i--) {
		int first = model->first_rows[i];
		if (row < first)
			continue;
		int32_t token = step->spans[i].tokens[row - first];
		assert(token >= 0 && token < model->config.vocab_size);
		weight_widen(model->kernels, embedding, token, 1, model->work.x + (int64_t)row * hidden);
		int64_t half = model->config.rotary_dim / 2;
		int table = step->spans[i].rope_variant ? 1 + i : 0;
		const struct angles *angles = &model->work.angles[ROPE_TABLE_MAIN];
		rope_angles(&model->config.rope, model->work.frequencies + table * half, half,
		            step->spans[i].position + (row - first), angles->cosines + row * half, angles->sines + row * half);
		return;
	}
}

static void norm_row(struct step *step, const void *norm_weight, int row)
{
	struct model *model = step->model;
	int64_t hidden = model->config.hidden_size;
	model->kernels->rms_norm(model->work.normed + row * hidden, model->work.x + row * hidden, norm_weight, hidden,
	                         (float)model->config.rms_norm_eps);
}

static void add_projected_row(struct step *step, const void *argument, int row)
{
	(void)argument;
	struct model *model = step->model;
	int64_t hidden = model->config.hidden_size;
	model->kernels->add(model->work.x + row * hidden, model->work.projected + row * hidden, hidden);
}

static void activate_row(struct step *step, const void *argument, int row)
{
	const struct layer *layer = argument;
	struct model *model = step->model;
	int64_t width = model->config.intermediate_size;
	float *gate = model->work.gate + row * width;
	switch (layer->spec.activation) {
	case ACTIVATION_SILU:
		model->kernels->swiglu(gate, gate, model->work.up + row * width, width);
		break;
	}
}

/* A head whose pairs are neighbours, so that the first of each come before the second ones. */
static void part_pairs(float *head, int64_t head_dim)
{
	enum { MOST_PAIRS = 2048 }; /* config_check_shape */
	float pairs[2 * MOST_PAIRS];
	int64_t half = head_dim / 2;
	memcpy(pairs, head, (size_t)head_dim * sizeof *head);
	for (int64_t i = 0; i < half; i++) {
		head[i] = pairs[2 * i];
		head[half + i] = pairs[2 * i + 1];
	}
}

/* Normalises (where the layer does) and rotates one head of queries or keys. */
static void rotate_head(const struct model *model, const struct layer *layer, float *head, enum layer_vector norm_place,
                        int row)
{
	const struct model_config *config = &model->config;
	const struct angles *angles = &model->work.angles[layer->spec.rope_table];
	const float *norm = layer->vector[norm_place];
	int64_t half = config->rotary_dim / 2;
	if (config->paired_rows)
		part_pairs(head, config->head_dim);
	if (norm)
		model->kernels->rms_norm(head, head, norm, config->head_dim, (float)config->rms_norm_eps);
	model->kernels->rope(head, angles->cosines + row * half, angles->sines + row * half, config->rotary_dim);
}

/* Keys (or values) of one head, number `index` of those that begin at `keys`. */
static void store_head(const struct model *model, enum dtype type, unsigned char *keys, int64_t index, float *head)
{
	const struct dtype_info *info = dtype_info(type);
	int64_t head_dim = model->config.head_dim;
	size_t head_bytes = (size_t)(head_dim / info->block_elements) * (size_t)info->block_bytes;
	kv_saturate(type, head, head_dim);
	model->kernels->narrow(keys + (size_t)index * head_bytes, type, head, head_dim);
}

/* Rotates queries and keys of a row and stores its keys and values in its page. */
static void rotate_and_store_row(struct step *step, const void *argument, int row)
{
	const struct layer *layer = argument;
	struct model *model = step->model;
	int layer_index = (int)(layer - model->weights.layers);
	const struct model_config *config = &model->config;
	const struct kv_shape *shape = &model->plan.kv;
	int64_t head_dim = config->head_dim;
	int i = step->n_spans - 1;
	while (row < model->first_rows[i])
		i--;
	int64_t position = step->spans[i].position + (row - model->first_rows[i]);
	unsigned char *page = kv_page_data(model->kv, step->spans[i].pages[position / shape->page_tokens]);
	int64_t slot = position % shape->page_tokens;
	for (int64_t h = 0; h < config->n_heads; h++)
		rotate_head(model, layer, model->work.q + (row * config->n_heads + h) * head_dim, V_NORM_Q, row);
	for (int64_t h = 0; h < config->n_kv_heads; h++) {
		float *k = model->work.k + (row * config->n_kv_heads + h) * head_dim;
		float *v = model->work.v + (row * config->n_kv_heads + h) * head_dim;
		int64_t index = h * shape->page_tokens + slot;
		rotate_head(model, layer, k, V_NORM_K, row);
		store_head(model, shape->k_type, page + kv_k_offset(shape, layer_index), index, k);
		store_head(model, shape->v_type, page + kv_v_offset(shape, layer_index), index, v);
	}
}

/* ---- products ---- */

/* Measured: where rounding inputs to 8 bits costs answers the most for what keeping more of them takes. Queries, keys
 * and values are a tenth of the products and 0.4 of the divergence, the last layer a quarter of it. */
static enum matmul_care care_of(const struct step *step, const struct layer *layer, bool attention)
{
	const struct model *model = step->model;
	const bool last = layer == &model->weights.layers[model->config.n_layers - 1];
	return attention || last ? CARE_MORE : CARE_USUAL;
}

/* outputs[i] = x times weights[i] for a group that shares x [n_rows, n_in]; weights of one type are one product. */
static void multiply(struct step *step, enum matmul_care care, const float *x, const struct weight *const *weights,
                     const float *const *biases, float *const *outputs, int n_weights)
{
	struct model *model = step->model;
	for (int first = 0, end; first < n_weights; first = end) {
		for (end = first + 1; end < n_weights && weights[end]->type == weights[first]->type; end++)
			;
		struct matmul_input input = {
		    .spans = model->work.row_spans,
		    .n_spans = step->n_row_spans,
		    .n_rows = step->n_rows,
		    .n_in = weights[first]->n_in,
		    .x = x,
		    .type = weights[first]->type,
		    .care = care,
		    .prepared = model->work.prepared,
		};
		matmul_input_prepare(model->kernels, model->pool, &input);
		matmul_run(model->kernels, model->pool, &input, weights + first, biases + first, outputs + first, end - first);
	}
}

static void attend(struct step *step, const struct layer *layer)
{
	struct model *model = step->model;
	int layer_index = (int)(layer - model->weights.layers);
	const struct kv_shape *shape = &model->plan.kv;
	int64_t q_width = model->config.n_heads * model->config.head_dim;
	struct attention_job *jobs = model->work.attention;
	int n_jobs = 0;
	for (int i = 0; i < step->n_spans; i++) {
		const struct forward_span *span = &step->spans[i];
		if (span->cancelled)
			continue;
		jobs[n_jobs++] = (struct attention_job){
		    .q = model->work.q + model->first_rows[i] * q_width,
		    .out = model->work.attended + model->first_rows[i] * q_width,
		    .n_rows = span->n_rows,
		    .position = span->position,
		    .window = layer->spec.window,
		    .n_heads = (int)model->config.n_heads,
		    .scale = layer->spec.attention_scale,
		    .kv = {.pages = model->work.pages + model->first_pages[i],
		           .k_offset = kv_k_offset(shape, layer_index),
		           .v_offset = kv_v_offset(shape, layer_index),
		           .k_type = shape->k_type,
		           .v_type = shape->v_type,
		           .page_tokens = shape->page_tokens,
		           .n_kv_heads = shape->n_kv_heads,
		           .head_dim = shape->head_dim},
		};
	}
	attention_run(model->kernels, model->pool, jobs, n_jobs);
}

/* ---- layers ---- */

static bool attention_block(struct step *step, const struct layer *layer)
{
	struct workspace *work = &step->model->work;
	const struct weight *matrix = layer->matrix;
	const float *const *vector = layer->vector;

	for_rows(step, norm_row, vector[V_NORM_BEFORE_ATTENTION]);
	multiply(step, care_of(step, layer, true), work->normed,
	         (const struct weight *[]){&matrix[M_Q], &matrix[M_K], &matrix[M_V]},
	         (const float *[]){vector[V_BIAS_Q], vector[V_BIAS_K], vector[V_BIAS_V]},
	         (float *[]){work->q, work->k, work->v}, 3);
	for_rows(step, rotate_and_store_row, layer);
	if (!still_wanted(step))
		return false;
	attend(step, layer);
	if (!still_wanted(step))
		return false;
	multiply(step, care_of(step, layer, false), work->attended, (const struct weight *[]){&matrix[M_O]},
	         (const float *[]){vector[V_BIAS_O]}, (float *[]){work->projected}, 1);
	for_rows(step, add_projected_row, NULL);
	return still_wanted(step);
}

static bool mlp_block(struct step *step, const struct layer *layer)
{
	struct workspace *work = &step->model->work;
	const struct weight *matrix = layer->matrix;
	const float *const *vector = layer->vector;

	for_rows(step, norm_row, vector[V_NORM_BEFORE_MLP]);
	multiply(step, care_of(step, layer, false), work->normed, (const struct weight *[]){&matrix[M_GATE], &matrix[M_UP]},
	         (const float *[]){vector[V_BIAS_GATE], vector[V_BIAS_UP]}, (float *[]){work->gate, work->up}, 2);
	if (!still_wanted(step))
		return false;
	for_rows(step, activate_row, layer);
	multiply(step, care_of(step, layer, false), work->gate, (const struct weight *[]){&matrix[M_DOWN]},
	         (const float *[]){vector[V_BIAS_DOWN]}, (float *[]){work->projected}, 1);
	for_rows(step, add_projected_row, NULL);
	return still_wanted(step);
}

/* Row `row` of the batch becomes row `to` of the head's input. */
static void take_head_row(struct model *model, int row, int to)
{
	int64_t hidden = model->config.hidden_size;
	model->kernels->rms_norm(model->work.head_input + to * hidden, model->work.x + row * hidden,
	                         model->weights.final_norm, hidden, (float)model->config.rms_norm_eps);
}

/* The head always runs on row kernels: a sequence's logits are the same whether its last token was prefilled or decoded
 * beside others. */
static void run_head(struct model *model, int n_rows)
{
	struct row_span rows = {.first = 0, .n_rows = n_rows, .phase = ROWS_DECODE};
	struct matmul_input input = {
	    .spans = &rows,
	    .n_spans = 1,
	    .n_rows = n_rows,
	    .n_in = model->config.hidden_size,
	    .x = model->work.head_input,
	    .type = model->weights.head.type,
	    .care = CARE_ALWAYS, /* its errors are the logits' errors */
	    .prepared = model->work.prepared,
	};
	matmul_input_prepare(model->kernels, model->pool, &input);
	matmul_run(model->kernels, model->pool, &input, (const struct weight *[]){&model->weights.head}, NULL,
	           (float *[]){model->work.logits}, 1);
}

/* Final norm and head for the rows whose logits are wanted. */
static void compute_logits(struct step *step)
{
	struct model *model = step->model;
	int n_wanted = 0;
	for (int i = 0; i < step->n_spans; i++) {
		struct forward_span *span = &step->spans[i];
		if (span->cancelled || span->logits == LOGITS_NONE)
			continue;
		int n = span->logits;
		int first = model->first_rows[i] + span->n_rows - n;
		assert(n_wanted + n <= model->plan.max_logit_rows);
		span->logit_row = n_wanted;
		for (int r = 0; r < n; r++)
			take_head_row(model, first + r, n_wanted++);
	}
	if (n_wanted > 0)
		run_head(model, n_wanted);
}

void model_compute_logits(struct model *model, const struct forward_span *spans, int span, int first, int n_rows)
{
	assert(!spans[span].cancelled && first >= 0 && n_rows > 0 && first + n_rows <= spans[span].n_rows);
	assert(n_rows <= model->plan.max_logit_rows);
	for (int r = 0; r < n_rows; r++)
		take_head_row(model, model->first_rows[span] + first + r, r);
	run_head(model, n_rows);
}

/* The last norm of every row, where somebody wants those of its span. */
static void compute_hidden(struct step *step)
{
	bool wanted = false;
	for (int i = 0; i < step->n_spans; i++) {
		struct forward_span *span = &step->spans[i];
		span->hidden_row = step->model->first_rows[i];
		wanted |= span->hidden && !span->cancelled;
	}
	if (wanted)
		for_rows(step, norm_row, step->model->weights.final_norm);
}

void model_forward(struct model *model, struct forward_span *spans, int n_spans)
{
	assert(n_spans <= model->plan.max_step_rows);
	struct step step = {.model = model, .spans = spans, .n_spans = n_spans};
	place_spans(&step);
	place_frequencies(&step);
	collect_row_spans(&step);
	if (!still_wanted(&step))
		return;
	for_rows(&step, embed_row, NULL);
	for (int64_t i = 0; i < model->config.n_layers; i++)
		if (!attention_block(&step, &model->weights.layers[i]) || !mlp_block(&step, &model->weights.layers[i]))
			return;
	compute_hidden(&step);
	compute_logits(&step);
}

const float *model_hidden(const struct model *model, int row)
{
	assert(row >= 0 && row < model->plan.max_step_rows);
	return model->work.normed + row * model->config.hidden_size;
}

float *model_logits(struct model *model, int row)
{
	assert(row >= 0 && row < model->plan.max_logit_rows);
	return model->work.logits + row * model->config.vocab_size;
}
