/* MaskBench (guidance-ai/jsonschemabench, folder maskbench/data): how many of its schemas are taken, and how many passed:
 * each valid instance accepted and each invalid one not, token by token, in the canonical form (include/text/grammar.h).
 * Compile and mask times are CPU time of this thread. The data are not part of this repository: `make maskbench DATA=folder`.
 *
 *     maskbench TOKENIZER_FOLDER DATA_FOLDER|FILE... [--list]     --list: a line for each schema that does not pass,
 *                                                                is slow or takes much memory
 *
 * Exit 1 when an invalid instance was accepted or a valid one was not.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/json.h"
#include "text/grammar.h"
#include "text/tokenizer.h"

enum { MAX_FILE_BYTES = 64 << 20, LARGE_BYTES = 8 << 20 };

struct samples {
	double *values;
	size_t n, max;
};

struct bench {
	struct tokenizer *tokenizer;
	struct grammar_vocabulary *vocabulary;
	uint32_t *mask;
	struct samples masks, compiles; /* us; ms */
	size_t n_schemas, n_taken, n_passed, n_valid, n_invalid, n_rejected, n_accepted, n_bytes_max;
	bool list;
};

static void die(const char *what, const char *why)
{
	fprintf(stderr, "maskbench: %s: %s\n", what, why);
	exit(2);
}

