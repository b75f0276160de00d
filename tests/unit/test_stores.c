/* cli/stores: models in stores of other programs, made up in a folder; what is damaged or hostile is a row with its reason. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "cli/stores/stores.h"

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define MANIFEST(digest)                                                                                               \
	"{\"schemaVersion\":2,\"layers\":[{\"mediaType\":\"application/vnd.ollama.image.license\"},"                       \
	"{\"mediaType\":\"application/vnd.ollama.image.model\",\"digest\":\"" digest "\",\"size\":4}]}"

static char root[64];

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *place)
{
	(void)info, (void)type, (void)place;
	return remove(path);
}

static int make_root(void **state)
{
	(void)state;
	strcpy(root, "/tmp/tallow-test-XXXXXX");
	assert_non_null(mkdtemp(root));
	return 0;
}

static int remove_root(void **state)
{
	(void)state;
	return nftw(root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* A path below the root, good for the next 7 calls. */
static const char *at(const char *name)
{
	static char paths[8][1024];
	static unsigned next;
	char *path = paths[next++ % 8];
	snprintf(path, sizeof paths[0], "%s/%s", root, name);
	return path;
}

/* With the directories on the way to it. */
static void write_file(const char *name, const void *data, size_t n_bytes)
{
	char path[1024];
	snprintf(path, sizeof path, "%s", at(name));
	for (char *slash = path + strlen(root) + 1; (slash = strchr(slash, '/')) != NULL; *slash++ = '/') {
		*slash = '\0';
		mkdir(path, 0700);
	}
	FILE *file = fopen(path, "wb");
	assert_non_null(file);
	assert_int_equal(fwrite(data, 1, n_bytes, file), n_bytes);
	assert_int_equal(fclose(file), 0);
}

static void write_text(const char *name, const char *text)
{
	write_file(name, text, strlen(text));
}

static void make_link(const char *target, const char *name)
{
	write_text(name, "");
	assert_int_equal(unlink(at(name)), 0);
	assert_int_equal(symlink(target, at(name)), 0);
}

static const struct stored_model *row(const struct stores *stores, const char *name)
{
	for (size_t i = 0; i < stores->n; i++)
		if (strcmp(stores->models[i].name, name) == 0)
			return &stores->models[i];
	fail_msg("%s is not listed", name);
	return NULL;
}

static void expect_path(const struct stores *stores, const char *name, const char *path)
{
	const struct stored_model *model = row(stores, name);
	if (!model->path)
		fail_msg("%s: %s", name, model->broken);
	assert_string_equal(model->path, at(path));
	assert_null(model->broken);
}

static void expect_broken(const struct stores *stores, const char *name, const char *says)
{
	const struct stored_model *model = row(stores, name);
	assert_null(model->path);
	assert_non_null(model->broken);
	if (!strstr(model->broken, says))
		fail_msg("%s: says: %s\n  not: %s", name, model->broken, says);
}

/* ---- Hugging Face ---- */

static void a_cache_is_read_by_its_refs(void **state)
{
	(void)state;
	struct stores stores = {0};
	write_text("hub/models--org--bert/refs/main", "abc123\n");
	write_text("hub/models--org--bert/snapshots/abc123/model.safetensors", "x");
	write_text("hub/models--org--bert/snapshots/0001/model.safetensors", "older");
	write_text("hub/models--org--some--gguf/refs/main", "ff");
	write_text("hub/models--org--some--gguf/snapshots/ff/a.Q4_K_M.gguf", "GGUF");
	write_text("hub/models--org--some--gguf/snapshots/ff/B-00001-of-00002.GGUF", "GGUF");
	write_text("hub/models--org--some--gguf/snapshots/ff/B-00002-of-00002.GGUF", "GGUF");
	write_text("hub/models--gpt2/snapshots/01/model-00001-of-00002.safetensors", "x"); /* no refs, one snapshot */
	write_text("hub/datasets--org--words/refs/main", "abc");
	write_text("hub/version.txt", "1");
	stores_add_hugging_face(&stores, at("hub"));
	assert_int_equal(stores.n, 4);
	expect_path(&stores, "org/bert", "hub/models--org--bert/snapshots/abc123");
	expect_path(&stores, "org/some--gguf/a.Q4_K_M.gguf", "hub/models--org--some--gguf/snapshots/ff/a.Q4_K_M.gguf");
	expect_path(&stores, "org/some--gguf/B-00001-of-00002.GGUF",
	            "hub/models--org--some--gguf/snapshots/ff/B-00001-of-00002.GGUF");
	expect_path(&stores, "gpt2", "hub/models--gpt2/snapshots/01");
	stores_free(&stores);
}

