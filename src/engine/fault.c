/* What makes a loaded engine unfit: weights that were lost or written to under it, or a model whose answers all fail. */
#include "base/log.h"
#include "engine/engine_private.h"

/* One such answer may be the prompt's doing; so many in a row are the model's. */
enum { MANY_FAULTS = 3 };

void engine_count_fault(struct engine *engine, bool faulty)
{
	engine->n_faults = faulty ? engine->n_faults + 1 : 0;
	if (engine->fault_is_final)
		return;
	if (engine->n_faults < MANY_FAULTS)
		engine->fault.code = ERROR_NONE;
	else
		error_set(&engine->fault, ERROR_MODEL_FAULT, "the last %d answers failed: the model gave no finite logits",
		          engine->n_faults);
}

void engine_check_files(struct engine *engine)
{
	struct error fault = {0};
	char name[256];
	while (model_files_replaced(name, sizeof name))
		log_message(
		    LOG_WARN, "weights_replaced",
		    "%s was replaced or removed: what was mapped is served on, and a new start takes what is there then", name);
	if (!model_files_changed(&fault))
		return;
	pthread_mutex_lock(&engine->mutex);
	bool known = engine->fault_is_final;
	if (!known) {
		engine->fault = fault;
		engine->fault_is_final = true;
	}
	pthread_cond_signal(&engine->work);
	pthread_mutex_unlock(&engine->mutex);
	if (!known)
		log_message(LOG_ERROR, "weights_changed", "%s", fault.message);
}
