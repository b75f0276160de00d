/* `tallow list`: the models on this machine, and which of them run here. Headers are read, and nothing else. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "cli/commands.h"
#include "cli/fit.h"
#include "cli/screen.h"
#include "cli/stores/stores.h"

enum {
	FIGURES_COLUMNS = 2 + 9 + 2 + 8 + 9 + 2, /* between a name and whether it runs */
	YES_COLUMNS = 22,
	LEAST_NAME_COLUMNS = 12,
};

static void look(const struct stored_model *model, const struct options *options, struct fit *fit)
{
	if (model->path) {
		fit_look(model->path, options, fit);
		return;
	}
	*fit = (struct fit){0};
	error_set(&fit->error, ERROR_MODEL, "%s", model->broken);
}

/* ---- as JSON ---- */

static void print_json(const struct stores *stores, const struct fit *fits)
{
	struct bytes out = {0};
	json_open(&out);
	json_field_key(&out, "models");
	bytes_append_text(&out, "[");
	for (size_t i = 0; i < stores->n; i++) {
		const struct stored_model *model = &stores->models[i];
		const struct fit *fit = &fits[i];
		bool runs = fit->error.code == ERROR_NONE;
		bytes_append_text(&out, i ? "," : "");
		json_open(&out);
		json_field_text(&out, "name", model->name);
		json_field_text(&out, "store", model->store);
		json_field_text(&out, "path", model->path);
		json_field_uint(&out, "bytes", fit->file_bytes);
		json_field_text(&out, "type", *fit->type ? fit->type : NULL);
		json_field_text(&out, "architecture", *fit->architecture ? fit->architecture : NULL);
		json_field_bool(&out, "runs", runs);
		json_field_text(&out, "reason", runs ? NULL : fit->error.message);
		if (runs) {
			json_field_text(&out, "weights", fit_weights_name(fit->weights));
			json_field_int(&out, "context", fit->plan.context);
			json_field_uint(&out, "memory_bytes", fit->plan.total_bytes);
		}
		json_close(&out);
	}
	bytes_append_text(&out, "],\"places\":[");
	for (int i = 0; i < stores->n_places; i++) {
		bytes_append_text(&out, i ? "," : "");
		json_open(&out);
		json_field_text(&out, "store", stores->places[i].store);
		json_field_text(&out, "path", stores->places[i].path);
		json_field_bool(&out, "there", stores->places[i].there);
		json_close(&out);
	}
	bytes_append_text(&out, "]}\n");
	screen_print_json(out.data ? out.data : "", out.n_bytes);
	bytes_free(&out);
}

/* ---- as a table ---- */

static void write_size(uint64_t n_bytes, char out[16])
{
	double mib = (double)n_bytes / (1 << 20);
	if (n_bytes == 0)
		snprintf(out, 16, "-");
	else if (mib < 10)
		snprintf(out, 16, "%.1f MiB", mib);
	else if (mib < 1000)
		snprintf(out, 16, "%.0f MiB", mib);
	else
		snprintf(out, 16, "%.1f GiB", mib / 1024);
}

/* Names and reasons come from files that others wrote: one line of them, which may be sent to a terminal. */
static const char *harmless_line(const char *text, struct bytes *shown)
{
	bytes_clear(shown);
	screen_make_harmless(text, strlen(text), shown);
	for (size_t i = 0; i < shown->n_bytes; i++)
		if (shown->data[i] == '\n' || shown->data[i] == '\t')
			shown->data[i] = '?';
	return shown->data ? shown->data : "";
}

static int width_of(const char *text)
{
	int n = 0;
	for (; *text; text++)
		n += ((unsigned char)*text & 0xC0) != 0x80;
	return n;
}

/* Behind the path that a reason may begin with, in which control characters are '?'. */
static const char *without_path(const char *reason, const char *path)
{
	size_t n = 0;
	while (path && path[n] && (reason[n] == path[n] || reason[n] == '?'))
		n++;
	return n > 0 && !path[n] && reason[n] == ':' && reason[n + 1] == ' ' ? reason + n + 2 : reason;
}