static void damaged_caches_are_rows(void **state)
{
	(void)state;
	struct stores stores = {0};
	write_text("hub/models--a--lost/refs/main", "abc");
	write_text("hub/models--a--none/x", "");
	write_text("hub/models--a--two/snapshots/01/model.safetensors", "");
	write_text("hub/models--a--two/snapshots/02/model.safetensors", "");
	write_text("hub/models--a--out/refs/main", "../../../secret");
	write_text("secret/model.safetensors", "");
	make_link("/dev/zero", "hub/models--a--zero/refs/main");
	write_text("hub/models--a--words/refs/main", "01");
	write_text("hub/models--a--words/snapshots/01/README.md", "");
	assert_int_equal(mkdir(at("hub/models--a--fifo"), 0700), 0);
	assert_int_equal(mkdir(at("hub/models--a--fifo/refs"), 0700), 0);
	assert_int_equal(mkfifo(at("hub/models--a--fifo/refs/main"), 0600), 0); /* nobody waits for a writer */
	stores_add_hugging_face(&stores, at("hub"));
	assert_int_equal(stores.n, 7);
	expect_broken(&stores, "a/lost", "not fetched to its end");
	expect_broken(&stores, "a/none", "there is no snapshot");
	expect_broken(&stores, "a/two", "there are several snapshots");
	expect_broken(&stores, "a/out", "there is no snapshot");
	expect_broken(&stores, "a/zero", "there is no snapshot");
	expect_broken(&stores, "a/words", "neither SafeTensors nor GGUF");
	expect_broken(&stores, "a/fifo", "there is no snapshot");
	stores_free(&stores);
}

/* ---- Ollama ---- */

#define MANIFESTS "ollama/manifests/registry.ollama.ai/library/"

static void manifests_lead_to_blobs(void **state)
{
	(void)state;
	struct stores stores = {0};
	write_text("ollama/blobs/sha256-" HEX, "GGUF");
	write_text(MANIFESTS "llama3.2/latest", MANIFEST("sha256:" HEX));
	write_text("ollama/manifests/registry.ollama.ai/me/mine/7b", MANIFEST("sha256:" HEX));
	write_text("ollama/manifests/hf.co/org/name-GGUF/Q8_0", MANIFEST("sha256:" HEX));
	stores_add_ollama(&stores, at("ollama"));
	assert_int_equal(stores.n, 3);
	expect_path(&stores, "llama3.2:latest", "ollama/blobs/sha256-" HEX);
	expect_path(&stores, "me/mine:7b", "ollama/blobs/sha256-" HEX);
	expect_path(&stores, "hf.co/org/name-GGUF:Q8_0", "ollama/blobs/sha256-" HEX);
	stores_free(&stores);
}

static void hostile_manifests_are_rows(void **state)
{
	(void)state;
	static const struct {
		const char *name, *text, *says;
	} cases[] = {
	    {"empty", "", "its manifest: "},
	    {"cut", "{\"layers\":[{\"mediaType\":\"application/vnd.ollama.ima", "its manifest: "},
	    {"list", "[1,2]", "no layer that is a model"},
	    {"null", "null", "no layer that is a model"},
	    {"number", "{\"layers\":7}", "no layer that is a model"},
	    {"scalars", "{\"layers\":[1,null,\"x\",[],{}]}", "no layer that is a model"},
	    {"types", "{\"layers\":[{\"mediaType\":7,\"digest\":{}}]}", "no layer that is a model"},
	    {"missing", MANIFEST("sha256:" HEX), "is not there"},
	    {"out", MANIFEST("sha256:../../../../secret"), "something else than sha256: and 64 digits"},
	    {"long", MANIFEST("sha256:" HEX "00"), "something else than sha256: and 64 digits"},
	    {"other", MANIFEST("md5:00"), "something else than sha256: and 64 digits"},
	    {"nodigest", "{\"layers\":[{\"mediaType\":\"application/vnd.ollama.image.model\"}]}", "something else"},
	};
	enum { N_CASES = sizeof cases / sizeof *cases };
	struct stores stores = {0};
	char name[200];
	for (int i = 0; i < N_CASES; i++) {
		snprintf(name, sizeof name, MANIFESTS "%s/1", cases[i].name);
		write_text(name, cases[i].text);
	}
	stores_add_ollama(&stores, at("ollama"));
	assert_int_equal(stores.n, N_CASES);
	for (int i = 0; i < N_CASES; i++) {
		snprintf(name, sizeof name, "%s:1", cases[i].name);
		expect_broken(&stores, name, cases[i].says);
	}
	stores_free(&stores);
}

