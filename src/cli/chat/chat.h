/* A conversation at a terminal or through a pipe: what `tallow chat` and `tallow run` open. */
#ifndef TALLOW_CLI_CHAT_CHAT_H
#define TALLOW_CLI_CHAT_CHAT_H

#include "base/error.h"
#include "cli/options.h"

struct model_options;

/* Loads the model and talks until the input ends. At a terminal what goes wrong in a turn is told there, and the conversation
 * goes on; through a pipe it ends it, with the reason. Before any thread is started. */
bool chat_talk(const struct options *options, const struct model_options *model, struct error *error) MUST_USE;

#endif
