/* tensor/weight_file: what a SafeTensors file says is believed only as far as it holds; every way of lying is refused
 * with the file's and the tensor's name. */
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "folder_fixture.h"
#include "tensor/mapped_file.h"
#include "tensor/safetensors.h"
#include "tensor/weight_file.h"

/* ---- one file in memory ---- */

/* Reads an exact-size copy, so that a sanitizer sees every read past the end. */
static bool read_copy(const void *data, size_t n_bytes, struct error *error)
{
	struct tensor_list list = {0};
	struct arena arena = {0};
	unsigned char *copy = malloc(n_bytes ? n_bytes : 1);
	assert_non_null(copy);
	if (n_bytes)
		memcpy(copy, data, n_bytes);
	*error = (struct error){0};
	struct mapped_file file = {.data = copy, .n_bytes = n_bytes};
	bool ok = safetensors_read(&file, "some.safetensors", &arena, &list, error);
	for (size_t i = 0; ok && i < list.n_items; i++) {
		const unsigned char *at = list.items[i].data;
		assert_true(at >= copy && at + list.items[i].n_bytes <= copy + n_bytes);
	}
	if (!ok) {
		assert_int_equal(error->code, ERROR_MODEL);
		assert_non_null(strstr(error->message, "some.safetensors"));
	}
	free(list.items);
	arena_free(&arena);
	free(copy);
	return ok;
}

static const char valid_header[] =
    "{\"__metadata__\":{\"format\":\"pt\"},\"b.f32\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
    "\"a.odd\":{\"dtype\":\"I8\",\"shape\":[1],\"data_offsets\":[24,25]},"
    "\"c.bf16\":{\"dtype\":\"BF16\",\"shape\":[1,1,2,2],\"data_offsets\":[25,33]},"
    "\"scalar\":{\"dtype\":\"F16\",\"shape\":[],\"data_offsets\":[33,35]},"
    "\"none\":{\"dtype\":\"F32\",\"shape\":[0,7],\"data_offsets\":[35,35]}}   ";
static const unsigned char valid_data[35] = {1, 2, 3, [24] = 9, [25] = 0x80, 0x3f, [33] = 0, 0x3c};

static struct bytes valid_file(void)
{
	return safetensors_bytes(valid_header, sizeof valid_header - 1, valid_data, sizeof valid_data);
}

static void every_prefix_is_refused(void **state)
{
	(void)state;
	struct error error;
	struct bytes file = valid_file();
	for (size_t n = 0; n < file.n_bytes; n++)
		assert_false(read_copy(file.data, n, &error));
	assert_true(read_copy(file.data, file.n_bytes, &error));
	bytes_append(&file, "x", 1);
	assert_false(read_copy(file.data, file.n_bytes, &error)); /* a byte too much */
	bytes_free(&file);
}

static void changed_bytes_never_crash(void **state)
{
	(void)state;
	struct error error;
	unsigned seed = 7;
	int n_refused = 0;
	struct bytes file = valid_file();
	for (int i = 0; i < 10000; i++) {
		char *copy = malloc(file.n_bytes);
		memcpy(copy, file.data, file.n_bytes);
		for (int j = rand_r(&seed) % 4; j >= 0; j--) {
			size_t at = (size_t)rand_r(&seed) % (file.n_bytes - sizeof valid_data);
			/* Mostly other digits and letters: those get past the JSON parser. */
			copy[at] = rand_r(&seed) % 4 ? valid_header[(size_t)rand_r(&seed) % (sizeof valid_header - 1)]
			                             : (char)rand_r(&seed);
		}
		n_refused += !read_copy(copy, file.n_bytes, &error);
		free(copy);
	}
	bytes_free(&file);
	assert_true(n_refused > 5000 && n_refused < 10000);
}

static void header_lengths_are_checked(void **state)
{
	(void)state;
	static const uint64_t lengths[] = {0,
	                                   1,
	                                   2,
	                                   sizeof valid_header,
	                                   sizeof valid_header + 35,
	                                   UINT64_C(1) << 31,
	                                   UINT64_C(1) << 32,
	                                   UINT64_C(1) << 63,
	                                   UINT64_MAX - 4,
	                                   UINT64_MAX - 7,
	                                   UINT64_MAX};
	struct error error;
	struct bytes file = valid_file();
	for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
		for (int j = 0; j < 8; j++)
			file.data[j] = (char)(lengths[i] >> (8 * j));
		assert_false(read_copy(file.data, file.n_bytes, &error));
	}
	bytes_free(&file);
}

