/* struct tokenizer, for the files of this layer that decode with it. */
#ifndef TALLOW_TEXT_TOKENIZER_PRIVATE_H
#define TALLOW_TEXT_TOKENIZER_PRIVATE_H

#include "text/description.h"
#include "text/tokenizer.h"

struct tokenizer {
	struct tokenizer_description parts; /* merges and added are NULL: they live in the compiled tables */
	struct bpe bpe;
	struct added_tokens added;
	uint8_t *special; /* [n_ids] */
	size_t n_ids;     /* highest id + 1 */
	int32_t bos_id, eos_id;
};

#endif
