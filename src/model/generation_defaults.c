#include "model/generation_defaults.h"

#include <math.h>

#include "base/json.h"
#include "model/config_private.h"
#include "tensor/gguf.h"

enum { MAX_CONFIG_BYTES = 1 << 20, MAX_TOP_K = INT32_MAX };

/* A number as read; NAN where the model says nothing. */
struct stated {
	double top_k, min_p, typical_p, repetition_penalty;
};

static bool read_gguf(const struct gguf_file *gguf, struct stated *stated, struct error *error)
{
	uint64_t top_k = UINT64_MAX;
	if (!gguf_f64(gguf, "general.sampling.min_p", &stated->min_p, error) ||
	    !gguf_f64(gguf, "general.sampling.penalty_repeat", &stated->repetition_penalty, error) ||
	    (gguf_find(gguf, "general.sampling.top_k") && !gguf_u64(gguf, "general.sampling.top_k", &top_k, error)))
		return false;
	if (top_k != UINT64_MAX)
		stated->top_k = (double)top_k;
	return true;
}

static bool read_number(const struct json *config, const char *path, const char *name, double *out, struct error *error)
{
	const struct json *value = json_get(config, name);
	if (!value || json_type(value) == JSON_NULL || json_double(value, out))
		return true;
	return error_set(error, ERROR_MODEL, "%s: %s must be a number (got %s)", path, name,
	                 json_type_name(json_type(value)));
}

static bool read_json(const char *path, struct stated *stated, struct error *error)
{
	struct json *config = json_parse_file(path, MAX_CONFIG_BYTES, &config_json_limits, error);
	bool ok = config && read_number(config, path, "top_k", &stated->top_k, error) &&
	          read_number(config, path, "min_p", &stated->min_p, error) &&
	          read_number(config, path, "typical_p", &stated->typical_p, error) &&
	          read_number(config, path, "repetition_penalty", &stated->repetition_penalty, error);
	json_destroy(config);
	return ok;
}

static bool is_within(const char *path, const char *name, double value, double least, double most, struct error *error)
{
	if (isnan(value) || (value >= least && value <= most))
		return true;
	return error_set(error, ERROR_MODEL, "%s: %s must be from %g to %g (got %g)", path, name, least, most, value);
}

bool model_generation_defaults(const struct model_files *files, struct generation_defaults *defaults,
                               struct error *error)
{
	const double least = 1e-6; /* of what must be above zero */
	const struct gguf_file *gguf = model_files_gguf(files);
	const char *path = gguf ? gguf_path(gguf) : model_files_find(files, MODEL_GENERATION_CONFIG);
	struct stated stated = {NAN, NAN, NAN, NAN};
	if (!path)
		return true;
	if (gguf ? !read_gguf(gguf, &stated, error) : !read_json(path, &stated, error))
		return false;
	if (!is_within(path, "top_k", stated.top_k, 0, MAX_TOP_K, error) ||
	    !is_within(path, "min_p", stated.min_p, 0, 1, error) ||
	    !is_within(path, "typical_p", stated.typical_p, least, 1, error) ||
	    !is_within(path, "repetition_penalty", stated.repetition_penalty, least, 2, error))
		return false;
	if (!isnan(stated.top_k))
		defaults->top_k = (int64_t)stated.top_k;
	if (!isnan(stated.min_p))
		defaults->min_p = stated.min_p;
	if (!isnan(stated.typical_p))
		defaults->typical_p = stated.typical_p;
	if (!isnan(stated.repetition_penalty))
		defaults->repetition_penalty = stated.repetition_penalty;
	return true;
}