/* What is against it, without the path that the row has already; on lines of its own where it is too long for the rest of the
 * row. `columns` 0: there is room for everything. */
static void print_reason(const char *reason, const struct stored_model *model, int columns)
{
	struct bytes shown = {0};
	const char *line = harmless_line(without_path(reason, model->path), &shown);
	printf("no: ");
	if (columns > 0 && width_of(line) > columns - 4) {
		printf("\n    ");
		screen_print_words(stdout, line, 4, 4, screen_columns());
	} else {
		printf("%s", line);
	}
	printf("\n");
	bytes_free(&shown);
}

/* Names are never cut, so that they can be given to `run`: a long one has a line of its own. */
static void print_row(const struct stored_model *model, const struct fit *fit, int name_columns, int rest)
{
	char size[16], memory[16];
	struct bytes shown = {0};
	const char *name = harmless_line(model->name, &shown);
	int n = width_of(name);
	write_size(fit->file_bytes, size);
	write_size(fit->plan.total_bytes, memory);
	printf("%s", name);
	if (n > name_columns)
		printf("\n%*s", name_columns, "");
	else
		printf("%*s", name_columns - n, "");
	printf("  %9s  %-8s", size, *fit->type ? fit->type : "-");
	if (fit->error.code == ERROR_NONE) {
		printf("%9s  yes, %s%s%" PRId64 " tokens\n", memory, fit->weights ? fit_weights_name(fit->weights) : "",
		       fit->weights ? ", " : "", fit->plan.context);
	} else {
		printf("%9s  ", "-");
		print_reason(fit->error.message, model, rest);
	}
	bytes_free(&shown);
}

static void print_table(const struct stores *stores, const struct fit *fits)
{
	bool terminal = isatty(STDOUT_FILENO);
	int name_columns = LEAST_NAME_COLUMNS, room = screen_columns() - FIGURES_COLUMNS - YES_COLUMNS;
	for (size_t i = 0; i < stores->n; i++) {
		int n = (int)strlen(stores->models[i].name);
		name_columns = n > name_columns ? n : name_columns;
	}
	room = room > LEAST_NAME_COLUMNS ? room : LEAST_NAME_COLUMNS;
	if (terminal && name_columns > room)
		name_columns = room;
	printf("%-*s  %9s  %-8s%9s  RUNS HERE\n", name_columns, "NAME", "SIZE", "TYPE", "MEMORY");
	for (size_t i = 0; i < stores->n; i++)
		print_row(&stores->models[i], &fits[i], name_columns,
		          terminal ? screen_columns() - name_columns - FIGURES_COLUMNS : 0);
}

static void print_places(const struct stores *stores)
{
	printf("No models were found. Looked in:\n");
	for (int i = 0; i < stores->n_places; i++)
		printf("  %-12s  %s%s\n", stores->places[i].store, stores->places[i].path,
		       stores->places[i].there ? "" : " (not there)");
	screen_print(0, 0,
	             "`hf download ORG/NAME` fetches one into Hugging Face's cache; --models-dir names another folder.");
}

bool list_run(const struct options *options, struct error *error)
{
	struct stores stores = {0};
	bool ok = stores_find(&stores, options->models_dir, error);
	struct fit *fits = ok ? calloc(stores.n + 1, sizeof *fits) : NULL;
	if (ok && !fits)
		ok = error_set(error, ERROR_MEMORY, "no memory to look at %zu models", stores.n);
	for (size_t i = 0; fits && i < stores.n; i++)
		look(&stores.models[i], options, &fits[i]);
	if (fits && options->json)
		print_json(&stores, fits);
	else if (fits && stores.n > 0)
		print_table(&stores, fits);
	else if (fits)
		print_places(&stores);
	free(fits);
	stores_free(&stores);
	return ok;
}
