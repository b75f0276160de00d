/* The memory plan: every byte that serving a model takes, computed from config and options before anything is loaded.
 *
 * It is the only source of sizes: model_open allocates what the plan says, `tallow inspect` prints it, /health and
 * /metrics compare with it.
 *
 *     struct weight_choices sizes;
 *     struct model_plan plan;
 *     model_weight_choices(&weights, &config, &options, &sizes, &error) &&
 *         model_plan(&config, &options, &sizes, &plan, &error)
 */
#ifndef TALLOW_MODEL_PLAN_H
#define TALLOW_MODEL_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "kernels/kernels.h"
#include "model/config.h"
#include "model/kv.h"
#include "model/weights.h"

/* What is asked for; `tallow --help` tells the same of its options. */
struct model_options {
	const char *path;                /* what model_files_open takes; not read when there are files */
	const struct model_files *files; /* of this path, open until model_close; NULL: model_open opens the path */
	enum isa isa;
	enum compute compute;
	int n_threads;            /* 0 = what the machine gives */
	int64_t context;          /* tokens per request; 0 = the model's, as far as the limit allows, at least 4096 of it */
	int n_parallel;           /* sequences that may run together; 0 = chosen from memory and threads */
	bool kv_auto;             /* true: f32 for f32 weights, else f16 */
	enum dtype kv_type;       /* when not kv_auto */
	bool weights_auto;        /* true: matrices stay as they lie in the file */
	enum dtype weights_type;  /* what they become, when not weights_auto */
	uint64_t kv_memory_bytes; /* 0 = what the limit leaves, at most n_parallel full contexts */
	uint64_t memory_limit_bytes;     /* 0 = no bound */
	const char *memory_limit_source; /* what sets it, static, for who prints the plan; may be NULL */
	uint64_t tokenizer_bytes;
	uint64_t vocabulary_bytes; /* tokens as constraints look at them */
	uint64_t constraint_bytes; /* the most that constraints take, compiling included; 0 where none are asked for */
	uint64_t http_bytes;       /* connections; 0 where nothing is served */
	int max_logit_rows;        /* rows of logits that one step may ask for; 0 = n_parallel */
	const char *sha256;        /* what the model must be, as manifest_check takes it; NULL: anything */
	const char *version;       /* of the program: the fingerprint has it; may be NULL */
};

enum plan_kind { PLAN_MAPPED, PLAN_ALLOCATED };

struct plan_line {
	const char *name; /* "weights (mapped)", "KV pages", ... */
	enum plan_kind kind;
	uint64_t n_bytes;
};

enum { PLAN_MAX_LINES = 16 };

/* What the matrices are to become. */
struct weights_wanted {
	bool as_stored;  /* as the file has them, in the layout that products want */
	enum dtype type; /* else this */
	bool tiles;      /* those of bf16 in tiles (DTYPE_BF16T) */
};
/* As the options say. */
struct weights_wanted model_wanted(const struct model_options *options, bool tiles);
/* The type that this matrix of `weights` gets, which may be its own: the embedding always keeps its own. */
enum dtype plan_weight_target(const struct model_weights *weights, const struct weight *matrix,
                              const struct weights_wanted *wanted);

/* What loading makes of the matrices. */
struct weight_sizes {
	uint64_t mapped_bytes;    /* read where they lie in the file */
	uint64_t converted_bytes; /* made at load */
	uint64_t product_bytes;   /* of all matrices, as products read them; that of the head is head_bytes */
	uint64_t head_bytes;
	uint64_t types;  /* every type that a product meets, as bits 1 << type */
	enum dtype type; /* of most elements, as products meet them */
	enum dtype kind; /* of most bytes, as they were loaded: what repacking does not change */
};
/* How much is mapped and how much made. ERROR_MEMORY when that is more bytes than can be counted. */
bool plan_weight_sizes(const struct model_weights *weights, const struct model_config *config,
                       const struct weights_wanted *wanted, struct weight_sizes *sizes, struct error *error) MUST_USE;

/* Sizes of a model's weights with those of bf16 as rows and as tiles: model_plan takes tiles where they are faster and
 * leave as much memory for keys and values as rows do, or enough for n_parallel requests of 4096 tokens. The results
 * are the same bits. ERROR_MEMORY as above. */
struct weight_choices {
	struct weight_sizes rows, tiles;
};
bool model_weight_choices(const struct model_weights *weights, const struct model_config *config,
                          const struct model_options *options, struct weight_choices *choices,
                          struct error *error) MUST_USE;

/* Why the context is as long as it is. */
enum context_chosen { CONTEXT_AS_ASKED, CONTEXT_OF_MODEL, CONTEXT_OF_MEMORY };

struct model_plan {
	bool tiles; /* bf16 weights are made into tiles */
	struct plan_line lines[PLAN_MAX_LINES];
	int n_lines;
	uint64_t total_bytes;
	uint64_t limit_bytes; /* 0 = none */
	const char *limit_source;

	/* What the options resolved to. */
	int n_threads;
	int n_parallel;
	int64_t context;
	enum context_chosen context_chosen;
	struct kv_shape kv;
	size_t kv_page_bytes;
	int n_kv_pages;
	int max_step_rows;    /* rows of one forward, padding included */
	int max_prefill_rows; /* rows of prefill in one step: a multiple of the tile */
	struct weight_sizes weights;
	int tile_rows; /* slices and cache hits start at multiples of it */
	int max_logit_rows;
	size_t workspace_bytes;
};

/* Resolves the options and adds up. ERROR_MEMORY when the total passes the limit (the message has the lines, as many as
 * fit into it) or cannot be counted; `plan` is filled as far as it came, so that the caller can print it. ERROR_USAGE when
 * options contradict the model (context beyond max_positions, ...) or this CPU. */
bool model_plan(const struct model_config *config, const struct model_options *options,
                const struct weight_choices *weights, struct model_plan *plan, struct error *error) MUST_USE;

#endif
