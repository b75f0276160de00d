/* How a model makes one vector of a text, as its publisher says: 1_Pooling/config.json of sentence-transformers, or the key
 * `<architecture>.pooling_type` of a GGUF file. Sources: sentence_transformers/models/Pooling.py; gguf-py's PoolingType. */
#ifndef TALLOW_MODEL_POOLING_H
#define TALLOW_MODEL_POOLING_H

#include "base/error.h"
#include "tensor/model_files.h"

/* "none", "mean", "cls" or "last" (static); "" when the model says nothing. NULL with ERROR_MODEL: the file cannot be read,
 * or wants what is not there (max, weighted mean, several at once, rank), which the message names. */
const char *model_pooling(const struct model_files *files, struct error *error) MUST_USE;

#endif
