/* tensor/manifest: which files make a model, in which order, and what ends a reading of them. What the command and a worker
 * make of it is in e2e/test_pinned.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "folder_fixture.h"
#include "gguf_files.h"
#include "tensor/manifest.h"
#include "tensor/model_files.h"
#include "tensor/weight_file.h"

static const char *at(const char *name)
{
	return *name ? folder_file(&folder, name) : folder.path;
}

struct opened {
	struct model_files *files;
	struct weight_file *weights;
	struct pool *pool;
	struct manifest manifest;
};

static struct opened open_model(const char *path)
{
	struct opened opened = {0};
	struct error error = {0};
	opened.files = model_files_open(at(path), &error);
	opened.weights = opened.files ? weight_file_read(opened.files, &error) : NULL;
	opened.pool = pool_create(3, NULL, 0, &error);
	if (!opened.weights || !opened.pool || !manifest_list(&opened.manifest, opened.files, opened.weights, &error))
		fail_msg("%s", error.message);
	return opened;
}

static void close_model(struct opened *opened)
{
	manifest_free(&opened->manifest);
	weight_file_close(opened->weights);
	model_files_close(opened->files);
	pool_destroy(opened->pool);
}

static void expect_names(const struct manifest *manifest, const char *const *names, size_t n)
{
	assert_int_equal(manifest->n_files, n);
	for (size_t i = 0; i < n; i++)
		assert_string_equal(manifest->files[i].name, names[i]);
}

static void write_weights(const char *name)
{
	static const char header[] = "{\"x\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}";
	struct bytes file = safetensors_bytes(header, sizeof header - 1, "\0\0\0\0", 4);
	file_write(at(name), file.data, file.n_bytes);
	bytes_free(&file);
}

static void write_gguf_part(const char *name, uint16_t number, uint16_t count)
{
	struct bytes file = {0};
	put_part_of_set(&file, number, count);
	file_write(at(name), file.data, file.n_bytes);
	bytes_free(&file);
}

/* ---- which files ---- */

static void all_that_is_read_counts(void **state)
{
	(void)state;
	static const char *const names[] = {
	    "1_Pooling/config.json",
	    "additional_chat_templates/rag.jinja",
	    "chat_template.jinja",
	    "chat_template.json",
	    "config.json",
	    "model-a.safetensors",
	    "model.safetensors.index.json",
	    "tokenizer.json",
	};
	struct error error = {0};
	write_weights("model-a.safetensors");
	folder_write(&folder, "model.safetensors.index.json", "{\"weight_map\":{\"x\":\"model-a.safetensors\"}}");
	mkdir(at("1_Pooling"), 0700);
	mkdir(at("additional_chat_templates"), 0700);
	for (int i = 0; i < 8; i++)
		if (i != 5 && i != 6)
			folder_write(&folder, names[i], names[i]);
	folder_write(&folder, "README.md", "not read");
	folder_write(&folder, "additional_chat_templates/README.md", "not read");
	struct opened opened = open_model("");
	expect_names(&opened.manifest, names, 8);
	assert_true(manifest_digest(&opened.manifest, opened.pool, NULL, NULL, &error));
	struct bytes lines = {0};
	struct digest digest;
	manifest_write(&opened.manifest, &lines);
	assert_true(digest_of(lines.data, lines.n_bytes, &digest, &error));
	assert_memory_equal(digest.bytes, opened.manifest.model.bytes, DIGEST_BYTES);
	assert_true(digest_of("config.json", 11, &digest, &error));
	assert_memory_equal(digest.bytes, opened.manifest.files[4].digest.bytes, DIGEST_BYTES);
	bytes_free(&lines);
	close_model(&opened);
	for (int i = 0; i < 2; i++)
		remove(at(names[i]));
	remove(at("additional_chat_templates/README.md"));
}

static void of_a_split_set_every_file_counts(void **state)
{
	(void)state;
	static const char *const names[] = {"m-00001-of-00002.gguf", "m-00002-of-00002.gguf"};
	struct error error = {0};
	write_gguf_part(names[0], 0, 2);
	write_gguf_part(names[1], 1, 2);
	folder_write(&folder, "tokenizer.json", "not read beside GGUF");
	struct opened opened = open_model(names[0]);
	expect_names(&opened.manifest, names, 2);
	assert_true(manifest_digest(&opened.manifest, opened.pool, NULL, NULL, &error));
	assert_memory_not_equal(opened.manifest.files[0].digest.bytes, opened.manifest.files[1].digest.bytes, DIGEST_BYTES);
	close_model(&opened);
}

static void a_name_that_would_forge_a_line_is_refused(void **state)
{
	(void)state;
	struct error error = {0};
	struct manifest manifest = {0};
	write_weights("a\nb.safetensors");
	struct model_files *files = model_files_open(at("a\nb.safetensors"), &error);
	struct weight_file *weights = files ? weight_file_read(files, &error) : NULL;
	assert_non_null(weights);
	assert_false(manifest_list(&manifest, files, weights, &error));
	assert_int_equal(error.code, ERROR_MODEL);
	manifest_free(&manifest);
	weight_file_close(weights);
	model_files_close(files);
}

/* ---- what ends it ---- */

static bool stop_at_once(void *context, uint64_t done, uint64_t total)
{
	(void)context;
	assert_int_equal(done, 0);
	assert_true(total > 0);
	return false;
}

static void a_reading_can_be_stopped(void **state)
{
	(void)state;
	struct error error = {0};
	write_weights("model.safetensors");
	struct opened opened = open_model("");
	assert_false(manifest_digest(&opened.manifest, opened.pool, stop_at_once, NULL, &error));
	assert_int_equal(error.code, ERROR_CANCELLED);
	close_model(&opened);
}

static void a_file_that_goes_meanwhile_is_named(void **state)
{
	(void)state;
	struct error error = {0};
	write_weights("model.safetensors");
	folder_write(&folder, "config.json", "{}");
	struct opened opened = open_model("");
	remove(at("config.json"));
	assert_false(manifest_digest(&opened.manifest, opened.pool, NULL, NULL, &error));
	assert_int_equal(error.code, ERROR_MODEL);
	assert_non_null(strstr(error.message, "config.json: No such file"));
	close_model(&opened);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_teardown(all_that_is_read_counts, clear_folder),
	    cmocka_unit_test_teardown(of_a_split_set_every_file_counts, clear_folder),
	    cmocka_unit_test_teardown(a_name_that_would_forge_a_line_is_refused, clear_folder),
	    cmocka_unit_test_teardown(a_reading_can_be_stopped, clear_folder),
	    cmocka_unit_test_teardown(a_file_that_goes_meanwhile_is_named, clear_folder),
	};
	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
