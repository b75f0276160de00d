#include "model/pooling.h"

#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "tensor/gguf.h"

enum { MAX_CONFIG_BYTES = 1 << 20 };

static const char *refuse(struct error *error, const char *path, const char *wanted)
{
	error_set(error, ERROR_MODEL, "%s: wants pooling %.60s; there are none, mean, cls and last", path, wanted);
	return NULL;
}

/* Numbers as gguf-py's PoolingType has them. */
static const char *of_gguf(const struct gguf_file *gguf, struct error *error)
{
	static const char *const names[] = {"none", "mean", "cls", "last"};
	const char *architecture = "";
	size_t n_architecture = 0;
	char key[128];
	uint64_t type = UINT64_MAX;
	if (!gguf_string(gguf, "general.architecture", &architecture, &n_architecture, error))
		return NULL;
	snprintf(key, sizeof key, "%.*s.pooling_type", (int)(n_architecture < 80 ? n_architecture : 80), architecture);
	if (!gguf_u64(gguf, key, &type, error))
		return NULL;
	if (type == UINT64_MAX)
		return "";
	return type < sizeof names / sizeof *names ? names[type] : refuse(error, gguf_path(gguf), "of another type (rank)");
}

/* Older files have a flag for each mode, newer ones `pooling_mode` with its name. */
static const char *of_json(const struct json *config, const char *path, struct error *error)
{
	static const char *const modes[][2] = {
	    {"pooling_mode_mean_tokens", "mean"}, {"pooling_mode_cls_token", "cls"}, {"pooling_mode_lasttoken", "last"}};
	static const char prefix[] = "pooling_mode";
	const char *found = "";
	for (const struct json *member = json_first(config); member; member = json_next(member)) {
		const char *key = json_key(member, NULL), *name = NULL, *text = json_string(member, NULL);
		bool flag = false;
		if (strncmp(key, prefix, sizeof prefix - 1) != 0 || (!text && (!json_bool(member, &flag) || !flag)))
			continue;
		for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
			if (strcmp(key, modes[i][0]) == 0 ||
			    (text && (strcmp(text, modes[i][1]) == 0 ||
			              (strcmp(text, "lasttoken") == 0 && strcmp(modes[i][1], "last") == 0))))
				name = modes[i][1];
		if (!name)
			return refuse(error, path, text ? text : key);
		if (*found && strcmp(found, name) != 0)
			return refuse(error, path, "of several kinds at once");
		found = name;
	}
	return found;
}

const char *model_pooling(const struct model_files *files, struct error *error)
{
	const struct gguf_file *gguf = model_files_gguf(files);
	if (gguf)
		return of_gguf(gguf, error);
	const char *path = model_files_find(files, MODEL_POOLING);
	if (!path)
		return "";
	static const struct json_limits limits = {.max_values = 1000, .allow_duplicates = true};
	struct json *config = json_parse_file(path, MAX_CONFIG_BYTES, &limits, error);
	if (!config)
		return NULL;
	const char *pooling = of_json(config, path, error);
	json_destroy(config);
	return pooling;
}
