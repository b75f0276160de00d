/* `tallow chat` and `tallow run`: a model, and a conversation with it (cli/chat/chat.h). */
#include "cli/chat/chat.h"
#include "cli/commands.h"
#include "cli/setup.h"

/* One conversation at a time: no connections, and no constraints. */
static bool set_up(const struct options *options, struct model_options *model, struct error *error)
{
	if (!setup_model_options(options, model, error))
		return false;
	model->n_parallel = 1;
	model->constraint_bytes = model->http_bytes = 0;
	return true;
}

bool chat_run(const struct options *options, struct error *error)
{
	struct model_options model;
	return set_up(options, &model, error) && chat_talk(options, &model, error);
}
