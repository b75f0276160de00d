/* `tallow list`: the models on this machine, and which of them run here. Headers are read, and nothing else. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "cli/chat/screen.h"
#include "cli/commands.h"
#include "cli/fit.h"
#include "cli/stores/stores.h"

enum { MAX_NAME_COLUMNS = 60, LEAST_REASON_COLUMNS = 20 };

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
	fwrite(out.data ? out.data : "", 1, out.n_bytes, stdout);
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

/* Names and reasons come from files that others wrote. */
static void print_harmless(const char *text, int columns)
{
	struct bytes shown = {0};
	screen_make_harmless(text, strlen(text), &shown);
	const char *data = shown.data ? shown.data : "";
	int n = 0, cut = 0;
	for (const char *at = data; *at; at++) {
		n += ((unsigned char)*at & 0xC0) != 0x80;
		cut += n <= columns - 3;
	}
	if (n <= columns)
		printf("%s%*s", data, columns - n, "");
	else
		printf("%.*s...", cut, data);
	bytes_free(&shown);
}

static void end_row(const struct fit *fit, int columns)
{
	char memory[16];
	write_size(fit->plan.total_bytes, memory);
	if (fit->error.code == ERROR_NONE) {
		printf("%9s  yes, %s%s%" PRId64 " tokens\n", memory, fit->weights ? fit_weights_name(fit->weights) : "",
		       fit->weights ? ", " : "", fit->plan.context);
		return;
	}
	const char *reason = fit->error.message, *file = strrchr(reason, '/');
	struct bytes shown = {0};
	if (*reason == '/' && file) /* the table has the name already */
		reason = file + 1;
	bytes_append_format(&shown, "no: %s", reason);
	printf("%9s  ", "-");
	int n = (int)shown.n_bytes;
	print_harmless(shown.data ? shown.data : "no", n < columns ? n : columns);
	printf("\n");
	bytes_free(&shown);
}

static void print_table(const struct stores *stores, const struct fit *fits)
{
	int name_columns = 4, all = isatty(STDOUT_FILENO) ? screen_columns() : 1000;
	for (size_t i = 0; i < stores->n; i++) {
		int n = (int)strlen(stores->models[i].name);
		name_columns = n > name_columns ? n : name_columns;
	}
	int most = all < 120 ? MAX_NAME_COLUMNS * all / 160 : MAX_NAME_COLUMNS;
	name_columns = name_columns < most ? name_columns : most;
	int rest = all - name_columns - 2 - 9 - 2 - 8 - 9 - 2;
	printf("%-*s  %9s  %-8s%9s  RUNS HERE\n", name_columns, "NAME", "SIZE", "TYPE", "MEMORY");
	for (size_t i = 0; i < stores->n; i++) {
		char size[16];
		write_size(fits[i].file_bytes, size);
		print_harmless(stores->models[i].name, name_columns);
		printf("  %9s  %-8s", size, *fits[i].type ? fits[i].type : "-");
		end_row(&fits[i], rest > LEAST_REASON_COLUMNS ? rest : LEAST_REASON_COLUMNS);
	}
}

static void print_places(const struct stores *stores)
{
	printf("No models were found. Looked in:\n");
	for (int i = 0; i < stores->n_places; i++)
		printf("  %-12s  %s%s\n", stores->places[i].store, stores->places[i].path,
		       stores->places[i].there ? "" : " (not there)");
	printf("`hf download ORG/NAME` fetches one into Hugging Face's cache; --models-dir names another folder.\n");
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
