/* tensor/model_files: what a path means, whatever its files are called, what is opened once, and what the model's name is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/stat.h>

#include "folder_fixture.h"
#include "gguf_files.h"
#include "model/config.h"
#include "tensor/model_files.h"
#include "tensor/weight_file.h"
#include "text/tokenizer.h"

static const char *at(const char *name)
{
	return *name ? folder_file(&folder, name) : folder.path;
}

static void write_safetensors(const char *name)
{
	struct file_maker maker = {0};
	maker_add(&maker, "x", "F32", "[4]", NULL, 16);
	maker_write(&maker, at(name));
}

static void write_gguf(const char *name)
{
	struct bytes file = {0};
	put_header(&file, 0, 1);
	put_key_string(&file, "general.architecture", "llama");
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

static void write_pointer(const char *name)
{
	folder_write(&folder, name,
	             "version https://git-lfs.github.com/spec/v1\n"
	             "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n");
}

/* `path` "": the folder. */
static void expect(const char *path, enum weights_form form, const char *weights)
{
	struct error error = {0};
	struct model_files *files = model_files_open(at(path), &error);
	if (!files)
		fail_msg("%s: %s", path, error.message);
	const struct weights_place *place = model_files_weights(files);
	assert_string_equal(model_files_path(files), at(path));
	assert_int_equal(place->form, form);
	assert_string_equal(place->path, at(weights));
	assert_int_equal(model_files_gguf(files) != NULL, form == WEIGHTS_GGUF);
	model_files_close(files);
}

static void expect_refusal(const char *path, const char *says)
{
	struct error error = {0};
	assert_null(model_files_open(at(path), &error));
	assert_int_equal(error.code, ERROR_MODEL);
	if (!strstr(error.message, says))
		fail_msg("%s: says: %s\n  not: %s", path, error.message, says);
}

/* ---- kinds ---- */

static void first_bytes_tell_what_a_file_is(void **state)
{
	(void)state;
	write_gguf("sha256-0123");
	expect("sha256-0123", WEIGHTS_GGUF, "sha256-0123");
	expect("", WEIGHTS_GGUF, "sha256-0123");
	write_safetensors("weights");
	expect("weights", WEIGHTS_SAFETENSORS, "weights");
	expect("", WEIGHTS_SAFETENSORS, "weights"); /* goes before GGUF */
	write_gguf("really.safetensors");
	expect("really.safetensors", WEIGHTS_GGUF, "really.safetensors");
	write_safetensors("really.gguf");
	expect("really.gguf", WEIGHTS_SAFETENSORS, "really.gguf");
	expect("", WEIGHTS_SEVERAL, "");
	folder_write(&folder, "index", " {\"metadata\":{},\"weight_map\":{\"x\":\"weights\"}}");
	expect("index", WEIGHTS_INDEX, "index");
	folder_write(&folder, "words", "\n{\"version\":\"1.0\"}");
	expect("words", WEIGHTS_NONE, "words");
}

static void a_name_tells_where_bytes_do_not(void **state)
{
	(void)state;
	struct error error = {0};
	file_write(at("empty.safetensors"), "", 0);
	expect("empty.safetensors", WEIGHTS_SAFETENSORS, "empty.safetensors");
	assert_null(weight_file_open(at("empty.safetensors"), &error));
	assert_non_null(strstr(error.message, "too short for a SafeTensors file"));
	folder_write(&folder, "X.GGUF", "GGXX");
	expect_refusal("X.GGUF", "X.GGUF: ");
	folder_write(&folder, "notes.txt", "words");
	expect_refusal("notes.txt", "notes.txt: its first bytes are those of no model");
	expect_refusal("absent", "absent: No such file");
	assert_int_equal(mkfifo(at("fifo"), 0600), 0);
	expect_refusal("fifo", "not a regular file"); /* at once: nobody writes to it */
}