static void deep_and_huge_manifests_are_rows(void **state)
{
	(void)state;
	struct stores stores = {0};
	struct bytes text = {0};
	for (int i = 0; i < 100000; i++)
		bytes_append_text(&text, "[");
	write_file(MANIFESTS "deep/1", text.data, text.n_bytes);
	bytes_clear(&text);
	bytes_append_text(&text, "{\"layers\":[0");
	for (int i = 0; i < 400000; i++)
		bytes_append_text(&text, ",0");
	bytes_append_text(&text, "]}");
	write_file(MANIFESTS "many/1", text.data, text.n_bytes);
	bytes_reserve(&text, 2 << 20);
	memset(text.data, ' ', 2 << 20);
	write_file(MANIFESTS "huge/1", text.data, 2 << 20);
	bytes_free(&text);
	stores_add_ollama(&stores, at("ollama"));
	assert_int_equal(stores.n, 3);
	expect_broken(&stores, "deep:1", "its manifest: ");
	expect_broken(&stores, "many:1", "its manifest: ");
	expect_broken(&stores, "huge:1", "larger than a megabyte");
	stores_free(&stores);
}

static void links_in_a_store_are_not_followed(void **state)
{
	(void)state;
	struct stores stores = {0};
	write_text("ollama/blobs/sha256-" HEX, "GGUF");
	write_text("elsewhere/manifest", MANIFEST("sha256:" HEX));
	make_link(at("elsewhere/manifest"), MANIFESTS "linked/1");
	make_link("/dev/zero", MANIFESTS "zero/1");
	write_text("elsewhere/library/found/1", MANIFEST("sha256:" HEX));
	make_link(at("elsewhere"), "ollama/manifests/other.host");
	make_link("..", "ollama/manifests/round");
	write_text(MANIFESTS "pipe/x", "");
	assert_int_equal(mkfifo(at(MANIFESTS "pipe/1"), 0600), 0);
	write_text(MANIFESTS "tree/1/2/3", MANIFEST("sha256:" HEX)); /* a directory where a file should be */
	stores_add_ollama(&stores, at("ollama"));
	assert_int_equal(stores.n, 5);
	expect_broken(&stores, "linked:1", "is a link");
	expect_broken(&stores, "zero:1", "is a link");
	expect_broken(&stores, "pipe:1", "no regular file");
	expect_broken(&stores, "tree:1", "no regular file");
	stores_free(&stores);
}

/* ---- folders ---- */

static void folders_are_walked(void **state)
{
	(void)state;
	struct stores stores = {0};
	write_text("models/one.gguf", "GGUF");
	write_text("models/pub/repo/two.Q4_0.GGUF", "GGUF");
	write_text("models/pub/repo/mmproj-two.gguf", "GGUF");
	write_text("models/pub/repo/three-00001-of-00002.gguf", "GGUF");
	write_text("models/pub/repo/three-00002-of-00002.gguf", "GGUF");
	write_text("models/llama/config.json", "{}");
	write_text("models/llama/model.safetensors", "x");
	write_text("models/half/model.safetensors", "x"); /* nothing says what it is */
	write_text("models/.hidden/four.gguf", "GGUF");
	write_text("models/a/b/c/d/e/f/deep.gguf", "GGUF");
	write_text("models/words.txt", "x");
	make_link("..", "models/pub/round");
	write_text("large/five.gguf", "GGUF");
	make_link(at("large"), "models/disk");
	stores_add_folder(&stores, "folder", at("models"));
	assert_int_equal(stores.n, 5);
	expect_path(&stores, "one.gguf", "models/one.gguf");
	expect_path(&stores, "pub/repo/two.Q4_0.GGUF", "models/pub/repo/two.Q4_0.GGUF");
	expect_path(&stores, "pub/repo/three-00001-of-00002.gguf", "models/pub/repo/three-00001-of-00002.gguf");
	expect_path(&stores, "llama", "models/llama");
	expect_path(&stores, "disk/five.gguf", "models/disk/five.gguf");
	stores_free(&stores);
}

static void other_stores_are_known_by_their_look(void **state)
{
	(void)state;
	struct stores stores = {0};
	write_text("hub/models--org--x/snapshots/01/model.safetensors", "");
	stores_add_folder(&stores, "folder", at("hub"));
	write_text("ollama/blobs/sha256-" HEX, "GGUF");
	write_text(MANIFESTS "y/latest", MANIFEST("sha256:" HEX));
	stores_add_folder(&stores, "folder", at("ollama"));
	assert_int_equal(stores.n, 2);
	assert_string_equal(row(&stores, "org/x")->store, "Hugging Face");
	assert_string_equal(row(&stores, "y:latest")->store, "Ollama");
	stores_add_folder(&stores, "folder", at("absent"));
	stores_add_ollama(&stores, at("absent"));
	stores_add_hugging_face(&stores, at("absent"));
	assert_int_equal(stores.n, 2);
	stores_free(&stores);
}

