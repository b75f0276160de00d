/* The commands of `tallow`, each in its own file. A new one is a run function, a row of the table in cli.c, a bit in
 * options.h and its options in option_table.c. */
#ifndef TALLOW_CLI_COMMANDS_H
#define TALLOW_CLI_COMMANDS_H

#include <stdbool.h>

#include "base/error.h"
#include "cli/options.h"

/* Each prints its result to standard output and returns false with the reason, which cli.c turns into a line and an exit
 * code. */
bool serve_run(const struct options *options, struct error *error) MUST_USE;
bool generate_run(const struct options *options, struct error *error) MUST_USE;
bool inspect_run(const struct options *options, struct error *error) MUST_USE;
bool tokenize_run(const struct options *options, struct error *error) MUST_USE;
bool detokenize_run(const struct options *options, struct error *error) MUST_USE;
bool constrain_run(const struct options *options, struct error *error) MUST_USE;
bool render_run(const struct options *options, struct error *error) MUST_USE;
bool perplexity_run(const struct options *options, struct error *error) MUST_USE;
bool logits_run(const struct options *options, struct error *error) MUST_USE;

#endif
