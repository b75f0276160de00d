/* The fields of config.json that say how positions are rotated -> struct rope_config. */
#ifndef TALLOW_MODEL_CONFIG_ROPE_H
#define TALLOW_MODEL_CONFIG_ROPE_H

#include "model/config.h"
#include "model/config_fields.h"
#include "model/family.h"

/* Fills config->rope and config->rotary_dim; head_dim and max_positions are known. What is wrong is in `fields`. */
void config_read_rope(struct fields *fields, const struct family *family, struct model_config *config);

#endif
