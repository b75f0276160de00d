/* What statements.c takes of eval.c. */
#ifndef TALLOW_TEXT_TEMPLATE_EVALUATION_H
#define TALLOW_TEXT_TEMPLATE_EVALUATION_H

#include "text/template/render.h"

/* A call with one keyword more, `caller`. */
bool eval_call_block(struct render *r, const struct node *call, const struct value *caller, struct value *out);
/* A filter whose innermost input is a block's text. */
bool eval_filter(struct render *r, const struct node *filter, const struct value *block, struct value *out);

#endif
