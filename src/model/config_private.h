/* What the two readers of hyperparameters share: which numbers are taken, and how they must fit each other. */
#ifndef TALLOW_MODEL_CONFIG_PRIVATE_H
#define TALLOW_MODEL_CONFIG_PRIVATE_H

#include "base/json.h"
#include "model/config.h"
#include "tensor/gguf.h"

#define CONFIG_COUNT_EXPECTED    "a whole number of at least 1 (and at most 16777216)"
#define CONFIG_POSITIVE_EXPECTED "a number above 0 (1e-30 to 1e30)"

enum { CONFIG_MAX_COUNT = 1 << 24 };

static inline bool config_is_count(int64_t number)
{
	return number >= 1 && number <= CONFIG_MAX_COUNT;
}

/* It is used in single precision, too: there it may become neither 0 nor infinite. */
static inline bool config_is_positive(double number)
{
	return number >= 1e-30 && number <= 1e30;
}

/* What a source calls its fields, for messages. */
struct config_names {
	const char *heads, *kv_heads, *hidden, *head_dim;
};

/* The numbers of a shape against each other; ERROR_MODEL begins with the path. */
bool config_check_shape(const char *path, const struct model_config *config, const struct config_names *names,
                        bool head_dim_given, struct error *error) MUST_USE;

/* Whether a layer is one of those that see no more than `window` positions. */
void config_set_window_layer(struct model_config *config, int64_t layer, bool slides);
static inline bool config_has_window(const struct model_config *config, int64_t layer)
{
	return config->window_layers[layer / 64] >> (layer % 64) & 1;
}

/* What rope_theta may be: frequencies are at most 1 then. */
#define CONFIG_THETA_EXPECTED "a number of at least 1 (and at most 1e30)"
static inline bool config_is_theta(double number)
{
	return number >= 1 && number <= 1e30;
}

/* What frequencies may be divided by: longrope's factors, and a tensor of a GGUF file, where a huge number stands for a
 * dimension that does not turn. With both, and at the last of 2^24 positions, an angle is below 1e20, which single
 * precision holds. */
#define CONFIG_FACTOR_EXPECTED "1e-6 to 1e6"
static inline bool config_is_factor(double number)
{
	return number >= 1e-6 && number <= 1e6;
}
#define CONFIG_DIVISOR_EXPECTED "1e-6 to 1e30"
static inline bool config_is_divisor(double number)
{
	return number >= 1e-6 && number <= 1e30;
}

/* How far positions may be stretched. Beyond any use, and no more: dynamic's formula takes numbers of its size from each
 * other, which leaves nothing of a factor of 1e17. */
#define CONFIG_STRETCH_EXPECTED "1 to 1e6"
static inline bool config_is_stretch(double number)
{
	return number >= 1 && number <= 1e6;
}

/* Values of a config.json or generation_config.json: a value takes a hundred times the memory of its two bytes. Published
 * ones have some hundred. */
extern const struct json_limits config_json_limits;

/* config_read of a GGUF model. */
bool config_read_gguf(const struct gguf_file *gguf, struct model_config *config, struct error *error) MUST_USE;

#endif