/* Each entry stands alone in a file with 16 bytes of data. */
static void headers_that_lie_are_refused(void **state)
{
	(void)state;
	static const struct {
		const char *header, *says;
	} cases[] = {
	    {"[]", "does not begin with '{'"},
	    {" {}", "does not begin with '{'"},
	    {"\xEF\xBB\xBF{}", "does not begin with '{'"},
	    {"{", "header"},
	    {"{} x", "header"},
	    {"{}", "the header describes 0 bytes of data, the file has 16"},
	    {"{\"t\":1}", "tensor t: its entry is no object"},
	    {"{\"__metadata__\":3}", "__metadata__ is no object"},
	    {"{\"__metadata__\":{\"a\":1}}", "__metadata__ holds a number"},
	    {"{\"t\\u0000\":{}}", "holds a NUL"},
	    {"{\"t\":{}}", "tensor t: dtype is missing"},
	    {"{\"t\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0.0,16]}}", "data_offsets must be two offsets"},
	    {"{\"t\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,1.6e1]}}", "data_offsets must be two offsets"},
	    {"{\"t\":{\"dtype\":\"F32\",\"shape\":[4.0],\"data_offsets\":[0,16]}}",
	     "shape holds something that is no count"},
	    {"{\"t\":{\"dtype\":7,\"shape\":[4],\"data_offsets\":[0,16]}}", "tensor t: dtype is missing or no string"},
	    {"{\"t\":{\"dtype\":\"F31\",\"shape\":[4],\"data_offsets\":[0,16]}}", "tensor t: unknown dtype F31"},
	    {"{\"t\":{\"dtype\":\"Q8\",\"shape\":[4],\"data_offsets\":[0,16]}}", "unknown dtype Q8"},
	    {"{\"t\":{\"dtype\":\"f32\",\"shape\":[4],\"data_offsets\":[0,16]}}", "unknown dtype f32"},
	    {"{\"t\":{\"dtype\":\"I8\\u0000\",\"shape\":[16],\"data_offsets\":[0,16]}}", "unknown dtype I8"},
	    {"{\"t\":{\"dtype\":\"F32\",\"data_offsets\":[0,16]}}", "tensor t: shape is missing"},
	    {"{\"t\":{\"dtype\":\"F32\",\"shape\":4,\"data_offsets\":[0,16]}}", "shape is missing or no array"},
	    {"{\"t\":{\"dtype\":\"F32\",\"shape\":[-4],\"data_offsets\":[0,16]}}", "no count"},
	    {"{\"t\":{\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,16]}}", "no count"},
	    {"{\"t\":{\"dtype\":\"F32\",\"shape\":[\"4\"],\"data_offsets\":[0,16]}}", "no count"},
	    {"{\"t\":{\"dtype\":\"F32\",\"shape\":[18446744073709551620],\"data_offsets\":[0,16]}}", "no count"},
	    {"{\"t\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,4],\"data_offsets\":[0,16]}}", "more than 4 dimensions"},
	    {"{\"t\":{\"dtype\":\"F32\",\"shape\":[4611686018427387908],\"data_offsets\":[0,16]}}", "can be counted"},
	    {"{\"t\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967297],\"data_offsets\":[0,16]}}", "can be counted"},
	    {"{\"t\":{\"dtype\":\"F32\",\"shape\":[4]}}", "tensor t: data_offsets is missing"},
	    {"{\"t\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":{}}}", "data_offsets is missing or no array"},
	    {"{\"t\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[16]}}", "must be two offsets"},
	    {"{\"t\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16,16]}}", "must be two offsets"},
	    {"{\"t\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[-16,0]}}", "must be two offsets"},
	    {"{\"t\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[16,0]}}", "not within the 16 bytes"},
	    {"{\"t\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[4,20]}}", "[4, 20] are not within the 16 bytes"},
	    {"{\"t\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[9007199254740992,9007199254740993]}}",
	     "[9007199254740992, 9007199254740993]"},
	    {"{\"t\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[18446744073709551600,18446744073709551615]}}",
	     "not within"},
	    {"{\"t\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,16]}}",
	     "data_offsets span 16 bytes, shape and dtype make 12"},
	    {"{\"t\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,12]}}", "12 bytes of data, the file has 16"},
	    {"{\"t\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[4,16]}}", "4 bytes before tensor t"},
	    {"{\"t\":{\"dtype\":\"I8\",\"shape\":[9],\"data_offsets\":[0,9]},"
	     "\"u\":{\"dtype\":\"I8\",\"shape\":[8],\"data_offsets\":[8,16]}}",
	     "tensors t and u overlap"},
	    {"{\"t\":{\"dtype\":\"I8\",\"shape\":[16],\"data_offsets\":[0,16]},"
	     "\"u\":{\"dtype\":\"I8\",\"shape\":[16],\"data_offsets\":[0,16]}}",
	     "overlap"},
	    {"{\"t\":{\"dtype\":\"I8\",\"shape\":[16],\"data_offsets\":[0,16]},"
	     "\"t\":{\"dtype\":\"I8\",\"shape\":[0],\"data_offsets\":[0,0]}}",
	     "\"t\""},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct error error;
		struct bytes file = safetensors_bytes(cases[i].header, strlen(cases[i].header), valid_data, 16);
		if (read_copy(file.data, file.n_bytes, &error) || !strstr(error.message, cases[i].says))
			fail_msg("%s\n  says: %s\n  not:  %s", cases[i].header, error.message, cases[i].says);
		bytes_free(&file);
	}
}