static void the_gguf_model_of_a_directory_is_found(void **state)
{
	(void)state;
	expect("", WEIGHTS_NONE, "");
	folder_write(&folder, "README.gguf.md", "words");
	write_gguf_part("m-00002-of-00002.gguf", 1, 2);
	expect("", WEIGHTS_NONE, ""); /* parts are found through the first */
	write_gguf_part("m-00001-of-00002.gguf", 0, 2);
	expect("", WEIGHTS_GGUF, "m-00001-of-00002.gguf");
	write_gguf("other-2-of-2.gguf"); /* no name of a part */
	expect_refusal("", "has 2 GGUF models (");
	expect("other-2-of-2.gguf", WEIGHTS_GGUF, "other-2-of-2.gguf");
	write_gguf("third");
	expect_refusal("", ", ...), expected one, or the file's path");
	write_safetensors("model.safetensors");
	expect("", WEIGHTS_SAFETENSORS, "model.safetensors");
}

static void a_set_keeps_its_suffix(void **state)
{
	(void)state;
	struct error error = {0};
	write_gguf_part("M-00001-of-00002.GGUF", 0, 2);
	write_gguf_part("M-00002-of-00002.GGUF", 1, 2);
	struct model_files *files = model_files_open(folder.path, &error);
	if (!files)
		fail_msg("%s", error.message);
	assert_int_equal(gguf_file_count(model_files_gguf(files)), 2);
	model_files_close(files);
}

static void safetensors_go_first_in_order(void **state)
{
	(void)state;
	write_safetensors("a.safetensors");
	expect("", WEIGHTS_SAFETENSORS, "a.safetensors");
	write_safetensors("b.safetensors");
	expect("", WEIGHTS_SEVERAL, "");
	folder_write(&folder, "model.safetensors.index.json", "{\"weight_map\":{\"x\":\"a.safetensors\"}}");
	expect("", WEIGHTS_INDEX, "model.safetensors.index.json");
	struct error error = {0};
	struct weight_file *weights = weight_file_open(at("model.safetensors.index.json"), &error);
	assert_non_null(weights);
	assert_string_equal(weight_file_find(weights, "x")->file, at("a.safetensors"));
	weight_file_close(weights);
	write_safetensors("model.safetensors");
	expect("", WEIGHTS_SAFETENSORS, "model.safetensors");
}

/* ---- companions ---- */

static void check_companions(const char *path, const char *directory)
{
	static const char *const names[MODEL_FILE_COUNT] = {
	    "config.json",           "generation_config.json",  "tokenizer.json",
	    "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
	    "1_Pooling/config.json", "chat_template.jinja",     "chat_template.json"};
	struct error error = {0};
	struct model_files *files = model_files_open(path, &error);
	if (!files)
		fail_msg("%s", error.message);
	for (int i = 0; i < MODEL_FILE_COUNT; i++) {
		char expected[600];
		snprintf(expected, sizeof expected, "%s/%s", directory, names[i]);
		bool there = i == MODEL_CONFIG || i == MODEL_TOKENIZER;
		assert_string_equal(model_files_expect(files, i), expected);
		assert_int_equal(model_files_find(files, i) != NULL, there);
	}
	model_files_close(files);
}

static void companions_lie_beside_a_link_or_its_target(void **state)
{
	(void)state;
	char real[600], link[600], alone[600];
	snprintf(real, sizeof real, "%s", at("blobs"));
	snprintf(link, sizeof link, "%s", at("snapshot"));
	snprintf(alone, sizeof alone, "%s", at("alone"));
	assert_true(mkdir(real, 0700) == 0 && mkdir(link, 0700) == 0 && mkdir(alone, 0700) == 0);
	write_safetensors("blobs/abc");
	folder_write(&folder, "blobs/def", "{}");
	assert_int_equal(symlink("../blobs/abc", at("snapshot/model.safetensors")), 0);
	assert_int_equal(symlink("../blobs/def", at("snapshot/config.json")), 0);
	assert_int_equal(symlink("../blobs/def", at("snapshot/tokenizer.json")), 0);
	assert_int_equal(symlink("../blobs/lost", at("snapshot/tokenizer_config.json")), 0); /* is not there */
	check_companions(link, link);
	check_companions(at("snapshot/model.safetensors"), link);

	write_safetensors("alone/model.safetensors");
	folder_write(&folder, "alone/config.json", "{}");
	folder_write(&folder, "alone/tokenizer.json", "{}");
	assert_int_equal(symlink("alone/model.safetensors", at("shortcut")), 0);
	check_companions(at("shortcut"), alone);
	static const char *const made[] = {"blobs/abc",
	                                   "blobs/def",
	                                   "snapshot/model.safetensors",
	                                   "snapshot/config.json",
	                                   "snapshot/tokenizer.json",
	                                   "snapshot/tokenizer_config.json",
	                                   "alone/model.safetensors",
	                                   "alone/config.json",
	                                   "alone/tokenizer.json"};
	for (size_t i = 0; i < sizeof made / sizeof *made; i++)
		assert_int_equal(unlink(at(made[i])), 0);
}

