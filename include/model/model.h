/* A loaded model: config, bound weights, KV pool, workspaces, and the forward pass.
 *
 *     struct model *model = model_open(&options, progress, context, &error);
 *     struct forward_span span = {.tokens = ids, .n_rows = n, .phase = ROWS_PREFILL, .pages = pages, .n_pages = n_pages,
 *                                 .logits = LOGITS_LAST};
 *     model_forward(model, &span, 1);
 *     const float *logits = model_logits(model, span.logit_row);
 *     model_close(model);
 *
 * One layer loop serves prefill and decode: a batch is spans, each a run of consecutive positions of one sequence
 * (timeline.h keeps pages and positions of one). A sequence's logits are a function of its tokens alone
 * (kernels/matmul.h, "same bits"), and of the rope variant where the model has several. One thread owns a model.
 */
#ifndef TALLOW_MODEL_MODEL_H
#define TALLOW_MODEL_MODEL_H

#include <stdatomic.h>

#include "base/digest.h"
#include "model/config.h"
#include "model/kv.h"
#include "model/plan.h"
#include "model/weights.h"
#include "tensor/model_files.h"

enum load_stage { LOAD_CONFIG, LOAD_MAP, LOAD_BIND, LOAD_CHECK, LOAD_TOUCH, LOAD_CONVERT, LOAD_ALLOCATE, LOAD_DONE };
const char *load_stage_name(enum load_stage stage); /* "config", "map", ... */

/* Called from the loading thread (and only there), with bytes of the weight files; returning false stops the load with
 * ERROR_CANCELLED. */
typedef bool load_progress(void *context, enum load_stage stage, uint64_t bytes_done, uint64_t bytes_total);

struct model;

/* Reads, plans and allocates everything. ERROR_MODEL: the files are not those of a model we know; ERROR_MEMORY: it does not
 * fit; ERROR_USAGE: options that contradict it or this CPU; ERROR_CANCELLED. progress may be NULL. Caller closes. */
struct model *model_open(const struct model_options *options, load_progress *progress, void *context,
                         struct error *error) MUST_USE;
/* NULL is harmless. */
void model_close(struct model *model);

/* Parts of the model, valid until it is closed. Config and plan never change: any thread may read them. */
const struct model_config *model_config(const struct model *model);
const struct model_plan *model_memory_plan(const struct model *model);
struct kv_pool *model_kv(struct model *model);
const struct kernels *model_kernels(const struct model *model);
/* The type of most elements of the matrices, as products meet them. */
enum dtype model_weight_type(const struct model *model);
/* "BF16", "Q4_K": the type of most bytes, as they were loaded. A constant. */
const char *model_quant_kind(const struct model *model);
/* The model's SHA-256 (tensor/manifest.h) where the options demanded one, else NULL. */
const struct digest *model_digest(const struct model *model);
/* What answers depend on, in a few characters: "fp_" and 16 hex digits of the model, '_', and 8 of how it is computed (types,
 * kernels, version). The first are those of model_digest where there is one; else of the names, types and shapes of the
 * tensors, some bytes of each, and the sizes of the files: next to nothing is read for it. */
const char *model_fingerprint(const struct model *model);
/* True when weights of this process that lie in files have been lost (at once, without asking the file system), or lost or
 * written to: *error says of which file (tensor/weight_file.h). */
bool model_files_lost(struct error *error);
bool model_files_changed(struct error *error);
/* Each file that was replaced by another of its name, or removed, once: its name. What is mapped stays what it was. */
bool model_files_replaced(char *name, size_t n_bytes);
/* Computes one token. ERROR_MODEL when none of its logits is finite: such a model answers nothing. ERROR_MEMORY. */
bool model_self_test(struct model *model, struct error *error) MUST_USE;
/* How many threads work from the next step on: 1 to the plan's, whatever is asked. */
void model_set_threads(struct model *model, int n_threads);

/* How positions are rotated in a sequence that will have at most n_tokens, prompt and output together: 0, or other
 * frequencies where the model's rope scaling depends on the length (dynamic, longrope). Keys and values in pages are good
 * for one variant only; all spans of a sequence have the same. May be called from any thread. */
int64_t model_rope_variant(const struct model *model, int64_t n_tokens);

enum { LOGITS_NONE = 0, LOGITS_LAST = 1 };

struct forward_span {
	const int32_t *tokens; /* [n_rows], each in [0, vocab) */
	int n_rows;
	/* Prefill spans start at a multiple of plan.tile_rows. A decode span starts anywhere; each of its rows has the bits
	 * that it has as the only row of a step. */
	enum row_phase phase;
	int64_t position;     /* of tokens[0] */
	int64_t rope_variant; /* model_rope_variant of the sequence; where it can vary, n_parallel spans at most */
	const int32_t *pages; /* page table that covers position + n_rows; pages written are not shared */
	int n_pages;
	int logits;                /* of so many of its last rows: LOGITS_NONE, LOGITS_LAST, up to n_rows */
	const atomic_bool *cancel; /* looked at between matrices; NULL = never cancelled */
	bool hidden;               /* hidden states of all rows are wanted, too */
	/* results */
	int hidden_row; /* of the first row of hidden states, where wanted and not cancelled */
	int logit_row;  /* of the first row of logits, -1 when none were wanted or the span was cancelled */
	bool cancelled; /* stopped part-way: its pages from `position` on hold nothing of use */
};

/* Computes keys, values and the wanted logits of all spans, each of another sequence, of at most plan.n_parallel of them:
 * decode spans first, at most plan.max_step_rows rows (where prefill spans begin, and at the end, rounded up to
 * MATMUL_ROW_PAD) and plan.max_logit_rows rows of logits. Results are in the spans. Cannot fail: everything it needs is
 * allocated. */
void model_forward(struct model *model, struct forward_span *spans, int n_spans);
/* Logits of further rows of the last forward, in place of those there are: [first, first + n_rows) of its span number
 * `span`, which was not cancelled, as rows 0.. of model_logits; at most plan.max_logit_rows. The bits are those that the
 * forward itself would have given. */
void model_compute_logits(struct model *model, const struct forward_span *spans, int span, int first, int n_rows);
/* Row `row` of the logits that the last forward computed, [vocab]; further rows follow it. Valid until the next forward. */
float *model_logits(struct model *model, int row);
/* Row `row` of the hidden states, behind the last norm, [hidden]; further rows follow it. Likewise. */
const float *model_hidden(const struct model *model, int row);

#endif
