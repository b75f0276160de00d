/* What of a model fits this machine, for one conversation at a time: told by its headers, before anything is loaded. The rules,
 * where the options do not say:
 *
 *     weights   in few bits: as they lie in the file. Others: as they lie where that is at most a GiB for each token, else
 *               q8; where that does not fit the memory limit, q4.
 *     context   the model's own, at most 32768 tokens, and half of that and so on while all together takes more than half of
 *               the memory limit; never less than 2048 (or the model's own), which may then take all of the limit.
 */
#ifndef TALLOW_CLI_FIT_H
#define TALLOW_CLI_FIT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "cli/options.h"
#include "model/plan.h"

struct fit {
	struct error error; /* why it does not run here; ERROR_NONE: it runs, as far as its headers tell */
	/* What is known, 0 or "" where it is not. */
	uint64_t file_bytes; /* of the files with weights */
	char type[16];       /* of most bytes in them, as the file spells it */
	char architecture[64];
	double n_parameters;
	int64_t model_context;  /* the model's own */
	uint64_t product_bytes; /* of the matrices as they lie, which each token reads */
	int weights;            /* what was chosen: the option's choice, 0 = as they lie */
	struct model_plan plan; /* with it: context, total_bytes, limit_bytes */
};

/* `options` are those of a command that plans, of which model and path are not read. */
void fit_look(const char *path, const struct options *options, struct fit *fit);
/* "f32", "q8", ... of the option's choice. */
const char *fit_weights_name(int weights);

#endif
