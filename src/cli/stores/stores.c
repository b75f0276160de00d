/* Where models are looked for, and how one is chosen by name (stores.h). */
#include "cli/stores/stores.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/option_values.h"
#include "cli/stores/stores_private.h"

enum { MAX_NAMES = 100000 };

/* ---- pieces ---- */

const char *stores_text(struct stores *stores, const char *format, ...)
{
	char *made = NULL;
	va_list arguments;
	va_start(arguments, format);
	int n = vasprintf(&made, format, arguments);
	va_end(arguments);
	const char *kept = n >= 0 ? arena_strdup(&stores->arena, made, (size_t)n) : NULL;
	free(n >= 0 ? made : NULL);
	stores->failed |= !kept;
	return kept ? kept : "";
}

void stores_add(struct stores *stores, const char *store, const char *name, const char *path, const char *broken)
{
	if (stores->n == STORES_MAX_MODELS)
		return;
	if (stores->n == stores->capacity) {
		size_t capacity = stores->capacity ? 2 * stores->capacity : 32;
		struct stored_model *grown = realloc(stores->models, capacity * sizeof *grown);
		if (!grown) {
			stores->failed = true;
			return;
		}
		stores->models = grown;
		stores->capacity = capacity;
	}
	stores->models[stores->n++] = (struct stored_model){.store = store, .name = name, .path = path, .broken = broken};
}

static int compare_texts(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

const char **stores_list(struct stores *stores, const char *directory, bool follow, size_t *n)
{
	int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC | (follow ? 0 : O_NOFOLLOW));
	DIR *entries = fd >= 0 ? fdopendir(fd) : NULL;
	const char **names = NULL;
	size_t capacity = 0;
	*n = 0;
	if (!entries) {
		if (fd >= 0)
			close(fd);
		return NULL;
	}
	for (const struct dirent *entry; (entry = readdir(entries)) != NULL && *n < MAX_NAMES;) {
		if (entry->d_name[0] == '.')
			continue;
		if (*n == capacity) {
			const char **grown = arena_array(&stores->arena, capacity ? 2 * capacity : 16, sizeof *grown);
			if (!grown)
				break;
			if (*n)
				memcpy(grown, names, *n * sizeof *grown);
			names = grown;
			capacity = capacity ? 2 * capacity : 16;
		}
		names[(*n)++] = stores_text(stores, "%s", entry->d_name);
	}
	closedir(entries);
	if (*n)
		qsort(names, *n, sizeof *names, compare_texts);
	static const char *nothing[1];
	return names ? names : nothing;
}

