/* `tallow chat` and `tallow run`: a model, and a conversation with it (cli/chat/chat.h). `run` finds the model by what a person
 * calls it, and chooses weights and context that fit (cli/fit.h). Nothing is ever fetched.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/chat/chat.h"
#include "cli/commands.h"
#include "cli/fit.h"
#include "cli/screen.h"
#include "cli/setup.h"
#include "cli/stores/stores.h"

enum { N_NEAREST = 3 };

bool chat_run(const struct options *options, struct error *error)
{
	struct model_options model;
	return setup_talk_options(options, &model, error) && chat_talk(options, &model, error);
}

/* ---- finding ---- */

/* A line on standard error, which may hold what others have named. */
static void say(const char *format, ...) PRINTF_LIKE(1, 2);
static void say(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	screen_say(stderr, isatty(STDERR_FILENO) ? screen_columns() : 0, format, arguments);
	va_end(arguments);
}

static bool looks_like_a_repository(const char *name)
{
	const char *slash = strchr(name, '/');
	return slash && slash > name && slash[1] && !strchr(slash + 1, '/') && *name != '.' && *name != '~';
}

/* Where was looked, what there is, and what would fetch it. */
static bool say_not_found(const struct stores *stores, const char *name, struct error *error)
{
	const char *nearest[N_NEAREST];
	int n = stores_nearest(stores, name, nearest, N_NEAREST);
	say("There is no file or folder %s here, and no model of that name in:", name);
	for (int i = 0; i < stores->n_places; i++)
		say("  %-12s  %s%s", stores->places[i].store, stores->places[i].path,
		    stores->places[i].there ? "" : " (not there)");
	for (int i = 0; i < n; i++)
		say("%s %s", i == 0 ? "The nearest:" : "            ", nearest[i]);
	if (looks_like_a_repository(name))
		say("`hf download %s` (or huggingface-cli download %s) fetches a repository of that name; Tallow never does.",
		    name, name);
	return error_set(error, ERROR_MODEL, "no model %.100s was found (tallow list prints those that are here)", name);
}

/* Whether a model's name ends as was asked for; a tag `latest` may be left out. */
static bool ends_as_asked(const char *known, const char *name)
{
	static const char latest[] = ":latest";
	size_t n = strlen(name), n_known = strlen(known), n_latest = sizeof latest - 1;
	if (n_known >= n && strcasecmp(known + n_known - n, name) == 0)
		return true;
	return n_known >= n + n_latest && strcmp(known + n_known - n_latest, latest) == 0 &&
	       strncasecmp(known + n_known - n_latest - n, name, n) == 0;
}

static bool say_several(const struct stores *stores, const char *name, struct error *error)
{
	say("Several models fit %s; name one of them, or its path:", name);
	for (size_t i = 0; i < stores->n; i++) {
		const struct stored_model *model = &stores->models[i];
		if (ends_as_asked(model->name, name))
			say("  %s  (%s) %s", model->name, model->store, model->path ? model->path : model->broken);
	}
	return error_set(error, ERROR_USAGE, "%.100s is the name of several models", name);
}

/* GGUF files of a repository that has nothing else are its models. */
static bool say_files(const struct stores *stores, const char *name, struct error *error)
{
	size_t n = strlen(name);
	int n_files = 0;
	for (size_t i = 0; i < stores->n; i++) {
		if (strncasecmp(stores->models[i].name, name, n) != 0 || stores->models[i].name[n] != '/')
			continue;
		if (n_files++ == 0)
			say("%s has several files; name one of them:", name);
		say("  %s", stores->models[i].name);
	}
	return n_files > 0 && !error_set(error, ERROR_USAGE, "%.100s is no model, but a folder of %d", name, n_files);
}

/* The path of the model that the name means, in the arena, and what it is called if the path does not tell; NULL with
 * *error. */
static const char *find(struct stores *stores, const struct options *options, const char **called, struct error *error)
{
	const char *name = options->path;
	int n_fitting;
	if (access(name, F_OK) == 0)
		return arena_strdup(&stores->arena, name, strlen(name));
	if (!stores_find(stores, options->models_dir, error))
		return NULL;
	const struct stored_model *model = stores_choose(stores, name, &n_fitting);
	if (!model && !say_files(stores, name, error))
		say_not_found(stores, name, error);
	else if (model && n_fitting > 1)
		say_several(stores, name, error);
	else if (model && !model->path)
		error_set(error, ERROR_MODEL, "%.100s (%s): %s", model->name, model->store, model->broken);
	else if (model)
		*called = model->name;
	return *called ? model->path : NULL;
}

/* ---- choosing ---- */

static double gib(uint64_t n_bytes)
{
	return (double)n_bytes / (1 << 30);
}

static void say_weights(const struct options *options, const struct fit *fit)
{
	const char *name = fit_weights_name(fit->weights);
	if (options_given(options, "weights"))
		say("weights %s, as asked", name);
	else if (fit->weights == 0)
		say("weights as they lie in the file, %s", fit->type);
	else if (strcmp(name, "q8") == 0)
		say("weights q8: %s is %.1f GiB for each token, and q8 half of it or less, for answers that are hardly others",
		    fit->type, gib(fit->product_bytes));
	else
		say("weights %s: nothing finer fits the memory", name);
}

static void say_choice(const char *path, const struct options *options, const struct fit *fit)
{
	const struct model_plan *plan = &fit->plan;
	bool whole = plan->context == fit->model_context;
	say("%s: %s, %.0f M parameters, %.2f GiB", path, fit->architecture, fit->n_parameters / 1e6, gib(fit->file_bytes));
	say_weights(options, fit);
	say("context %" PRId64 " tokens (%s); %.2f GiB of memory in all, of %.1f GiB (%s); %d threads", plan->context,
	    options->context ? "as asked"
	    : whole          ? "the model's own"
	                     : "--context makes it longer",
	    gib(plan->total_bytes), gib(plan->limit_bytes), plan->limit_source ? plan->limit_source : "no limit",
	    plan->n_threads);
}

static bool run(const char *path, const char *called, const struct options *options, struct error *error)
{
	struct fit fit;
	struct options chosen = *options;
	struct model_options model;
	fit_look(path, options, &fit);
	if (fit.error.code != ERROR_NONE) {
		*error = fit.error;
		return false;
	}
	if (!options->quiet)
		say_choice(path, options, &fit);
	chosen.model = path;
	chosen.name = called;
	chosen.weights = fit.weights;
	chosen.context = fit.plan.context;
	return setup_talk_options(&chosen, &model, error) && chat_talk(&chosen, &model, error);
}

bool run_run(const struct options *options, struct error *error)
{
	struct stores stores = {0};
	if (!options->path)
		return error_set(error, ERROR_USAGE, "a model is missing: tallow run MODEL (tallow list prints those here)");
	const char *called = NULL;
	const char *path = find(&stores, options, &called, error);
	bool ok = path && run(path, called, options, error);
	stores_free(&stores);
	return ok;
}