static void deep_nesting_is_refused(void **state)
{
	(void)state;
	struct bytes header = {0};
	struct error error;
	bytes_append_text(&header, "{\"t\":");
	for (int i = 0; i < 100000; i++)
		bytes_append_text(&header, "[");
	struct bytes file = safetensors_bytes(header.data, header.n_bytes, "", 0);
	assert_false(read_copy(file.data, file.n_bytes, &error));
	bytes_free(&file);
	bytes_free(&header);
}

/* ---- files and folders ---- */

static struct weight_file *open_good(const char *path)
{
	struct error error = {0};
	struct weight_file *weights = weight_file_open(path, &error);
	if (!weights)
		fail_msg("%s", error.message);
	return weights;
}

/* The message names `says`. */
static void refuse(const char *path, const char *says)
{
	struct error error = {0};
	struct weight_file *weights = weight_file_open(path, &error);
	assert_null(weights);
	assert_int_equal(error.code, ERROR_MODEL);
	if (!strstr(error.message, says))
		fail_msg("says: %s\nnot:  %s", error.message, says);
}

static void tensors_are_found(void **state)
{
	(void)state;
	struct bytes file = valid_file();
	const char *path = folder_file(&folder, "model.safetensors");
	file_write(path, file.data, file.n_bytes);
	struct weight_file *weights = open_good(folder.path);
	assert_int_equal(weight_file_count(weights), 5);
	assert_int_equal(weight_file_bytes(weights), file.n_bytes);
	static const char *const in_order[] = {"a.odd", "b.f32", "c.bf16", "none", "scalar"};
	for (size_t i = 0; i < 5; i++)
		assert_string_equal(weight_file_at(weights, i)->name, in_order[i]);
	assert_null(weight_file_at(weights, 5));
	assert_null(weight_file_find(weights, "b.f3"));

	const struct tensor *t = weight_file_find(weights, "b.f32");
	assert_true(t->usable && t->type == DTYPE_F32 && t->n_dims == 2 && t->dims[0] == 2 && t->dims[1] == 3);
	assert_int_equal(t->n_bytes, 24);
	assert_memory_equal(t->data, valid_data, 24);
	assert_string_equal(t->file, path);
	t = weight_file_find(weights, "c.bf16"); /* at an odd address */
	assert_true(t->usable && t->type == DTYPE_BF16 && t->n_dims == 4);
	assert_memory_equal(t->data, valid_data + 25, 8);
	t = weight_file_find(weights, "scalar");
	assert_true(t->usable && t->type == DTYPE_F16 && t->n_dims == 0 && t->n_bytes == 2);
	t = weight_file_find(weights, "a.odd");
	assert_false(t->usable);
	assert_string_equal(t->type_name, "I8");
	assert_int_equal(weight_file_find(weights, "none")->n_bytes, 0);
	weight_file_close(weights);

	weight_file_close(open_good(path)); /* the file itself */
	assert_int_equal(rename(path, folder_file(&folder, "other.safetensors")), 0);
	weight_file_close(open_good(folder.path)); /* the only one of its kind */
	weight_file_close(NULL);
	bytes_free(&file);
}