bool stores_is_directory(const char *path)
{
	struct stat info;
	return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

bool stores_is_file(const char *path)
{
	struct stat info;
	return stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

bool stores_ends_with(const char *name, const char *suffix)
{
	size_t n = strlen(name), n_suffix = strlen(suffix);
	return n > n_suffix && strcasecmp(name + n - n_suffix, suffix) == 0;
}

bool stores_is_later_part(const char *name)
{
	unsigned part, parts;
	int end = 0;
	for (const char *at = name; (at = strchr(at, '-')) != NULL; at++)
		if (sscanf(at, "-%5u-of-%5u%n", &part, &parts, &end) == 2 && end == 15 && at[end] == '.')
			return part != 1;
	return false;
}

/* ---- where ---- */

static void look_at(struct stores *stores, const char *store, const char *path,
                    void (*add)(struct stores *, const char *))
{
	for (int i = 0; i < stores->n_places; i++)
		if (strcmp(stores->places[i].path, path) == 0)
			return;
	if (stores->n_places == STORES_MAX_PLACES)
		return;
	stores->places[stores->n_places].store = store;
	stores->places[stores->n_places].path = path;
	stores->places[stores->n_places++].there = stores_is_directory(path);
	add(stores, path);
}

static void add_lm_studio(struct stores *stores, const char *folder)
{
	stores_add_folder(stores, "LM Studio", folder);
}

static void add_models_dir(struct stores *stores, const char *folder)
{
	stores_add_folder(stores, "folder", folder);
}

/* A variable's value, unless it is empty. */
static const char *variable(const char *name)
{
	const char *value = getenv(name);
	return value && *value ? value : NULL;
}

/* As `~` has it: HOME, or what the system knows of this user. */
static const char *home_of_user(void)
{
	const char *home = variable("HOME");
	const struct passwd *user = home ? NULL : getpwuid(getuid());
	return user ? user->pw_dir : home ? home : "";
}

/* Where huggingface_hub keeps what it fetched. */
static const char *hub_directory(struct stores *stores, const char *home)
{
	const char *hub = variable("HF_HUB_CACHE"), *older = variable("HUGGINGFACE_HUB_CACHE");
	const char *hf_home = variable("HF_HOME"), *cache = variable("XDG_CACHE_HOME");
	if (hub || older)
		return hub ? hub : older;
	if (hf_home)
		return stores_text(stores, "%s/hub", hf_home);
	return cache ? stores_text(stores, "%s/huggingface/hub", cache)
	             : stores_text(stores, "%s/.cache/huggingface/hub", home);
}

static int compare_models(const void *a, const void *b)
{
	const struct stored_model *one = a, *other = b;
	int order = strcasecmp(one->name, other->name);
	return order ? order : strcmp(one->store, other->store);
}

bool stores_find(struct stores *stores, const char *models_dir, struct error *error)
{
	const char *home = home_of_user();
	errno = ENOTDIR; /* unless stat knows better */
	if (models_dir && !stores_is_directory(models_dir))
		return error_set(error, ERROR_USAGE, "--models-dir %.200s: %s", models_dir, strerror(errno));
	if (models_dir)
		look_at(stores, "folder", models_dir, add_models_dir);
	look_at(stores, "Hugging Face", hub_directory(stores, home), stores_add_hugging_face);
	if (variable("OLLAMA_MODELS"))
		look_at(stores, "Ollama", variable("OLLAMA_MODELS"), stores_add_ollama);
	look_at(stores, "Ollama", stores_text(stores, "%s/.ollama/models", home), stores_add_ollama);
	look_at(stores, "Ollama", "/usr/share/ollama/.ollama/models", stores_add_ollama);
	look_at(stores, "LM Studio", stores_text(stores, "%s/.lmstudio/models", home), add_lm_studio);
	look_at(stores, "LM Studio", stores_text(stores, "%s/.cache/lm-studio/models", home), add_lm_studio);
	if (stores->failed)
		return error_set(error, ERROR_MEMORY, "no memory for the names of models");
	if (stores->n)
		qsort(stores->models, stores->n, sizeof *stores->models, compare_models);
	return true;
}

void stores_free(struct stores *stores)
{
	arena_free(&stores->arena);
	free(stores->models);
	*stores = (struct stores){0};
}

/* ---- by name ---- */

enum fitting { FITS_ENTIRELY, FITS_LATEST, FITS_END, FITS_CASE, N_FITTING };

static bool fits(const char *known, const char *asked, enum fitting how)
{
	size_t n_known = strlen(known), n_asked = strlen(asked);
	switch (how) {
	case FITS_ENTIRELY:
		return strcmp(known, asked) == 0;
	case FITS_LATEST:
		return n_known == n_asked + 7 && strncmp(known, asked, n_asked) == 0 && strcmp(known + n_asked, ":latest") == 0;
	case FITS_END:
		return n_known > n_asked && known[n_known - n_asked - 1] == '/' &&
		       strcmp(known + n_known - n_asked, asked) == 0;
	default:
		return strcasecmp(known, asked) == 0 || (n_known > n_asked && known[n_known - n_asked - 1] == '/' &&
		                                         strcasecmp(known + n_known - n_asked, asked) == 0);
	}
}

const struct stored_model *stores_choose(const struct stores *stores, const char *name, int *n_fitting)
{
	const struct stored_model *first = NULL;
	*n_fitting = 0;
	for (int how = 0; how < N_FITTING && *name && !first; how++) {
		for (size_t i = 0; i < stores->n; i++) {
			if (!fits(stores->models[i].name, name, (enum fitting)how))
				continue;
			first = first ? first : &stores->models[i];
			++*n_fitting;
		}
	}
	return first;
}

static const char *lower(const char *text, char out[64])
{
	size_t i = 0;
	for (; i < 63 && text[i]; i++)
		out[i] = (char)tolower((unsigned char)text[i]);
	out[i] = '\0';
	return out;
}

/* How far a name is from what was asked for: all of it, or its last part. */
static int distance(const char *known, const char *asked)
{
	char a[64], b[64], c[64];
	const char *slash = strrchr(known, '/');
	int whole = edit_distance(lower(known, a), lower(asked, b));
	int last = slash ? edit_distance(lower(slash + 1, c), b) : whole;
	return strstr(a, b) ? 0 : whole < last ? whole : last;
}

int stores_nearest(const struct stores *stores, const char *name, const char **out, int n)
{
	int found = 0;
	for (size_t i = 0; i < stores->n; i++) {
		int at = found < n ? found++ : n;
		while (at > 0 && distance(stores->models[i].name, name) < distance(out[at - 1], name)) {
			if (at < n)
				out[at] = out[at - 1];
			at--;
		}
		if (at < n)
			out[at] = stores->models[i].name;
	}
	return found;
}