/* ---- by environment, by name ---- */

static void variables_say_where(void **state)
{
	(void)state;
	static const char *const hubs[][2] = {
	    {"HF_HUB_CACHE", "a"}, {"HF_HOME", "b"}, {"XDG_CACHE_HOME", "c"}, {"HOME", "d"}};
	static const char *const below[] = {"", "/hub", "/huggingface/hub", "/.cache/huggingface/hub"};
	struct error error;
	unsetenv("HUGGINGFACE_HUB_CACHE");
	setenv("OLLAMA_MODELS", at("ollama"), 1);
	write_text("d/.lmstudio/models/p/r/m.gguf", "GGUF");
	for (int i = 0; i < 4; i++) {
		char file[200];
		setenv(hubs[i][0], at(hubs[i][1]), 1);
		snprintf(file, sizeof file, "%s%s/models--o--%s/snapshots/01/model.safetensors", hubs[i][1], below[i],
		         hubs[i][1]);
		write_text(file, "");
	}
	for (int i = 0; i < 4; i++) {
		struct stores stores = {0};
		char name[8];
		assert_true(stores_find(&stores, NULL, &error));
		snprintf(name, sizeof name, "o/%s", hubs[i][1]);
		assert_int_equal(stores.n, 2);
		assert_string_equal(stores.models[0].name, name);
		assert_string_equal(stores.models[1].store, "LM Studio");
		assert_string_equal(stores.places[1].path, at("ollama"));
		assert_false(stores.places[1].there);
		stores_free(&stores);
		unsetenv(hubs[i][0]);
	}
	struct stores stores = {0};
	assert_false(stores_find(&stores, at("absent"), &error));
	assert_int_equal(error.code, ERROR_USAGE);
	stores_free(&stores);
}

static void expect_choice(const struct stores *stores, const char *asked, const char *name, int n)
{
	int n_fitting;
	const struct stored_model *model = stores_choose(stores, asked, &n_fitting);
	assert_int_equal(n_fitting, n);
	if (name)
		assert_string_equal(model->name, name);
	else
		assert_null(model);
}

static void names_are_chosen(void **state)
{
	(void)state;
	struct stores stores = {0};
	struct error error;
	const char *nearest[2];
	setenv("HOME", at("home"), 1);
	unsetenv("OLLAMA_MODELS");
	write_text("home/.ollama/models/blobs/sha256-" HEX, "GGUF");
	write_text("home/.ollama/models/manifests/registry.ollama.ai/library/qwen/latest", MANIFEST("sha256:" HEX));
	write_text("home/.ollama/models/manifests/registry.ollama.ai/library/qwen/1b", MANIFEST("sha256:" HEX));
	write_text("home/.lmstudio/models/p/r/Qwen-7B.gguf", "GGUF");
	write_text("home/.lmstudio/models/p/s/Qwen-7B.gguf", "GGUF");
	write_text("home/.lmstudio/models/p/s/other.gguf", "GGUF");
	assert_true(stores_find(&stores, NULL, &error));
	assert_int_equal(stores.n, 5);
	expect_choice(&stores, "qwen", "qwen:latest", 1);
	expect_choice(&stores, "qwen:1b", "qwen:1b", 1);
	expect_choice(&stores, "QWEN:1B", "qwen:1b", 1);
	expect_choice(&stores, "other.gguf", "p/s/other.gguf", 1);
	expect_choice(&stores, "s/qwen-7b.gguf", "p/s/Qwen-7B.gguf", 1);
	expect_choice(&stores, "Qwen-7B.gguf", "p/r/Qwen-7B.gguf", 2);
	expect_choice(&stores, "wen", NULL, 0);
	expect_choice(&stores, "", NULL, 0);
	assert_int_equal(stores_nearest(&stores, "qwen:1c", nearest, 2), 2);
	assert_string_equal(nearest[0], "qwen:1b");
	assert_int_equal(stores_nearest(&stores, "othr.gguf", nearest, 1), 1);
	assert_string_equal(nearest[0], "p/s/other.gguf");
	stores_free(&stores);
}

#define ROOTED(test) cmocka_unit_test_setup_teardown(test, make_root, remove_root)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    ROOTED(a_cache_is_read_by_its_refs),
	    ROOTED(damaged_caches_are_rows),
	    ROOTED(manifests_lead_to_blobs),
	    ROOTED(hostile_manifests_are_rows),
	    ROOTED(deep_and_huge_manifests_are_rows),
	    ROOTED(links_in_a_store_are_not_followed),
	    ROOTED(folders_are_walked),
	    ROOTED(other_stores_are_known_by_their_look),
	    ROOTED(variables_say_where),
	    ROOTED(names_are_chosen),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