static double cpu_us(void)
{
	struct timespec now;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static void add_sample(struct samples *samples, double value)
{
	if (samples->n == samples->max) {
		samples->max = samples->max ? samples->max * 2 : 4096;
		samples->values = realloc(samples->values, samples->max * sizeof *samples->values);
		if (!samples->values)
			die("samples", "not enough memory");
	}
	samples->values[samples->n++] = value;
}

/* ---- one instance ---- */

/* The longest tokens in turn where the tokenizer's own are not the text. */
static void split(const struct bench *b, const struct bytes *text, struct token_ids *ids)
{
	struct error error = {0};
	size_t at = 0, n_bytes;
	if (!tokenizer_encode(b->tokenizer, text->data, text->n_bytes, 0, ids, &error))
		die("tokenizer", error.message);
	for (size_t i = 0; i < ids->n_ids; i++) {
		const char *bytes = grammar_token_bytes(b->vocabulary, ids->ids[i], &n_bytes);
		if (!bytes || text->n_bytes - at < n_bytes || memcmp(bytes, text->data + at, n_bytes) != 0)
			break;
		at += n_bytes;
	}
	if (at == text->n_bytes)
		return;
	token_ids_free(ids);
	ids->ids = calloc(text->n_bytes + 1, sizeof *ids->ids);
	if (!ids->ids)
		die("tokens", "not enough memory");
	for (at = 0; at < text->n_bytes; at += n_bytes) {
		int32_t id = grammar_token_at(b->vocabulary, text->data + at, text->n_bytes - at);
		if (!grammar_token_bytes(b->vocabulary, id, &n_bytes))
			die("tokens", "the vocabulary lacks bytes");
		ids->ids[ids->n_ids++] = id;
	}
}

static bool follow(struct bench *b, struct grammar *grammar, const struct bytes *text, struct error *error)
{
	struct token_ids ids = {0};
	bool goes = true;
	split(b, text, &ids);
	grammar_restart(grammar);
	for (size_t i = 0; i < ids.n_ids && goes; i++) {
		double start = cpu_us();
		goes = grammar_mask(grammar, b->vocabulary, b->mask, error);
		add_sample(&b->masks, cpu_us() - start);
		int32_t id = ids.ids[i];
		goes = goes && b->mask[id / 32] >> id % 32 & 1 && grammar_token(grammar, b->vocabulary, id);
	}
	token_ids_free(&ids);
	return goes && grammar_complete(grammar);
}

/* ---- one schema ---- */

static void say(const struct bench *b, const char *path, const char *what, const char *pointer, const char *why)
{
	const char *name = strrchr(path, '/');
	if (b->list)
		printf("%s\t%s\t%s\t%s\n", what, name ? name + 1 : path, pointer, why);
}

static bool try_instance(struct bench *b, const char *path, struct grammar *grammar, const struct json *test,
                         size_t index)
{
	struct bytes text = {0};
	struct error error = {0};
	char place[48];
	bool valid = false;
	if (!json_bool(json_get(test, "valid"), &valid))
		die(path, "a test without `valid`");
	bool ordered = grammar_canonical(grammar, json_get(test, "data"), &text);
	bool accepted = follow(b, grammar, &text, &error);
	b->n_valid += valid;
	b->n_invalid += !valid;
	b->n_rejected += valid && !accepted;
	b->n_accepted += !valid && accepted;
	snprintf(place, sizeof place, "test %zu", index);
	if (valid != accepted)
		say(b, path, valid ? "rejected" : "accepted", place,
		    error.message[0] ? error.message
		    : ordered        ? "at a token"
		                     : "in no order");
	bytes_free(&text);
	return valid == accepted;
}

static void try_file(struct bench *b, const char *path)
{
	struct json_limits limits = {.max_depth = 512, .allow_duplicates = true};
	struct error error = {0};
	struct grammar_report report = {0};
	struct bytes schema = {0};
	struct json *file = json_parse_file(path, MAX_FILE_BYTES, &limits, &error);
	if (!file)
		die(path, error.message);
	json_write_value(&schema, json_get(file, "schema"));
	double start = cpu_us();
	struct grammar *grammar = grammar_compile(GRAMMAR_JSON_SCHEMA, schema.data, schema.n_bytes, &report, &error);
	double ms = (cpu_us() - start) / 1e3;
	add_sample(&b->compiles, ms);
	b->n_schemas++;
	if (!grammar) {
		for (size_t i = 0; i < report.n_refused; i++)
			say(b, path, "refused", report.refused[i].pointer, report.refused[i].why);
		if (report.n_refused == 0)
			say(b, path, "refused", "", error.message);
	} else {
		bool passed = true;
		size_t index = 0;
		const struct json *test = json_first(json_get(file, "tests"));
		for (; test; test = json_next(test), index++)
			passed &= try_instance(b, path, grammar, test, index);
		b->n_taken++;
		b->n_passed += passed;
		size_t n_bytes = grammar_bytes(grammar);
		b->n_bytes_max = n_bytes > b->n_bytes_max ? n_bytes : b->n_bytes_max;
		if (n_bytes > LARGE_BYTES) {
			char text[32];
			snprintf(text, sizeof text, "%.1f MiB", (double)n_bytes / 1048576);
			say(b, path, "large", "", text);
		}
	}
	if (ms > 100) {
		char text[32];
		snprintf(text, sizeof text, "%.1f ms", ms);
		say(b, path, "slow", "", text);
	}
	grammar_destroy(grammar);
	grammar_report_free(&report);
	bytes_free(&schema);
	json_destroy(file);
}

static int json_only(const struct dirent *entry)
{
	size_t n = strlen(entry->d_name);
	return n > 5 && strcmp(entry->d_name + n - 5, ".json") == 0;
}

static void try_path(struct bench *b, const char *path)
{
	struct stat about;
	struct dirent **entries;
	if (stat(path, &about) != 0)
		die(path, "it cannot be read");
	if (!S_ISDIR(about.st_mode)) {
		try_file(b, path);
		return;
	}
	int n = scandir(path, &entries, json_only, alphasort);
	if (n <= 0)
		die(path, "no *.json in it");
	for (int i = 0; i < n; i++) {
		char *file = NULL;
		if (asprintf(&file, "%s/%s", path, entries[i]->d_name) < 0)
			die(path, "not enough memory");
		try_file(b, file);
		free(file);
		free(entries[i]);
	}
	free(entries);
}

/* ---- all of them ---- */

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static void print_samples(const char *name, const char *unit, struct samples *samples)
{
	static const double shares[] = {0.5, 0.9, 0.99, 0.999, 1};
	static const char *const names[] = {"p50", "p90", "p99", "p99.9", "max"};
	if (samples->n)
		qsort(samples->values, samples->n, sizeof *samples->values, by_size);
	printf("%s  %zu;", name, samples->n);
	for (size_t i = 0; i < sizeof shares / sizeof *shares && samples->n; i++)
		printf(" %s %.3f %s", names[i], samples->values[(size_t)(shares[i] * (double)(samples->n - 1))], unit);
	puts("");
}

static void print_summary(struct bench *b)
{
	double all = b->n_schemas ? (double)b->n_schemas : 1;
	printf("schemas   %zu; taken %zu (%.2f%%), passed %zu (%.2f%%)\n", b->n_schemas, b->n_taken,
	       100 * (double)b->n_taken / all, b->n_passed, 100 * (double)b->n_passed / all);
	printf("instances of those taken: %zu valid, %zu of them rejected; %zu invalid, %zu of them accepted\n", b->n_valid,
	       b->n_rejected, b->n_invalid, b->n_accepted);
	print_samples("compile ", "ms", &b->compiles);
	print_samples("masks   ", "us", &b->masks);
	printf("largest   %.1f MiB\n", (double)b->n_bytes_max / 1048576);
}

int main(int n_arguments, char **arguments)
{
	struct bench b = {0};
	struct error error = {0};
	if (n_arguments < 3)
		die("usage", "maskbench TOKENIZER_FOLDER DATA_FOLDER|FILE... [--list]");
	for (int i = 2; i < n_arguments; i++)
		b.list |= strcmp(arguments[i], "--list") == 0;
	setvbuf(stdout, NULL, _IOLBF, 0); /* what is known when it is stopped */
	b.tokenizer = tokenizer_load(arguments[1], &error);
	b.vocabulary = b.tokenizer ? grammar_vocabulary_create(b.tokenizer, &error) : NULL;
	if (!b.vocabulary)
		die(arguments[1], error.message);
	b.mask = calloc(grammar_mask_words(b.vocabulary), sizeof *b.mask);
	if (!b.mask)
		die("masks", "not enough memory");
	for (int i = 2; i < n_arguments; i++)
		if (strcmp(arguments[i], "--list") != 0)
			try_path(&b, arguments[i]);
	print_summary(&b);
	grammar_vocabulary_destroy(b.vocabulary);
	tokenizer_destroy(b.tokenizer);
	free(b.mask);
	free(b.masks.values);
	free(b.compiles.values);
	return b.n_accepted || b.n_rejected;
}
