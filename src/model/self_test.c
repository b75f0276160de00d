/* Whether a loaded model can answer at all. */
#include <math.h>

#include "base/log.h"
#include "model/timeline.h"
#include "tensor/weight_file.h"

bool model_files_lost(struct error *error)
{
	return mapped_lost(error);
}

bool model_files_changed(struct error *error)
{
	return mapped_changed(error);
}

bool model_files_replaced(char *name, size_t n_bytes)
{
	return mapped_replaced(name, n_bytes);
}

bool model_self_test(struct model *model, struct error *error)
{
	const struct model_config *config = model_config(model);
	int32_t token = config->bos_id >= 0 && config->bos_id < config->vocab_size ? config->bos_id : 0;
	struct timeline *timeline = timeline_create(model, 1, error);
	if (!timeline)
		return false;
	const float *logits = timeline_step(timeline, &token, 1, ROWS_DECODE, 1);
	int64_t n_finite = 0;
	for (int64_t i = 0; i < config->vocab_size; i++)
		n_finite += isfinite(logits[i]) != 0;
	timeline_destroy(timeline);
	if (n_finite == 0)
		return error_set(
		    error, ERROR_MODEL,
		    "the model answers nothing: after token %d no logit is finite. Its files may be damaged; tallow inspect "
		    "--check-weights looks for the tensor",
		    token);
	if (n_finite < config->vocab_size)
		log_message(LOG_WARN, "logits_not_finite", "after token %d %lld of %lld logits are not finite", token,
		            (long long)(config->vocab_size - n_finite), (long long)config->vocab_size);
	return true;
}