static void a_tokenizer_stands_by_itself(void **state)
{
	(void)state;
	struct error error = {0};
	folder_write(&folder, "mine", "{}");
	folder_write(&folder, "tokenizer_config.json", "{}");
	struct model_files *files = model_files_open(at("mine"), &error);
	assert_non_null(files);
	assert_string_equal(model_files_find(files, MODEL_TOKENIZER), at("mine"));
	assert_null(model_files_find(files, MODEL_TOKENIZER_CONFIG));
	assert_null(weight_file_read(files, &error));
	assert_non_null(strstr(error.message, "mine: has no weights"));
	model_files_close(files);
	model_files_close(NULL);
}

/* One opening serves all readers, which may outlive it but for the weights. */
static void a_gguf_model_is_opened_once(void **state)
{
	(void)state;
	struct error error = {0};
	struct model_files *files = model_files_open("tests/gguf/llama2-style.gguf", &error);
	assert_non_null(files);
	struct tokenizer *tokenizer = tokenizer_read(files, &error);
	struct weight_file *weights = weight_file_read(files, &error);
	assert_true(tokenizer && weights);
	assert_int_equal(weight_file_bytes(weights), gguf_bytes(model_files_gguf(files)));
	assert_null(model_files_expect(files, MODEL_CONFIG));
	assert_null(model_files_find(files, MODEL_TOKENIZER));
	weight_file_close(weights);
	model_files_close(files);
	assert_true(tokenizer_find(tokenizer, "<s>", 3) >= 0);
	tokenizer_destroy(tokenizer);
}

/* ---- Git LFS ---- */

static void expect_pointer(const char *name, const struct error *error)
{
	assert_int_equal(error->code, ERROR_MODEL);
	if (!strstr(error->message, name) || !strstr(error->message, "is a Git LFS pointer, not the file itself"))
		fail_msg("%s: %s", name, error->message);
}

static void pointers_are_called_that(void **state)
{
	(void)state;
	struct model_config config;
	struct error error = {0};
	static const char *const paths[] = {"m.gguf", "blob"};
	for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
		write_pointer(paths[i]);
		assert_null(model_files_open(at(paths[i]), &error));
		expect_pointer(paths[i], &error);
		assert_int_equal(unlink(at(paths[i])), 0);
	}
	write_pointer("config.json");
	assert_false(config_load(folder.path, &config, &error));
	expect_pointer("/config.json", &error);
	write_pointer("tokenizer.json");
	assert_null(tokenizer_load(folder.path, &error));
	expect_pointer("/tokenizer.json", &error);
	write_pointer("a.safetensors");
	assert_null(weight_file_open(folder.path, &error));
	expect_pointer("/a.safetensors", &error);
	folder_write(&folder, "model.safetensors.index.json", "{\"weight_map\":{\"x\":\"a.safetensors\"}}");
	assert_null(weight_file_open(folder.path, &error));
	expect_pointer("/a.safetensors", &error);
	write_pointer("model.safetensors.index.json");
	assert_null(weight_file_open(folder.path, &error));
	expect_pointer("/model.safetensors.index.json", &error);
}

/* ---- names ---- */

static void check_name(const char *path, const char *expected)
{
	char *name = model_files_name(path);
	assert_non_null(name);
	if (strcmp(name, expected) != 0)
		fail_msg("%s is called %s, expected %s", path, name, expected);
	free(name);
}

