/* The commands of `tallow`, each in its own file. A new one is a run function, a row of the table in commands.c, a bit in
 * options.h and its options in option_table.c. */
#ifndef TALLOW_CLI_COMMANDS_H
#define TALLOW_CLI_COMMANDS_H

#include <stdbool.h>

#include "base/error.h"
#include "cli/options.h"

#define CLI_WHAT_IT_IS "a CPU inference worker for Llama, Mistral, Qwen and Phi-3 models"
#define CLI_EXIT_CODES                                                                                                 \
	"0 ended as asked, 1 refused by the chat template or the constraint, or not healthy, 2 usage, 3 model "            \
	"cannot be loaded, 4 not enough memory, 5 cannot bind, 6 callback never accepted, 70 internal error."

struct command {
	const char *name;
	enum command_set bit;
	const char *usage;
	const char *summary;
	bool (*run)(const struct options *options, struct error *error);
};

extern const struct command commands[];
extern const int n_commands;

/* Each prints its result to standard output and returns false with the reason, which cli.c turns into a line and an exit
 * code. */
bool serve_run(const struct options *options, struct error *error) MUST_USE;
bool run_run(const struct options *options, struct error *error) MUST_USE;
bool list_run(const struct options *options, struct error *error) MUST_USE;
bool chat_run(const struct options *options, struct error *error) MUST_USE;
bool generate_run(const struct options *options, struct error *error) MUST_USE;
bool inspect_run(const struct options *options, struct error *error) MUST_USE;
bool tokenize_run(const struct options *options, struct error *error) MUST_USE;
bool detokenize_run(const struct options *options, struct error *error) MUST_USE;
bool constrain_run(const struct options *options, struct error *error) MUST_USE;
bool render_run(const struct options *options, struct error *error) MUST_USE;
bool perplexity_run(const struct options *options, struct error *error) MUST_USE;
bool logits_run(const struct options *options, struct error *error) MUST_USE;
bool completion_run(const struct options *options, struct error *error) MUST_USE;
bool health_run(const struct options *options, struct error *error) MUST_USE;
bool doctor_run(const struct options *options, struct error *error) MUST_USE;
bool manual_run(const struct options *options, struct error *error) MUST_USE;

#endif
