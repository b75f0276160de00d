/* What model.c owns and forward.c works on. */
#ifndef TALLOW_MODEL_MODEL_PRIVATE_H
#define TALLOW_MODEL_MODEL_PRIVATE_H

#include "model/model.h"
#include "model/workspace.h"

struct model {
	struct model_config config;
	struct model_plan plan;
	struct model_files *own_files; /* NULL where they are the caller's */
	struct weight_file *file;
	struct model_weights weights; /* borrow from file and from converted */
	unsigned char *converted;     /* weights made at load, plan.weights.converted_bytes; NULL when there are none */
	struct kernels *kernels;
	struct pool *pool;
	struct kv_pool *kv;
	bool pinned;          /* and so `digest` is known */
	struct digest digest; /* of the model's files */
	char fingerprint[32];
	void *workspace_memory;
	struct workspace work; /* pieces of workspace_memory */
	int *first_rows;       /* [max_step_rows] per span of the running step: its first row */
	int *first_pages;      /* [max_step_rows] ... its first slot in work.pages */
};

/* Fills the fingerprint in (fingerprint.c); once the weights are in memory, of which it reads a little. */
bool model_make_fingerprint(struct model *model, const struct model_options *options, struct error *error) MUST_USE;

#endif
