/* Which files a path means. What is in them is not looked at beyond their first bytes, but for GGUF, which is opened. */
#include "tensor/model_files.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/arena.h"
#include "tensor/file_kind.h"
#include "tensor/gguf.h"
#include "tensor/mapped_file.h"

struct model_files {
	struct arena arena; /* the paths */
	const char *path, *directory;
	const char *expected[MODEL_FILE_COUNT]; /* NULL of a GGUF model */
	bool found[MODEL_FILE_COUNT];
	struct weights_place weights;
	struct gguf_file *gguf;
};

static const char *const file_names[MODEL_FILE_COUNT] = {
    [MODEL_CONFIG] = "config.json",
    [MODEL_GENERATION_CONFIG] = "generation_config.json",
    [MODEL_TOKENIZER] = "tokenizer.json",
    [MODEL_TOKENIZER_CONFIG] = "tokenizer_config.json",
    [MODEL_SPECIAL_TOKENS_MAP] = "special_tokens_map.json",
    [MODEL_ADDED_TOKENS] = "added_tokens.json",
    [MODEL_POOLING] = "1_Pooling/config.json",
    [MODEL_CHAT_TEMPLATE] = "chat_template.jinja",
    [MODEL_CHAT_TEMPLATE_JSON] = "chat_template.json",
};

static bool no_memory(struct error *error)
{
	return error_set(error, ERROR_MEMORY, "no memory for the names of the model's files");
}

/* A broken link is no file; what cannot be looked at is one, and opening it will say why. */
static bool exists(const char *path)
{
	struct stat info;
	return stat(path, &info) == 0 || errno != ENOENT;
}

static const char *join_path(struct model_files *files, const char *directory, const char *name, struct error *error)
{
	size_t n = strlen(directory) + strlen(name) + 2;
	char *path = arena_alloc(&files->arena, n);
	if (path)
		snprintf(path, n, "%s/%s", directory, name);
	else
		no_memory(error);
	return path;
}

/* ---- directories ---- */

/* Names of files that may be the model. */
struct candidates {
	int n_safetensors, n_gguf;
	const char *safetensors;      /* the first that was met */
	const char *gguf, *next_gguf; /* the first two */
};

/* "m-00002-of-00003.gguf" and the like: found through the first. */
static bool is_later_part(const char *name)
{
	static const char form[] = "-#####-of-#####";
	const char *dot = strrchr(name, '.');
	size_t n = dot ? (size_t)(dot - name) : strlen(name), n_form = sizeof form - 1;
	if (n <= n_form)
		return false;
	const char *tail = name + n - n_form;
	for (size_t i = 0; i < n_form; i++)
		if (form[i] == '#' ? tail[i] < '0' || tail[i] > '9' : tail[i] != form[i])
			return false;
	return strncmp(tail + 1, "00001", 5) != 0;
}

static bool add_candidate(struct model_files *files, const char *directory, const char *name,
                          struct candidates *candidates, struct error *error)
{
	const char *path = join_path(files, directory, name, error);
	if (!path)
		return false;
	enum file_kind kind = file_kind(path);
	if (kind == KIND_SAFETENSORS && candidates->n_safetensors++ == 0)
		candidates->safetensors = path;
	if (kind == KIND_GGUF && !is_later_part(name)) {
		const char **place = candidates->n_gguf == 0 ? &candidates->gguf : &candidates->next_gguf;
		if (candidates->n_gguf++ < 2)
			*place = path;
	}
	return true;
}

static bool list_candidates(struct model_files *files, const char *directory, struct candidates *candidates,
                            struct error *error)
{
	DIR *entries = opendir(directory);
	if (!entries)
		return error_set(error, ERROR_MODEL, "%s: %s", directory, strerror(errno));
	bool ok = true;
	for (const struct dirent *entry; ok && (entry = readdir(entries)) != NULL;)
		if (entry->d_name[0] != '.' && entry->d_type != DT_DIR)
			ok = add_candidate(files, directory, entry->d_name, candidates, error);
	closedir(entries);
	return ok;
}

