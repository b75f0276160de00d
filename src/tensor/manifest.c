/* Manifests of models (tensor/manifest.h). */
#include "tensor/manifest.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tensor/mapped_file.h"
#include "tensor/model_files.h"
#include "tensor/weight_file.h"

enum { PIECE_BYTES = 16 << 20, MAX_MANIFEST_BYTES = 64 << 20 };

static bool no_memory(struct error *error)
{
	return error_set(error, ERROR_MEMORY, "no memory for the model's manifest");
}

/* ---- which files ---- */

static const char *last_part(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

/* The name of a path in the folder; what lies elsewhere (weights behind a link) has its last part. */
static const char *name_in(const char *folder, const char *path)
{
	size_t n = folder ? strlen(folder) : 0;
	return n && strncmp(path, folder, n) == 0 && path[n] == '/' ? path + n + 1 : last_part(path);
}

static bool add_file(struct manifest *manifest, const char *folder, const char *path, const void *data,
                     uint64_t n_bytes, struct error *error)
{
	if (manifest->n_files == manifest->capacity) {
		size_t capacity = manifest->capacity ? 2 * manifest->capacity : 16;
		struct manifest_file *grown = realloc(manifest->files, capacity * sizeof *grown);
		if (!grown)
			return no_memory(error);
		manifest->files = grown;
		manifest->capacity = capacity;
	}
	if (strchr(name_in(folder, path), '\n'))
		return error_set(error, ERROR_MODEL, "%.300s: a name with a line's end cannot stand in a manifest", path);
	const char *kept = arena_strdup(&manifest->arena, path, strlen(path));
	if (!kept)
		return no_memory(error);
	manifest->files[manifest->n_files++] =
	    (struct manifest_file){.name = name_in(folder, kept), .path = kept, .data = data, .n_bytes = n_bytes};
	return true;
}

/* One that is read by its path. */
static bool add_beside(struct manifest *manifest, const char *folder, const char *path, struct error *error)
{
	struct stat info;
	if (stat(path, &info) != 0)
		return error_set(error, ERROR_MODEL, "%s: %s", path, strerror(errno));
	return add_file(manifest, folder, path, NULL, (uint64_t)info.st_size, error);
}

/* additional_chat_templates/NAME.jinja */
static bool add_templates(struct manifest *manifest, const char *folder, struct error *error)
{
	static const char inner[] = "additional_chat_templates";
	struct bytes path = {0};
	bytes_append_format(&path, "%s/%s", folder, inner);
	DIR *entries = path.failed ? NULL : opendir(path.data);
	bool ok = !path.failed || no_memory(error);
	for (const struct dirent *entry; ok && entries && (entry = readdir(entries)) != NULL;) {
		size_t n = strlen(entry->d_name);
		if (n <= 6 || strcmp(entry->d_name + n - 6, ".jinja") != 0)
			continue;
		bytes_clear(&path);
		bytes_append_format(&path, "%s/%s/%s", folder, inner, entry->d_name);
		ok = path.failed ? no_memory(error) : add_beside(manifest, folder, path.data, error);
	}
	if (entries)
		closedir(entries);
	bytes_free(&path);
	return ok;
}

static int by_name(const void *left, const void *right)
{
	const struct manifest_file *a = left, *b = right;
	return strcmp(a->name, b->name);
}

static const char *folder_of(struct manifest *manifest, const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? arena_strdup(&manifest->arena, path, slash == path ? 1 : (size_t)(slash - path)) : ".";
}

bool manifest_list(struct manifest *manifest, const struct model_files *files, const struct weight_file *weights,
                   struct error *error)
{
	const char *folder = model_files_directory(files), *path;
	const struct weights_place *place = model_files_weights(files);
	const void *data;
	size_t n_bytes;
	manifest->where = model_files_path(files);
	manifest->folder = folder ? folder : folder_of(manifest, place->path);
	bool ok = manifest->folder || no_memory(error);
	for (size_t i = 0; ok && (path = weight_file_part(weights, i, &data, &n_bytes)); i++)
		ok = add_file(manifest, folder, path, data, n_bytes, error);
	if (ok && place->form == WEIGHTS_INDEX)
		ok = add_beside(manifest, folder, place->path, error);
	for (int which = 0; ok && !model_files_gguf(files) && which < MODEL_FILE_COUNT; which++)
		if ((path = model_files_find(files, (enum model_file)which)))
			ok = add_beside(manifest, folder, path, error);
	if (ok && folder && !model_files_gguf(files))
		ok = add_templates(manifest, folder, error);
	if (ok && manifest->n_files)
		qsort(manifest->files, manifest->n_files, sizeof *manifest->files, by_name);
	return ok;
}

void manifest_free(struct manifest *manifest)
{
	free(manifest->files);
	arena_free(&manifest->arena);
	*manifest = (struct manifest){0};
}

/* ---- digests ---- */

/* One file on its way through. */
struct reading {
	const unsigned char *data;
	uint64_t n_bytes, done;
	struct digest_state *state;
	struct mapped_file mapped; /* where it was not mapped before */
};

static void read_piece(void *context, int task, int worker)
{
	(void)worker;
	struct reading *reading = (struct reading *)context + task;
	uint64_t left = reading->n_bytes - reading->done, n = left < PIECE_BYTES ? left : PIECE_BYTES;
	if (n)
		digest_add(reading->state, reading->data + reading->done, (size_t)n);
	reading->done += n;
}

static bool begin_reading(struct manifest_file *file, struct reading *reading, struct error *error)
{
	*reading = (struct reading){.data = file->data, .n_bytes = file->n_bytes};
	if (!file->data) {
		if (!mapped_file_open(file->path, &reading->mapped, error))
			return false;
		reading->data = reading->mapped.data;
		reading->n_bytes = file->n_bytes = reading->mapped.n_bytes;
	}
	reading->state = digest_begin(error);
	return reading->state != NULL;
}

static bool tell_progress(const struct reading *readings, size_t n, uint64_t total, manifest_progress *progress,
                          void *context, struct error *error)
{
	uint64_t done = 0;
	for (size_t i = 0; i < n; i++)
		done += readings[i].done;
	return !progress || progress(context, done, total) || error_set(error, ERROR_CANCELLED, "reading was stopped");
}

static bool read_all(struct reading *readings, size_t n, struct pool *pool, manifest_progress *progress, void *context,
                     struct error *error)
{
	uint64_t longest = 0, total = 0;
	for (size_t i = 0; i < n; i++) {
		longest = readings[i].n_bytes > longest ? readings[i].n_bytes : longest;
		total += readings[i].n_bytes;
	}
	for (uint64_t done = 0; done < longest; done += PIECE_BYTES) {
		if (!tell_progress(readings, n, total, progress, context, error))
			return false;
		pool_run(pool, (int)n, read_piece, readings);
	}
	return true;
}

static bool digest_lines(struct manifest *manifest, struct error *error)
{
	struct bytes lines = {0};
	if (manifest->n_files == 1) {
		manifest->model = manifest->files[0].digest;
		return true;
	}
	manifest_write(manifest, &lines);
	bool ok = !lines.failed ? digest_of(lines.data ? lines.data : "", lines.n_bytes, &manifest->model, error)
	                        : no_memory(error);
	bytes_free(&lines);
	return ok;
}

bool manifest_digest(struct manifest *manifest, struct pool *pool, manifest_progress *progress, void *context,
                     struct error *error)
{
	size_t n = manifest->n_files, n_begun = 0;
	struct reading *readings = calloc(n + 1, sizeof *readings);
	if (!readings)
		return no_memory(error);
	bool ok = true;
	while (ok && n_begun < n)
		ok = begin_reading(&manifest->files[n_begun], &readings[n_begun], error), n_begun++;
	ok = ok && read_all(readings, n, pool, progress, context, error);
	for (size_t i = 0; i < n_begun; i++) {
		if (readings[i].state)
			digest_end(readings[i].state, &manifest->files[i].digest);
		mapped_file_close(&readings[i].mapped);
	}
	free(readings);
	/* A file that was cut meanwhile reads as zeros from there on: that has a reason of its own. */
	return ok && !mapped_lost(error) && digest_lines(manifest, error);
}

struct tensor_reading {
	const struct weight_file *weights;
	struct digest *out;
	bool *failed; /* [count] */
};

static void read_tensor(void *context, int task, int worker)
{
	(void)worker;
	const struct tensor_reading *reading = context;
	const struct tensor *tensor = weight_file_at(reading->weights, (size_t)task);
	struct error error;
	reading->failed[task] = !digest_of(tensor->data, tensor->n_bytes, &reading->out[task], &error);
}

bool manifest_tensors(const struct weight_file *weights, struct pool *pool, struct digest *out, struct error *error)
{
	size_t n = weight_file_count(weights);
	struct tensor_reading reading = {.weights = weights, .out = out, .failed = calloc(n + 1, sizeof(bool))};
	bool ok = reading.failed != NULL;
	if (ok)
		pool_run(pool, (int)n, read_tensor, &reading);
	for (size_t i = 0; ok && i < n; i++)
		ok = !reading.failed[i];
	free(reading.failed);
	return (ok || no_memory(error)) && !mapped_lost(error);
}

/* ---- text ---- */

void manifest_write(const struct manifest *manifest, struct bytes *out)
{
	char hex[DIGEST_HEX_BYTES];
	for (size_t i = 0; i < manifest->n_files; i++) {
		digest_write(&manifest->files[i].digest, hex);
		bytes_append_format(out, "%s  %s\n", hex, manifest->files[i].name);
	}
}

/* ---- is it that model? ---- */

static bool same(const struct digest *a, const struct digest *b)
{
	return memcmp(a->bytes, b->bytes, DIGEST_BYTES) == 0;
}

static bool check_digest(const struct manifest *manifest, const struct digest *expected, struct error *error)
{
	char is[DIGEST_HEX_BYTES], should[DIGEST_HEX_BYTES];
	if (same(&manifest->model, expected))
		return true;
	digest_write(&manifest->model, is);
	digest_write(expected, should);
	if (manifest->n_files == 1)
		return error_set(error, ERROR_MODEL, "%.200s: SHA-256 expected %s, is %s", manifest->files[0].path, should, is);
	for (size_t i = 0; i < manifest->n_files; i++)
		if (same(&manifest->files[i].digest, expected))
			return error_set(
			    error, ERROR_MODEL,
			    "%.120s: SHA-256 expected %s, which is that of %.60s alone; the model has %zu files, whose "
			    "manifest (tallow inspect --manifest) has %s",
			    manifest->where, should, manifest->files[i].name, manifest->n_files, is);
	return error_set(
	    error, ERROR_MODEL,
	    "%.120s: SHA-256 of the manifest of its %zu files expected %s, is %s; the manifest itself in place of "
	    "its digest (tallow inspect --manifest) tells which file differs",
	    manifest->where, manifest->n_files, should, is);
}

/* A line of a manifest, as sha256sum writes it. */
struct expected_line {
	const char *text;
	size_t n_text;
	struct digest digest;
	const char *name;
	size_t n_name;
};

/* False for what is no such line. */
static bool read_line(struct expected_line *line)
{
	char hex[DIGEST_HEX_BYTES];
	const char *text = line->text;
	size_t n = line->n_text, n_hex = DIGEST_HEX_BYTES - 1;
	if (n > 0 && text[n - 1] == '\r')
		n--;
	if (n < n_hex + 3 || text[n_hex] != ' ' || (text[n_hex + 1] != ' ' && text[n_hex + 1] != '*'))
		return false;
	memcpy(hex, text, n_hex);
	hex[n_hex] = 0;
	line->name = text + n_hex + 2;
	line->n_name = n - n_hex - 2;
	if (line->n_name > 2 && memcmp(line->name, "./", 2) == 0) {
		line->name += 2;
		line->n_name -= 2;
	}
	return !memchr(line->name, 0, line->n_name) && digest_read(hex, &line->digest);
}

static const struct manifest_file *find_file(const struct manifest *manifest, const struct expected_line *line,
                                             size_t *index)
{
	for (size_t i = 0; i < manifest->n_files; i++)
		if (strlen(manifest->files[i].name) == line->n_name &&
		    memcmp(manifest->files[i].name, line->name, line->n_name) == 0) {
			*index = i;
			return &manifest->files[i];
		}
	return NULL;
}

/* A file that the manifest has and the model does not read: it may be anything, but it has to be there, for a model that
 * lacks one (its chat template, say) is another. */
static bool check_unread(const struct manifest *manifest, const struct expected_line *line, const char *path,
                         struct error *error)
{
	struct stat info;
	struct bytes there = {0};
	bytes_append_format(&there, "%s/%.*s", manifest->folder, (int)line->n_name, line->name);
	bool ok = !there.failed ? stat(there.data, &info) == 0 ||
	                              error_set(error, ERROR_MODEL, "%.200s: expected by the manifest %.150s, is not there",
	                                        there.data, path)
	                        : no_memory(error);
	bytes_free(&there);
	return ok;
}

static bool check_line(const struct manifest *manifest, const struct expected_line *line, const char *path, bool *seen,
                       struct error *error)
{
	char is[DIGEST_HEX_BYTES], should[DIGEST_HEX_BYTES];
	size_t index;
	const struct manifest_file *file = find_file(manifest, line, &index);
	if (!file)
		return check_unread(manifest, line, path, error);
	seen[index] = true;
	if (same(&file->digest, &line->digest))
		return true;
	digest_write(&file->digest, is);
	digest_write(&line->digest, should);
	return error_set(error, ERROR_MODEL, "%.150s: SHA-256 expected %s (%.100s), is %s", file->path, should, path, is);
}

static bool check_lines(const struct manifest *manifest, const struct mapped_file *text, const char *path, bool *seen,
                        struct error *error)
{
	const char *at = text->data ? (const char *)text->data : "", *end = at + text->n_bytes;
	for (int number = 1; at < end; number++) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));
		struct expected_line line = {.text = at, .n_text = (size_t)((newline ? newline : end) - at)};
		at = newline ? newline + 1 : end;
		if (line.n_text == 0 || line.text[0] == '#')
			continue;
		if (!read_line(&line))
			return error_set(error, ERROR_USAGE,
			                 "--model-sha256 %.200s: line %d is none of a manifest (64 hex digits, two spaces, a name)",
			                 path, number);
		if (!check_line(manifest, &line, path, seen, error))
			return false;
	}
	for (size_t i = 0; i < manifest->n_files; i++)
		if (!seen[i])
			return error_set(error, ERROR_MODEL, "%.200s: is not in the manifest %.200s", manifest->files[i].path,
			                 path);
	return true;
}

bool manifest_check(const struct manifest *manifest, const char *expected, struct error *error)
{
	struct digest digest;
	struct mapped_file text;
	struct error cause;
	if (digest_read(expected, &digest))
		return check_digest(manifest, &digest, error);
	if (!mapped_file_open(expected, &text, &cause))
		return error_set(error, cause.code == ERROR_MEMORY ? ERROR_MEMORY : ERROR_USAGE,
		                 "--model-sha256 is neither 64 hex digits nor a manifest: %.300s", cause.message);
	bool *seen = calloc(manifest->n_files + 1, sizeof *seen);
	bool ok;
	if (!seen)
		ok = no_memory(error);
	else if (text.n_bytes > MAX_MANIFEST_BYTES)
		ok = error_set(error, ERROR_USAGE, "--model-sha256 %.200s: %zu bytes are no manifest", expected, text.n_bytes);
	else
		ok = check_lines(manifest, &text, expected, seen, error);
	free(seen);
	mapped_file_close(&text);
	return ok;
}
