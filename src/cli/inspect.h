/* What `tallow inspect` found, between looking (inspect.c) and printing (inspect_print.c). */
#ifndef TALLOW_CLI_INSPECT_H
#define TALLOW_CLI_INSPECT_H

#include "base/error.h"
#include "model/config.h"
#include "model/plan.h"
#include "model/weights.h"
#include "tensor/manifest.h"
#include "tensor/weight_file.h"
#include "text/tokenizer.h"

/* Unchecked: it is there and could be read, but what belongs in it is not known. */
enum part_state { PART_ABSENT, PART_UNDERSTOOD, PART_UNCHECKED, PART_REFUSED };

struct part {
	enum part_state state;
	struct error error; /* when refused */
};

enum { INSPECT_MAX_TYPES = 32 };

struct inspection {
	const char *path;
	struct part config_part, tokenizer, weights, memory;
	struct model_config config; /* when understood */
	struct tokenizer *loaded_tokenizer;
	size_t n_tensors;
	uint64_t file_bytes;
	struct {
		char name[16];
		size_t n_tensors;
		uint64_t n_bytes;
	} types[INSPECT_MAX_TYPES]; /* of the file's tensors, in the order in which they are met */
	int n_types;
	struct weight_choices sizes; /* from the file, else from what the config says */
	struct model_plan plan;      /* also when the memory does not suffice */
	char threads_reason[128];    /* why it has so many */
};

/* What --manifest tells. */
struct inspected_manifest {
	struct weight_file *weights;
	struct manifest files;
	struct digest *tensors; /* in order of weight_file_at */
};

void inspection_print_manifest(const struct inspected_manifest *found);
void inspection_print_manifest_json(const struct inspected_manifest *found);
void inspection_print(const struct inspection *found);
void inspection_print_json(const struct inspection *found);

#endif