static const char *last_part(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

static bool find_in_directory(struct model_files *files, const char *directory, struct error *error)
{
	struct candidates candidates = {0};
	const char *single = join_path(files, directory, "model.safetensors", error);
	const char *index = single ? join_path(files, directory, "model.safetensors.index.json", error) : NULL;
	if (!index)
		return false;
	if (exists(single)) {
		files->weights = (struct weights_place){WEIGHTS_SAFETENSORS, single, 1};
		return true;
	}
	if (exists(index)) {
		files->weights = (struct weights_place){WEIGHTS_INDEX, index, 1};
		return true;
	}
	if (!list_candidates(files, directory, &candidates, error))
		return false;
	int n = candidates.n_safetensors, n_gguf = candidates.n_gguf;
	if (n > 0)
		files->weights = n == 1 ? (struct weights_place){WEIGHTS_SAFETENSORS, candidates.safetensors, 1}
		                        : (struct weights_place){WEIGHTS_SEVERAL, directory, n};
	else if (n_gguf == 1)
		files->weights = (struct weights_place){WEIGHTS_GGUF, candidates.gguf, 1};
	else if (n_gguf > 1)
		return error_set(error, ERROR_MODEL,
		                 "%s: has %d GGUF models (%.80s, %.80s%s), expected one, or the file's path", directory, n_gguf,
		                 last_part(candidates.gguf), last_part(candidates.next_gguf), n_gguf > 2 ? ", ..." : "");
	return true;
}

/* ---- files ---- */

/* The directory of a path, in the arena. */
static const char *directory_of(struct model_files *files, const char *path, struct error *error)
{
	const char *slash = strrchr(path, '/');
	size_t n = !slash ? 1 : slash == path ? 1 : (size_t)(slash - path);
	const char *directory = arena_strdup(&files->arena, slash ? path : ".", n);
	if (!directory)
		no_memory(error);
	return directory;
}

/* Where a file's companions lie: beside it, or beside what it links to. */
static const char *companions_of(struct model_files *files, const char *path, struct error *error)
{
	const char *beside = directory_of(files, path, error);
	const char *config = beside ? join_path(files, beside, file_names[MODEL_CONFIG], error) : NULL;
	if (!config || exists(config))
		return config ? beside : NULL;
	char *target = realpath(path, NULL);
	const char *behind = target ? directory_of(files, target, error) : beside;
	config = behind ? join_path(files, behind, file_names[MODEL_CONFIG], error) : NULL;
	free(target);
	return !config ? NULL : exists(config) ? behind : beside;
}

static bool find_beside(struct model_files *files, const char *directory, struct error *error)
{
	for (int i = 0; i < MODEL_FILE_COUNT; i++) {
		files->expected[i] = join_path(files, directory, file_names[i], error);
		if (!files->expected[i])
			return false;
		files->found[i] = exists(files->expected[i]);
	}
	files->directory = directory;
	return true;
}

/* Of no kind: what cannot be mapped has a reason of its own. */
static bool refuse_file(const char *path, struct error *error)
{
	struct mapped_file file;
	if (!mapped_file_open(path, &file, error))
		return false;
	mapped_file_close(&file);
	return error_set(error, ERROR_MODEL,
	                 "%s: its first bytes are those of no model; expected a directory, a .safetensors or a .gguf file",
	                 path);
}

static bool find_file(struct model_files *files, struct error *error)
{
	static const enum weights_form forms[] = {[KIND_SAFETENSORS] = WEIGHTS_SAFETENSORS,
	                                          [KIND_GGUF] = WEIGHTS_GGUF,
	                                          [KIND_INDEX] = WEIGHTS_INDEX,
	                                          [KIND_JSON] = WEIGHTS_NONE};
	enum file_kind kind = file_kind(files->path);
	if (kind == KIND_OTHER)
		return refuse_file(files->path, error);
	files->weights = (struct weights_place){forms[kind], files->path, kind != KIND_JSON};
	if (kind == KIND_GGUF)
		return true;
	const char *directory = companions_of(files, files->path, error);
	if (!directory || !find_beside(files, directory, error))
		return false;
	if (kind == KIND_JSON) { /* that one, and by itself */
		files->directory = NULL;
		memset(files->found, 0, sizeof files->found);
		files->expected[MODEL_TOKENIZER] = files->path;
		files->found[MODEL_TOKENIZER] = true;
	}
	return true;
}

static bool find_all(struct model_files *files, struct error *error)
{
	struct stat info;
	if (stat(files->path, &info) != 0)
		return error_set(error, ERROR_MODEL, "%s: %s", files->path, strerror(errno));
	if (!S_ISDIR(info.st_mode)) {
		if (!find_file(files, error))
			return false;
	} else {
		files->weights = (struct weights_place){WEIGHTS_NONE, files->path, 0};
		if (!find_in_directory(files, files->path, error))
			return false;
		if (files->weights.form != WEIGHTS_GGUF && !find_beside(files, files->path, error))
			return false;
	}
	if (files->weights.form == WEIGHTS_GGUF)
		files->gguf = gguf_open(files->weights.path, error);
	return files->weights.form != WEIGHTS_GGUF || files->gguf;
}

/* ---- the object ---- */

struct model_files *model_files_open(const char *path, struct error *error)
{
	struct model_files *files = calloc(1, sizeof *files);
	if (files)
		files->path = arena_strdup(&files->arena, path, strlen(path));
	bool ok = files && files->path ? find_all(files, error) : no_memory(error);
	if (ok)
		return files;
	model_files_close(files);
	return NULL;
}

void model_files_close(struct model_files *files)
{
	if (!files)
		return;
	gguf_close(files->gguf);
	arena_free(&files->arena);
	free(files);
}

const char *model_files_path(const struct model_files *files)
{
	return files->path;
}

const struct gguf_file *model_files_gguf(const struct model_files *files)
{
	return files->gguf;
}

const char *model_files_directory(const struct model_files *files)
{
	return files->directory;
}

const char *model_files_find(const struct model_files *files, enum model_file which)
{
	return files->found[which] ? files->expected[which] : NULL;
}

const char *model_files_expect(const struct model_files *files, enum model_file which)
{
	return files->expected[which];
}

const struct weights_place *model_files_weights(const struct model_files *files)
{
	return &files->weights;
}
