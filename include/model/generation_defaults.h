/* How a model's publisher wants tokens drawn where a request does not say: generation_config.json, or the keys
 * `general.sampling.*` of a GGUF file. Sources: transformers' GenerationConfig; llama.cpp's gguf keys. */
#ifndef TALLOW_MODEL_GENERATION_DEFAULTS_H
#define TALLOW_MODEL_GENERATION_DEFAULTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "tensor/model_files.h"

/* Ranges and neutral values are those of struct sampling (engine/sampler.h). */
struct generation_defaults {
	int64_t top_k;
	double min_p, typical_p, repetition_penalty;
};

/* Changes what the model says something about. False with ERROR_MODEL, and nothing has changed: the file cannot be read, or a
 * value is none that can be honoured, which the message names. */
bool model_generation_defaults(const struct model_files *files, struct generation_defaults *defaults,
                               struct error *error) MUST_USE;

#endif
