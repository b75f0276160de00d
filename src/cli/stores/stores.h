/* Models on this machine: what other programs have stored, found by names and directories alone; no model is opened, and
 * nothing is fetched.
 *
 *     struct stores found = {0};
 *     stores_find(&found, models_dir, &error);      // by the environment, and one more folder
 *     found.models[0].name, .path, .broken
 *     stores_free(&found);
 *
 *     Hugging Face   HF_HUB_CACHE, HF_HOME/hub, ~/.cache/huggingface/hub     org/name, org/name/FILE.gguf
 *     Ollama         OLLAMA_MODELS, ~/.ollama/models, /usr/share/ollama/...  name:tag
 *     LM Studio      ~/.lmstudio/models, ~/.cache/lm-studio/models           PUBLISHER/NAME/FILE.gguf
 *     folder         --models-dir                                            FILE.gguf, NAME/FILE.gguf, NAME
 *
 * Stores are written by others, and not trusted: what is damaged is a row that says so. Links between directories are followed
 * inside a folder of models (never in Ollama's store, which has none), as deep as such stores are.
 */
#ifndef TALLOW_CLI_STORES_H
#define TALLOW_CLI_STORES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/error.h"

enum { STORES_MAX_MODELS = 10000, STORES_MAX_PLACES = 16 };

struct stored_model {
	const char *store;  /* "Hugging Face", ...; static */
	const char *name;   /* what a person types */
	const char *path;   /* for model_files_open; NULL where it is broken */
	const char *broken; /* why it cannot be had; NULL: nothing is known against it */
};

struct stores {
	struct arena arena;          /* the texts */
	struct stored_model *models; /* [n], by name */
	size_t n, capacity;
	struct {
		const char *store, *path;
		bool there;
	} places[STORES_MAX_PLACES]; /* that were looked at */
	int n_places;
	bool failed; /* memory was short */
};

/* ERROR_MEMORY; ERROR_USAGE where models_dir (NULL: none) is no directory. */
bool stores_find(struct stores *stores, const char *models_dir, struct error *error) MUST_USE;
void stores_free(struct stores *stores);

/* The model of that name: as it is printed, or without ":latest", or the one whose name ends with "/" and this; case does not
 * matter where nothing else fits. *n_fitting: how many there are, of which the first is returned; NULL: none. */
const struct stored_model *stores_choose(const struct stores *stores, const char *name, int *n_fitting);
/* The nearest names, [n] at most; how many. */
int stores_nearest(const struct stores *stores, const char *name, const char **out, int n);

/* ---- each kind of store; for tests, too. A directory that is not there has no models. ---- */

void stores_add_hugging_face(struct stores *stores, const char *hub);
void stores_add_ollama(struct stores *stores, const char *models);
/* GGUF files, and folders with a config.json and weights; also whole stores of the other two kinds. */
void stores_add_folder(struct stores *stores, const char *store, const char *folder);

#endif