static void what_is_no_file_is_refused(void **state)
{
	(void)state;
	const char *path = folder_file(&folder, "model.safetensors");
	refuse(folder_file(&folder, "absent"), "absent: No such file");
	refuse(folder.path, "has no weights; expected a directory with .safetensors files");
	folder_write(&folder, "config.json", "{}");
	refuse(folder_file(&folder, "config.json"), "config.json: has no weights");
	assert_int_equal(mkfifo(path, 0600), 0);
	refuse(folder.path, "not a regular file"); /* at once: nobody writes to it */
	assert_int_equal(remove(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	refuse(folder.path, "not a regular file");
	assert_int_equal(remove(path), 0);
	assert_int_equal(symlink("model.safetensors", path), 0);
	refuse(folder.path, "model.safetensors");
	assert_int_equal(remove(path), 0);
	refuse("/dev/null", "not a regular file");
	for (size_t n = 0; n < 10; n++) {
		file_write(path, "\2\0\0\0\0\0\0\0{}", n);
		refuse(folder.path, "model.safetensors");
	}
	file_write(path, "\2\0\0\0\0\0\0\0{}", 10);
	weight_file_close(open_good(folder.path)); /* no tensors: legal */
	assert_int_equal(rename(path, folder_file(&folder, "a.safetensors")), 0);
	file_write(folder_file(&folder, "b.safetensors"), "\2\0\0\0\0\0\0\0{}", 10);
	refuse(folder.path, "has 2 .safetensors files");
}

/* ---- shards ---- */

static void write_shard(const char *name, const char *first, const char *second)
{
	struct file_maker maker = {0};
	maker_add(&maker, first, "F32", "[4]", NULL, 16);
	if (second)
		maker_add(&maker, second, "F16", "[4]", NULL, 8);
	maker_write(&maker, folder_file(&folder, name));
}

static void write_index(const char *weight_map)
{
	char text[512];
	snprintf(text, sizeof text, "{\"metadata\":{\"total_size\":48},\"weight_map\":%s}", weight_map);
	folder_write(&folder, "model.safetensors.index.json", text);
}

static void shards_make_one_set(void **state)
{
	(void)state;
	assert_int_equal(mkdir(folder_file(&folder, "blobs.d"), 0700), 0);
	write_shard("blob", "x", "y");
	write_shard("two.safetensors", "a", "z");
	/* Every file of a Hugging Face cache is a link. */
	assert_int_equal(symlink("blob", folder_file(&folder, "one.safetensors")), 0);
	write_index("{\"x\":\"one.safetensors\",\"z\":\"two.safetensors\",\"y\":\"one.safetensors\","
	            "\"a\":\"two.safetensors\"}");
	struct weight_file *weights = open_good(folder.path);
	assert_int_equal(weight_file_count(weights), 4);
	assert_string_equal(weight_file_at(weights, 0)->file, folder_file(&folder, "two.safetensors"));
	assert_string_equal(weight_file_find(weights, "y")->file, folder_file(&folder, "one.safetensors"));
	for (size_t i = 0; i < weight_file_count(weights); i++) {
		const struct tensor *tensor = weight_file_at(weights, i);
		unsigned char first = *(const unsigned char *)tensor->data;
		mapped_touch(tensor->data, tensor->n_bytes);
		mapped_release(tensor->data, tensor->n_bytes);
		mapped_release(tensor->data, 0);
		assert_int_equal(*(const unsigned char *)tensor->data, first);
	}
	weight_file_close(weights);
	write_index("{\"x\":\"blob\"}"); /* its bytes count, not its name */
	weight_file_close(open_good(folder.path));
}

static void shards_that_do_not_fit_are_refused(void **state)
{
	(void)state;
	write_shard("one.safetensors", "x", "y");
	write_shard("two.safetensors", "a", "x");
	static const struct {
		const char *weight_map, *says;
	} cases[] = {
	    {"[]", "weight_map is missing or no object"},
	    {"null", "weight_map is missing or no object"},
	    {"{\"x\":1}", "weight_map.x is a number"},
	    {"{\"x\":\"three.safetensors\"}", "three.safetensors: No such file"},
	    {"{\"x\":\"../one.safetensors\"}", "shard name ../one.safetensors"},
	    {"{\"x\":\"/tmp/one.safetensors\"}", "shard name /tmp/one.safetensors"},
	    {"{\"x\":\"sub/one.safetensors\"}", "shard name sub/one.safetensors"},
	    {"{\"x\":\"..\"}", "shard name .."},
	    {"{\"x\":\"\"}", "shard name"},
	    {"{\"x\":\"one.safetensors\\u0000\"}", "shard name"},
	    {"{\"x\":\"/etc/passwd\"}", "shard name /etc/passwd"},
	    {"{\"q\":\"one.safetensors\"}", "tensor q is not in one.safetensors"},
	    {"{\"x\":\"one.safetensors\",\"y\":\"one.safetensors\",\"a\":\"two.safetensors\"}", "tensor x is in "},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		write_index(cases[i].weight_map);
		refuse(folder.path, cases[i].says);
	}
	write_shard("two.safetensors", "a", "b");
	write_index("{\"x\":\"two.safetensors\",\"y\":\"one.safetensors\",\"a\":\"two.safetensors\"}");
	refuse(folder.path, "tensor x should be in two.safetensors, it is in ");
	folder_write(&folder, "model.safetensors.index.json", "{");
	refuse(folder.path, "model.safetensors.index.json");
	folder_write(&folder, "model.safetensors.index.json", "");
	refuse(folder.path, "model.safetensors.index.json");
}

/* ---- size ---- */

static double seconds_to_open(int n_tensors)
{
	struct bytes header = {0};
	for (int i = 0; i < n_tensors; i++)
		bytes_append_format(&header, "%s\"t%d\":{\"dtype\":\"I8\",\"shape\":[1],\"data_offsets\":[%d,%d]}",
		                    i ? "," : "{", (int)((int64_t)i * 7919 % 1000003), i, i + 1); /* in no order */
	bytes_append_text(&header, "}");
	char *data = calloc((size_t)n_tensors, 1);
	struct bytes file = safetensors_bytes(header.data, header.n_bytes, data, (size_t)n_tensors);
	file_write(folder_file(&folder, "model.safetensors"), file.data, file.n_bytes);
	free(data);
	bytes_free(&header);
	bytes_free(&file);
	struct timespec from, to;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
	struct weight_file *weights = open_good(folder.path);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
	assert_int_equal(weight_file_count(weights), n_tensors);
	weight_file_close(weights);
	return (double)(to.tv_sec - from.tv_sec) + 1e-9 * (double)(to.tv_nsec - from.tv_nsec);
}

static void time_grows_with_the_number_of_tensors(void **state)
{
	(void)state;
	seconds_to_open(1000);
	double few = 0, many = INFINITY;
	for (int i = 0; i < 20 && many > 16 * few * 4 + 0.2; i++) { /* of this thread's CPU; what else runs takes caches */
		few = seconds_to_open(5000);
		many = seconds_to_open(80000);
	}
	if (many > 16 * few * 4 + 0.2)
		fail_msg("5000 tensors take %.3f s, 80000 take %.3f s", few, many);
}

/* ---- files that change while they are mapped ---- */

enum { N_GUARDED = 5000 };

/* A file of one tensor of ones, of several pages. */
static const char *write_guarded(const char *name)
{
	static float ones[N_GUARDED];
	for (int i = 0; i < N_GUARDED; i++)
		ones[i] = 1;
	struct file_maker maker = {0};
	maker_add(&maker, "ones", "F32", "[5000]", ones, sizeof ones);
	const char *path = folder_file(&folder, name);
	maker_write(&maker, path);
	return path;
}

static void a_file_that_is_replaced_stays_what_it_was(void **state)
{
	(void)state;
	struct error error = {0};
	const char *path = write_guarded("model.safetensors");
	struct weight_file *weights = weight_file_open(path, &error);
	assert_non_null(weights);
	assert_false(mapped_changed(&error));
	char name[64];
	assert_false(mapped_replaced(name, sizeof name));
	assert_int_equal(rename(write_guarded("other.safetensors"), path), 0);
	assert_false(mapped_changed(&error));
	assert_true(mapped_replaced(name, sizeof name));
	assert_string_equal(name, "model.safetensors");
	assert_false(mapped_replaced(name, sizeof name)); /* told */
	assert_true(((const float *)weight_file_find(weights, "ones")->data)[N_GUARDED - 1] == 1);
	assert_int_equal(unlink(path), 0);
	assert_false(mapped_changed(&error));
	weight_file_close(weights);
}

static void a_file_that_is_written_to_is_noticed(void **state)
{
	(void)state;
	struct error error = {0};
	const char *path = write_guarded("model.safetensors");
	struct weight_file *weights = weight_file_open(path, &error);
	assert_non_null(weights);
	FILE *file = fopen(path, "r+");
	assert_non_null(file);
	assert_int_equal(fputc('x', file), 'x');
	assert_int_equal(fclose(file), 0);
	const struct timespec long_ago[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
	assert_int_equal(utimensat(AT_FDCWD, path, long_ago, 0), 0); /* a clock of the file system may stand still */
	assert_true(mapped_changed(&error));
	assert_non_null(strstr(error.message, "model.safetensors was written to"));
	assert_false(mapped_lost(&error));
	weight_file_close(weights);
	assert_false(mapped_changed(&error));
}

static void a_file_that_is_cut_reads_as_zeros(void **state)
{
	(void)state;
	struct error error = {0};
	const char *path = write_guarded("model.safetensors");
	struct weight_file *weights = weight_file_open(path, &error);
	assert_non_null(weights);
	const float *ones = weight_file_find(weights, "ones")->data;
	assert_int_equal(truncate(path, 4096), 0);
	assert_false(mapped_lost(&error)); /* nobody has read it */
	assert_true(mapped_changed(&error));
	assert_true(*(const volatile float *)&ones[N_GUARDED - 1] == 0);
	assert_true(*(const volatile float *)&ones[0] == 1);
	assert_true(mapped_lost(&error));
	assert_non_null(strstr(error.message, "model.safetensors lost"));
	weight_file_close(weights);
	assert_false(mapped_lost(&error));
}

/* As many as can be mapped, the last one like the first. */
static void all_files_are_guarded(void **state)
{
	(void)state;
	static struct mapped_file files[MAPPED_MAX_FILES];
	struct mapped_file one_more;
	struct error error = {0};
	const char *path = write_guarded("model.safetensors");
	for (int i = 0; i < MAPPED_MAX_FILES; i++)
		assert_true(mapped_file_open(path, &files[i], &error));
	assert_false(mapped_file_open(path, &one_more, &error));
	assert_int_equal(error.code, ERROR_MODEL);
	assert_non_null(strstr(error.message, "model.safetensors: 5120 files are mapped already"));
	assert_int_equal(truncate(path, 4096), 0);
	const struct mapped_file *last = &files[MAPPED_MAX_FILES - 1];
	assert_int_equal(*(const volatile unsigned char *)&last->data[last->n_bytes - 1], 0);
	assert_true(mapped_lost(&error));
	for (int i = 0; i < MAPPED_MAX_FILES; i++)
		mapped_file_close(&files[i]);
	assert_false(mapped_lost(&error));
}

static void weights_that_are_not_finite_are_named(void **state)
{
	(void)state;
	struct error error = {0};
	const float good[3] = {1, -2, 3}, bad[3] = {1, INFINITY, 3};
	struct file_maker maker = {0};
	maker_add(&maker, "good", "F32", "[3]", good, sizeof good);
	maker_add(&maker, "bad", "F32", "[3]", bad, sizeof bad);
	const char *path = folder_file(&folder, "model.safetensors");
	maker_write(&maker, path);
	struct weight_file *weights = weight_file_open(path, &error);
	assert_non_null(weights);
	assert_false(weight_file_check_finite(weights, &error));
	assert_non_null(strstr(error.message, "value 1 of tensor bad is inf"));
	weight_file_close(weights);
	weights = weight_file_open(write_guarded("model.safetensors"), &error);
	assert_true(weight_file_check_finite(weights, &error));
	weight_file_close(weights);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_prefix_is_refused),
	    cmocka_unit_test(changed_bytes_never_crash),
	    cmocka_unit_test(header_lengths_are_checked),
	    cmocka_unit_test(headers_that_lie_are_refused),
	    cmocka_unit_test(deep_nesting_is_refused),
	    cmocka_unit_test_teardown(tensors_are_found, clear_folder),
	    cmocka_unit_test_teardown(what_is_no_file_is_refused, clear_folder),
	    cmocka_unit_test_teardown(shards_make_one_set, clear_folder),
	    cmocka_unit_test_teardown(shards_that_do_not_fit_are_refused, clear_folder),
	    cmocka_unit_test_teardown(a_file_that_is_replaced_stays_what_it_was, clear_folder),
	    cmocka_unit_test_teardown(a_file_that_is_written_to_is_noticed, clear_folder),
	    cmocka_unit_test_teardown(a_file_that_is_cut_reads_as_zeros, clear_folder),
	    cmocka_unit_test_teardown(all_files_are_guarded, clear_folder),
	    cmocka_unit_test_teardown(weights_that_are_not_finite_are_named, clear_folder),
	    cmocka_unit_test_teardown(time_grows_with_the_number_of_tensors, clear_folder),
	};
	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
