/* Ollama's store: manifests/HOST/NAMESPACE/NAME/TAG is JSON that lists layers by digest; the layer of type ".image.model" is a
 * GGUF file, blobs/sha256-HEX. Source: github.com/ollama/ollama/blob/main/docs/faq.mdx, and the manifests themselves, which
 * are those of the OCI distribution specification.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/json.h"
#include "cli/stores/stores_private.h"

enum { MAX_MANIFEST_BYTES = 1 << 20, DEPTH = 4 };

static const char store[] = "Ollama";
static const char model_type[] = "application/vnd.ollama.image.model";
static const char home_host[] = "registry.ollama.ai", home_namespace[] = "library";

/* "llama3.2:1b" where host and namespace are the usual ones, else as much before it as is not. */
static const char *name_of(struct stores *stores, const char *const parts[DEPTH])
{
	bool usual_host = strcmp(parts[0], home_host) == 0;
	bool usual_namespace = usual_host && strcmp(parts[1], home_namespace) == 0;
	if (usual_namespace)
		return stores_text(stores, "%s:%s", parts[2], parts[3]);
	if (usual_host)
		return stores_text(stores, "%s/%s:%s", parts[1], parts[2], parts[3]);
	return stores_text(stores, "%s/%s/%s:%s", parts[0], parts[1], parts[2], parts[3]);
}

/* A regular file of bounded size and no link: a manifest is nothing else. False, and *broken says what it is. */
static bool read_manifest(struct stores *stores, const char *path, struct bytes *text, const char **broken)
{
	struct stat info;
	char block[4096];
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
	ssize_t n = -1;
	if (fd < 0) {
		*broken = errno == ELOOP ? "its manifest is a link" : stores_text(stores, "its manifest: %s", strerror(errno));
		return false;
	}
	if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode))
		*broken = "its manifest is no regular file";
	else if (info.st_size > MAX_MANIFEST_BYTES)
		*broken = "its manifest is larger than a megabyte";
	else
		while ((n = read(fd, block, sizeof block)) > 0 && text->n_bytes <= MAX_MANIFEST_BYTES)
			bytes_append(text, block, (size_t)n);
	if (n < 0 && !*broken)
		*broken = "its manifest cannot be read";
	close(fd);
	return !*broken && !text->failed;
}

/* The hexadecimal digits of the model's digest, in the document; NULL, and *broken says why. */
static const char *digest_of_model(const struct json *manifest, const char **broken)
{
	const struct json *layers = json_get(manifest, "layers");
	for (const struct json *layer = json_first(layers); layer; layer = json_next(layer)) {
		const char *type = json_string(json_get(layer, "mediaType"), NULL);
		const char *digest = json_string(json_get(layer, "digest"), NULL);
		struct digest unused;
		if (!type || strcmp(type, model_type) != 0)
			continue;
		if (digest && strncmp(digest, "sha256:", 7) == 0 && digest_read(digest + 7, &unused))
			return digest + 7;
		*broken = "its manifest names the model by something else than sha256: and 64 digits";
		return NULL;
	}
	*broken = "its manifest has no layer that is a model";
	return NULL;
}

static void add_manifest(struct stores *stores, const char *models, const char *path, const char *const parts[DEPTH])
{
	struct json_limits limits = {.allow_duplicates = true, .max_values = 10000};
	struct error error = {0};
	struct bytes text = {0};
	const char *broken = NULL, *blob = NULL;
	struct json *manifest = NULL;
	if (read_manifest(stores, path, &text, &broken)) {
		manifest = json_parse(text.data ? text.data : "", text.n_bytes, &limits, &error);
		const char *hex = manifest ? digest_of_model(manifest, &broken) : NULL;
		if (!manifest)
			broken = stores_text(stores, "its manifest: %s", error.message);
		blob = hex ? stores_text(stores, "%s/blobs/sha256-%s", models, hex) : NULL;
	}
	if (blob && !stores_is_file(blob)) {
		broken = stores_text(stores, "its blob %.19s... is not there: it was not fetched to its end",
		                     strrchr(blob, '/') + 1);
		blob = NULL;
	}
	stores_add(stores, store, name_of(stores, parts), blob,
	           blob     ? NULL
	           : broken ? broken
	                    : "no memory for its manifest");
	json_destroy(manifest);
	bytes_free(&text);
}

/* HOST/NAMESPACE/NAME/TAG: so deep, and no deeper. */
static void walk(struct stores *stores, const char *models, const char *directory, const char *parts[DEPTH], int depth)
{
	size_t n;
	const char **names = stores_list(stores, directory, depth == 0, &n);
	for (size_t i = 0; names && i < n; i++) {
		const char *path = stores_text(stores, "%s/%s", directory, names[i]);
		parts[depth] = names[i];
		if (depth + 1 < DEPTH)
			walk(stores, models, path, parts, depth + 1);
		else
			add_manifest(stores, models, path, parts);
	}
}

void stores_add_ollama(struct stores *stores, const char *models)
{
	const char *parts[DEPTH];
	walk(stores, models, stores_text(stores, "%s/manifests", models), parts, 0);
}
