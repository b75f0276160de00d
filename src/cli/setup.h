/* What every command does first, and how options become the model layer's. */
#ifndef TALLOW_CLI_SETUP_H
#define TALLOW_CLI_SETUP_H

#include "base/bytes.h"
#include "base/error.h"
#include "cli/options.h"
#include "model/plan.h"

/* Log, CPU mask, SIGPIPE. Before any thread starts. ERROR_USAGE for a CPU list that is none. */
bool setup_process(const struct options *options, bool serves, struct error *error) MUST_USE;
bool setup_logs_are_json(const struct options *options);

/* ERROR_USAGE when --model is missing. Fills in the machine's memory limit. */
bool setup_model_options(const struct options *options, struct model_options *out, struct error *error) MUST_USE;

/* What a choice of --weights means. */
void setup_weights(int choice, struct model_options *out);
/* The same for one conversation at a time: no connections, and no constraints. */
bool setup_talk_options(const struct options *options, struct model_options *out, struct error *error) MUST_USE;
/* What a choice of --weights means. */
void setup_weights(int choice, struct model_options *out);

/* Reads all of standard input; ERROR_USAGE beyond max_bytes. Caller frees. */
bool setup_read_input(struct bytes *out, size_t max_bytes, struct error *error) MUST_USE;
/* Token ids written as "1,403 407" or "[1, 403]". Caller frees; the error names what is no id. */
struct token_ids;
bool setup_parse_ids(const char *text, struct token_ids *ids, struct error *error) MUST_USE;

#endif
