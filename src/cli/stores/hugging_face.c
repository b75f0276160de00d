/* The cache of huggingface_hub: models--ORG--NAME/refs/main names a directory of snapshots/, whose files link to blobs/.
 * Source: huggingface.co/docs/huggingface_hub/guides/manage-cache */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/stores/stores_private.h"

enum { COMMIT_BYTES = 128 };

static const char store[] = "Hugging Face";

/* "models--org--name" as "org/name". */
static const char *repository_of(struct stores *stores, const char *folder)
{
	const char *name = folder + strlen("models--");
	const char *dashes = strstr(name, "--");
	return dashes ? stores_text(stores, "%.*s/%s", (int)(dashes - name), name, dashes + 2) : name;
}

/* The commit that a ref names: the name of a directory, and no way out of it. False: there is none. */
static bool read_ref(const char *path, char commit[COMMIT_BYTES])
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
	ssize_t n = fd >= 0 ? read(fd, commit, COMMIT_BYTES - 1) : -1;
	if (fd >= 0)
		close(fd);
	if (n <= 0)
		return false;
	commit[n] = '\0';
	commit[strcspn(commit, "\r\n")] = '\0';
	size_t length = strspn(commit, "0123456789abcdefABCDEF");
	return length > 0 && commit[length] == '\0';
}

/* The snapshot that counts: main's, or the only one. NULL, and *broken says why. */
static const char *snapshot_of(struct stores *stores, const char *repository, const char **broken)
{
	char commit[COMMIT_BYTES];
	size_t n;
	const char *snapshots = stores_text(stores, "%s/snapshots", repository);
	if (read_ref(stores_text(stores, "%s/refs/main", repository), commit)) {
		const char *path = stores_text(stores, "%s/%s", snapshots, commit);
		if (stores_is_directory(path))
			return path;
		*broken = "refs/main names a snapshot that is not there: it was not fetched to its end";
		return NULL;
	}
	const char **names = stores_list(stores, snapshots, true, &n);
	if (names && n == 1)
		return stores_text(stores, "%s/%s", snapshots, names[0]);
	*broken = names && n > 1 ? "refs/main is missing, and there are several snapshots" : "there is no snapshot";
	return NULL;
}

/* GGUF files each by itself, SafeTensors as one model. */
static void add_snapshot(struct stores *stores, const char *repository, const char *snapshot)
{
	size_t n, n_found = 0;
	bool tensors = false, any = false;
	const char **names = stores_list(stores, snapshot, true, &n);
	for (size_t i = 0; names && i < n; i++) {
		any = true;
		tensors |= stores_ends_with(names[i], ".safetensors") || stores_ends_with(names[i], ".safetensors.index.json");
		if (!stores_ends_with(names[i], ".gguf") || stores_is_later_part(names[i]))
			continue;
		n_found++;
		stores_add(stores, store, stores_text(stores, "%s/%s", repository, names[i]),
		           stores_text(stores, "%s/%s", snapshot, names[i]), NULL);
	}
	if (tensors)
		stores_add(stores, store, repository, snapshot, NULL);
	else if (n_found == 0)
		stores_add(stores, store, repository, NULL,
		           any ? "has neither SafeTensors nor GGUF files" : "its snapshot is empty");
}

void stores_add_hugging_face(struct stores *stores, const char *hub)
{
	size_t n;
	const char **names = stores_list(stores, hub, true, &n);
	for (size_t i = 0; names && i < n; i++) {
		if (strncmp(names[i], "models--", 8) != 0 || !names[i][8])
			continue;
		const char *broken = NULL;
		const char *repository = repository_of(stores, names[i]);
		const char *snapshot = snapshot_of(stores, stores_text(stores, "%s/%s", hub, names[i]), &broken);
		if (snapshot)
			add_snapshot(stores, repository, snapshot);
		else
			stores_add(stores, store, repository, NULL, broken);
	}
}
