/* Growing a struct token_ids (text/tokenizer.h). */
#ifndef TALLOW_TEXT_TOKEN_IDS_H
#define TALLOW_TEXT_TOKEN_IDS_H

#include "text/tokenizer.h"

bool token_ids_append(struct token_ids *ids, const int32_t *more, size_t n_more, struct error *error) MUST_USE;

#endif