static void names_come_from_paths(void **state)
{
	(void)state;
	char here[512];
	assert_non_null(getcwd(here, sizeof here));
	assert_int_equal(mkdir(at("tiny"), 0700), 0);
	assert_int_equal(mkdir(at("tiny/below"), 0700), 0);
	write_safetensors("tiny/model.safetensors");
	write_gguf("tiny/tiny.Q4_0.gguf");
	check_name("/nowhere/at-all", "at-all");
	check_name(at("tiny///"), "tiny");
	check_name(at("tiny/."), "tiny");
	check_name(at("tiny/below/.."), "tiny");
	check_name(at("tiny/model.safetensors"), "tiny");
	check_name(at("tiny/tiny.Q4_0.gguf"), "tiny.Q4_0.gguf");
	assert_int_equal(symlink("tiny", at("current")), 0);
	check_name(at("current"), "current");
	assert_int_equal(chdir(at("tiny")), 0);
	check_name(".", "tiny");
	check_name("./", "tiny");
	check_name("model.safetensors", "tiny");
	check_name("tiny.Q4_0.gguf", "tiny.Q4_0.gguf");
	assert_int_equal(chdir("below"), 0);
	check_name("..", "tiny");
	check_name("../", "tiny");
	assert_int_equal(chdir(here), 0);
	check_name("/", "/");
	static const char *const made[] = {"tiny/model.safetensors", "tiny/tiny.Q4_0.gguf"};
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(unlink(at(made[i])), 0);
	assert_int_equal(rmdir(at("tiny/below")), 0);
}

static void names_in_a_cache_are_the_repositories(void **state)
{
	(void)state;
	char here[512], snapshot[600];
	assert_non_null(getcwd(here, sizeof here));
	static const char *const folders[] = {"models--org--name", "models--org--name/snapshots",
	                                      "models--org--name/snapshots/0a1b"};
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(mkdir(at(folders[i]), 0700), 0);
	snprintf(snapshot, sizeof snapshot, "%s", at(folders[2]));
	write_gguf("models--org--name/snapshots/0a1b/q4.gguf");
	check_name(snapshot, "org--name");
	check_name(at("models--org--name/snapshots/0a1b/"), "org--name");
	check_name(at("models--org--name/snapshots/0a1b/q4.gguf"), "org--name");
	check_name("/cache/models--org--name/blobs/0a1b", "org--name"); /* whether it is there or not */
	check_name("/cache/models--a--b/snapshots/models--c--d/blobs/0a1b", "c--d");
	check_name("/cache/models--org--name", "models--org--name");
	assert_int_equal(chdir(snapshot), 0);
	check_name(".", "org--name");
	check_name("q4.gguf", "org--name");
	assert_int_equal(chdir(".."), 0);
	check_name("0a1b", "org--name");
	assert_int_equal(chdir(here), 0);
	assert_int_equal(unlink(at("models--org--name/snapshots/0a1b/q4.gguf")), 0);
	assert_int_equal(rmdir(snapshot), 0);
	assert_int_equal(rmdir(at(folders[1])), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_teardown(first_bytes_tell_what_a_file_is, clear_folder),
	    cmocka_unit_test_teardown(a_name_tells_where_bytes_do_not, clear_folder),
	    cmocka_unit_test_teardown(the_gguf_model_of_a_directory_is_found, clear_folder),
	    cmocka_unit_test_teardown(a_set_keeps_its_suffix, clear_folder),
	    cmocka_unit_test_teardown(safetensors_go_first_in_order, clear_folder),
	    cmocka_unit_test_teardown(companions_lie_beside_a_link_or_its_target, clear_folder),
	    cmocka_unit_test_teardown(a_tokenizer_stands_by_itself, clear_folder),
	    cmocka_unit_test(a_gguf_model_is_opened_once),
	    cmocka_unit_test_teardown(pointers_are_called_that, clear_folder),
	    cmocka_unit_test_teardown(names_come_from_paths, clear_folder),
	    cmocka_unit_test_teardown(names_in_a_cache_are_the_repositories, clear_folder),
	};
	return cmocka_run_group_tests_name("model_files", tests, make_folder, remove_folder);
}
