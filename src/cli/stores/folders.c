/* Folders of models, as LM Studio and people keep them: GGUF files, and folders in the form of transformers. */
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/stores/stores_private.h"

enum { MAX_DEPTH = 5 };

/* The directories on the way to here: a link back to one of them leads round. */
struct way {
	const struct way *before;
	dev_t device;
	ino_t inode;
};

static bool leads_round(const struct way *way, const struct stat *info)
{
	for (; way; way = way->before)
		if (way->device == info->st_dev && way->inode == info->st_ino)
			return true;
	return false;
}

static bool has_file(struct stores *stores, const char *folder, const char *name)
{
	return stores_is_file(stores_text(stores, "%s/%s", folder, name));
}

/* A folder that is a model: its files of weights are no models by themselves. */
static bool is_model(struct stores *stores, const char *folder, const char **names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (stores_ends_with(names[i], ".safetensors") || stores_ends_with(names[i], ".safetensors.index.json"))
			return has_file(stores, folder, "config.json");
	return false;
}

static void walk(struct stores *stores, const char *store, const char *folder, const char *name,
                 const struct way *before, int depth)
{
	struct stat info;
	size_t n;
	if (stat(folder, &info) != 0 || leads_round(before, &info))
		return;
	const struct way here = {before, info.st_dev, info.st_ino};
	const char **names = stores_list(stores, folder, true, &n);
	if (names && is_model(stores, folder, names, n))
		stores_add(stores, store,
		           *name ? name : stores_text(stores, "%s", strrchr(folder, '/') ? strrchr(folder, '/') + 1 : folder),
		           folder, NULL);
	for (size_t i = 0; names && i < n; i++) {
		const char *path = stores_text(stores, "%s/%s", folder, names[i]);
		const char *below = *name ? stores_text(stores, "%s/%s", name, names[i]) : names[i];
		bool projector = strncmp(names[i], "mmproj", 6) == 0; /* of pictures: no model by itself */
		if (stores_is_directory(path) && depth + 1 < MAX_DEPTH)
			walk(stores, store, path, below, &here, depth + 1);
		else if (stores_ends_with(names[i], ".gguf") && !stores_is_later_part(names[i]) && !projector)
			stores_add(stores, store, below, path, NULL);
	}
}

void stores_add_folder(struct stores *stores, const char *store, const char *folder)
{
	size_t n;
	const char **names = stores_list(stores, folder, true, &n);
	bool hub = false;
	for (size_t i = 0; names && i < n; i++)
		hub |= strncmp(names[i], "models--", 8) == 0;
	if (hub)
		stores_add_hugging_face(stores, folder);
	else if (names && stores_is_directory(stores_text(stores, "%s/manifests", folder)) &&
	         stores_is_directory(stores_text(stores, "%s/blobs", folder)))
		stores_add_ollama(stores, folder);
	else
		walk(stores, store, folder, "", NULL, 0);
}
