/* `tallow constrain`: what is understood of a schema, a regular expression or a grammar, what is refused and where, and
 * whether texts are accepted token by token. People debug their schemas with it. No weights are read. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/json.h"
#include "cli/commands.h"
#include "cli/screen.h"
#include "text/grammar.h"
#include "text/tokenizer.h"

enum { MAX_FILE_BYTES = 64 << 20, RANDOM_TOKENS = 256 };

/* What a command is about, and what came of it. */
struct constraining {
	struct tokenizer *tokenizer;
	struct grammar_vocabulary *vocabulary;
	struct grammar_report report;
	struct grammar *grammar; /* NULL: refused */
	bool json;               /* checks are JSON */
	uint32_t *mask;
	double compile_ms;
	double *mask_us; /* [n_masks] */
	size_t n_masks, max_masks;
};

struct check {
	bool accepted;
	size_t at, n_bytes; /* where it was not, of the text that was tried */
};

static double cpu_us(void)
{
	struct timespec now;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

/* ---- input ---- */

static bool read_file(const char *path, struct bytes *out, struct error *error)
{
	char buffer[1 << 16];
	FILE *file = fopen(path, "rb");
	if (!file)
		return error_set(error, ERROR_USAGE, "%.300s: it cannot be read", path);
	out->max_bytes = MAX_FILE_BYTES;
	for (size_t n; (n = fread(buffer, 1, sizeof buffer, file)) > 0;)
		bytes_append(out, buffer, n);
	bool ok = !ferror(file);
	fclose(file);
	if (!ok)
		return error_set(error, ERROR_USAGE, "%.300s: it cannot be read", path);
	if (out->failed)
		return error_set(error, ERROR_USAGE, "%.300s: it is larger than %d MiB", path, MAX_FILE_BYTES >> 20);
	return true;
}

static const char *text_of(const struct bytes *bytes)
{
	return bytes->data ? bytes->data : "";
}

static bool compile(const struct options *options, struct constraining *c, struct error *error)
{
	int n_sources = (options->json_schema != NULL) + (options->regex != NULL) + (options->grammar != NULL);
	const char *path = options->json_schema ? options->json_schema : options->grammar;
	struct bytes source = {0};
	if (n_sources != 1)
		return error_set(error, ERROR_USAGE, "one of --json-schema, --regex and --grammar must be given");
	c->json = options->json_schema != NULL;
	if (options->regex)
		bytes_append_text(&source, options->regex);
	if (path && !read_file(path, &source, error)) {
		bytes_free(&source);
		return false;
	}
	enum grammar_kind kind = c->json ? GRAMMAR_JSON_SCHEMA : options->regex ? GRAMMAR_REGEX : GRAMMAR_GBNF;
	struct error refusal = {0};
	double start = cpu_us();
	c->grammar = grammar_compile(kind, text_of(&source), source.n_bytes, &c->report, &refusal);
	c->compile_ms = (cpu_us() - start) / 1e3;
	bytes_free(&source);
	if (!c->grammar && refusal.code != ERROR_CONSTRAINT) {
		*error = refusal;
		return false;
	}
	return true;
}

/* ---- following texts ---- */

static bool make_mask(struct constraining *c, struct error *error)
{
	double start = cpu_us();
	bool ok = grammar_mask(c->grammar, c->vocabulary, c->mask, error);
	if (c->n_masks == c->max_masks) {
		size_t more = c->max_masks ? c->max_masks * 2 : 1024;
		double *grown = realloc(c->mask_us, more * sizeof *grown);
		if (!grown)
			return error_set(error, ERROR_MEMORY, "not enough memory for %zu measurements", more);
		c->mask_us = grown;
		c->max_masks = more;
	}
	c->mask_us[c->n_masks++] = cpu_us() - start;
	return ok;
}

static bool may_come(const struct constraining *c, int32_t id)
{
	return c->mask[id / 32] >> id % 32 & 1;
}

/* The tokenizer's own tokens where their bytes are the text; else the longest ones in turn. */
static bool split(const struct constraining *c, const struct bytes *text, struct token_ids *ids, struct error *error)
{
	size_t at = 0, n_bytes;
	struct error ignored = {0};
	if (tokenizer_encode(c->tokenizer, text_of(text), text->n_bytes, 0, ids, &ignored)) {
		for (size_t i = 0; i < ids->n_ids; i++) {
			const char *bytes = grammar_token_bytes(c->vocabulary, ids->ids[i], &n_bytes);
			if (!bytes || text->n_bytes - at < n_bytes || memcmp(bytes, text->data + at, n_bytes) != 0)
				break;
			at += n_bytes;
		}
		if (at == text->n_bytes)
			return true;
	}
	token_ids_free(ids);
	ids->ids = calloc(text->n_bytes + 1, sizeof *ids->ids);
	if (!ids->ids)
		return error_set(error, ERROR_MEMORY, "not enough memory for %zu tokens", text->n_bytes);
	for (at = 0; at < text->n_bytes; at += n_bytes) {
		int32_t id = grammar_token_at(c->vocabulary, text->data + at, text->n_bytes - at);
		if (!grammar_token_bytes(c->vocabulary, id, &n_bytes))
			return error_set(error, ERROR_MODEL, "the vocabulary has no token for byte %zu of a text", at);
		ids->ids[ids->n_ids++] = id;
	}
	return true;
}

static bool try_text(struct constraining *c, const struct bytes *text, struct check *check, struct error *error)
{
	struct token_ids ids = {0};
	size_t n_bytes = 0;
	bool ok = split(c, text, &ids, error), goes = true;
	grammar_restart(c->grammar);
	*check = (struct check){.n_bytes = text->n_bytes};
	for (size_t i = 0; i < ids.n_ids && ok && goes; i++) {
		ok = make_mask(c, error);
		goes = ok && may_come(c, ids.ids[i]) && grammar_token(c->grammar, c->vocabulary, ids.ids[i]);
		if (goes && grammar_token_bytes(c->vocabulary, ids.ids[i], &n_bytes))
			check->at += n_bytes;
	}
	check->accepted = ok && goes && grammar_complete(c->grammar);
	token_ids_free(&ids);
	return ok;
}

/* A schema's instance in the order the schema wants; other texts as they are, but for a line end at the end. */
static bool check_file(struct constraining *c, const char *path, struct check *check, struct error *error)
{
	struct bytes file = {0}, text = {0};
	bool ok = read_file(path, &file, error);
	if (ok && c->json) {
		struct json_limits limits = {.max_depth = 512, .allow_duplicates = true};
		struct json *value = json_parse(text_of(&file), file.n_bytes, &limits, error);
		ok = value != NULL;
		if (ok && !grammar_canonical(c->grammar, value, &text) && text.failed)
			ok = error_set(error, ERROR_MEMORY, "not enough memory for the text of %.300s", path);
		json_destroy(value);
		if (!value && error->code == ERROR_INVALID_REQUEST) {
			error->code = ERROR_USAGE;
			error_prefix(error, "%.300s", path);
		}
	} else if (ok) {
		bool line_end = file.n_bytes > 0 && file.data[file.n_bytes - 1] == '\n';
		bytes_append(&text, text_of(&file), file.n_bytes - line_end);
	}
	ok = ok && try_text(c, &text, check, error);
	bytes_free(&file);
	bytes_free(&text);
	return ok;
}

/* Without checks, masks are timed on tokens drawn at random. */
static bool follow_random(struct constraining *c, struct error *error)
{
	uint64_t seed = 1;
	int32_t n_ids = tokenizer_vocab_size(c->tokenizer);
	grammar_restart(c->grammar);
	for (int i = 0; i < RANDOM_TOKENS; i++) {
		if (!make_mask(c, error))
			return false;
		seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
		int32_t first = (int32_t)((seed >> 33) % (uint64_t)n_ids), id = first;
		while (!(may_come(c, id) && grammar_token(c->grammar, c->vocabulary, id))) {
			id = (id + 1) % n_ids;
			if (id == first)
				return true; /* nothing but the end may come */
		}
	}
	return true;
}

/* ---- output ---- */

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

/* The part of the sorted measurements below which `share` of them lie. */
static double quantile(const struct constraining *c, double share)
{
	return c->n_masks ? c->mask_us[(size_t)(share * (double)(c->n_masks - 1) + 0.5)] : 0;
}

static void write_remarks(struct bytes *out, const char *key, const struct grammar_remark *remarks, size_t n)
{
	json_field_key(out, key);
	bytes_append_text(out, "[");
	for (size_t i = 0; i < n; i++) {
		if (i > 0)
			bytes_append_text(out, ",");
		json_open(out);
		json_field_text(out, "pointer", remarks[i].pointer);
		json_field_text(out, "why", remarks[i].why);
		json_close(out);
	}
	bytes_append_text(out, "]");
}

static void print_json(const struct options *options, const struct constraining *c, const struct check *checks)
{
	struct bytes out = {0};
	json_open(&out);
	write_remarks(&out, "refused", c->report.refused, c->report.n_refused);
	write_remarks(&out, "notes", c->report.notes, c->report.n_notes);
	json_field_double(&out, "compile_ms", c->compile_ms);
	json_field_key(&out, "checks");
	bytes_append_text(&out, "[");
	for (int i = 0; i < options->checks.n; i++) {
		if (i > 0)
			bytes_append_text(&out, ",");
		json_open(&out);
		json_field_text(&out, "file", options->checks.paths[i]);
		json_field_bool(&out, "accepted", checks[i].accepted);
		if (!checks[i].accepted && c->grammar)
			json_field_uint(&out, "at", checks[i].at);
		json_close(&out);
	}
	bytes_append_text(&out, "]");
	json_field_key(&out, "mask_us");
	json_open(&out);
	json_field_double(&out, "p50", quantile(c, 0.5));
	json_field_double(&out, "p99", quantile(c, 0.99));
	json_field_double(&out, "max", quantile(c, 1));
	json_close(&out);
	json_field_uint(&out, "masks", c->n_masks);
	json_close(&out);
	bytes_append_text(&out, "\n");
	if (!out.failed)
		screen_print_json(out.data, out.n_bytes);
	bytes_free(&out);
}

/* Pointers are made of names in the schema. */
static void print_remark(const char *kind, const char *pointer, const char *why)
{
	printf("%s", kind);
	screen_print_text(pointer, strlen(pointer));
	printf(": ");
	screen_print_text(why, strlen(why));
	printf("\n");
}

static void print_plain(const struct options *options, const struct constraining *c, const struct check *checks)
{
	for (size_t i = 0; i < c->report.n_refused; i++)
		print_remark("refused   ", *c->report.refused[i].pointer ? c->report.refused[i].pointer : "(all)",
		             c->report.refused[i].why);
	for (size_t i = 0; i < c->report.n_notes; i++)
		print_remark("note      ", c->report.notes[i].pointer, c->report.notes[i].why);
	if (c->grammar)
		printf("taken     all of it is enforced\n");
	printf("compiled  in %.3f ms\n", c->compile_ms);
	for (int i = 0; i < options->checks.n && c->grammar; i++) {
		printf("%s  %s", checks[i].accepted ? "accepted" : "not taken", options->checks.paths[i]);
		if (!checks[i].accepted && checks[i].at == checks[i].n_bytes)
			printf(": more must follow");
		else if (!checks[i].accepted)
			printf(": at byte %zu of its canonical text", checks[i].at);
		puts("");
	}
	if (c->n_masks)
		printf("masks     %zu; p50 %.1f us, p99 %.1f us, at most %.1f us\n", c->n_masks, quantile(c, 0.5),
		       quantile(c, 0.99), quantile(c, 1));
}

/* The answer to what was asked, as the exit code tells it. */
static bool answer(const struct options *options, const struct constraining *c, const struct check *checks,
                   struct error *error)
{
	assert(c->grammar || c->report.n_refused > 0);
	if (!c->grammar)
		return error_set(error, ERROR_CONSTRAINT, "refused: %.120s%s%.300s", c->report.refused[0].pointer,
		                 *c->report.refused[0].pointer ? ": " : "", c->report.refused[0].why);
	for (int i = 0; i < options->checks.n; i++)
		if (!checks[i].accepted)
			return error_set(error, ERROR_CONSTRAINT, "%.300s: not accepted", options->checks.paths[i]);
	return true;
}

static bool run_checks(const struct options *options, struct constraining *c, struct check *checks, struct error *error)
{
	for (int i = 0; i < options->checks.n; i++)
		if (!check_file(c, options->checks.paths[i], &checks[i], error))
			return false;
	return options->checks.n > 0 || follow_random(c, error);
}

static bool open_vocabulary(const struct options *options, struct constraining *c, struct error *error)
{
	if (!options->model)
		return error_set(error, ERROR_USAGE,
		                 "--model is missing: a model directory, a .gguf file, or a folder with a tokenizer.json");
	c->tokenizer = tokenizer_load(options->model, error);
	c->vocabulary = c->tokenizer ? grammar_vocabulary_create(c->tokenizer, error) : NULL;
	if (!c->vocabulary)
		return false;
	c->mask = calloc(grammar_mask_words(c->vocabulary), sizeof *c->mask);
	return c->mask || error_set(error, ERROR_MEMORY, "not enough memory for a mask");
}

bool constrain_run(const struct options *options, struct error *error)
{
	struct constraining c = {0};
	struct check *checks = calloc((size_t)options->checks.n + 1, sizeof *checks);
	if (!checks)
		return error_set(error, ERROR_MEMORY, "not enough memory for %d checks", options->checks.n);
	bool ok = open_vocabulary(options, &c, error) && compile(options, &c, error);
	ok = ok && (!c.grammar || run_checks(options, &c, checks, error));
	if (ok) {
		if (c.n_masks)
			qsort(c.mask_us, c.n_masks, sizeof *c.mask_us, by_size);
		(options->json ? print_json : print_plain)(options, &c, checks);
		ok = answer(options, &c, checks, error);
	}
	grammar_destroy(c.grammar);
	grammar_report_free(&c.report);
	grammar_vocabulary_destroy(c.vocabulary);
	tokenizer_destroy(c.tokenizer);
	free(c.mask);
	free(c.mask_us);
	free(checks);
	return ok;
}
