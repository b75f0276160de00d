/* Writes the model that `make bench` runs on: TinyLlama-1.1B's shape with random BF16 weights from a fixed seed, a
 * context of 16384, a byte-fallback tokenizer of 32000 entries, and no EOS that it could emit.
 *
 *     make_model DIRECTORY
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { LAYERS = 22, HIDDEN = 2048, INNER = 5632, HEADS = 32, KV_HEADS = 4, HEAD_DIM = 64, VOCAB = 32000 };

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static FILE *create(const char *directory, const char *name)
{
	char path[4096];
	snprintf(path, sizeof path, "%s/%s", directory, name);
	FILE *file = fopen(path, "w");
	if (!file)
		die(path);
	return file;
}

static void finish(FILE *file, const char *name)
{
	if (ferror(file) || fclose(file) != 0)
		die(name);
}

static void write_config(const char *directory)
{
	FILE *file = create(directory, "config.json");
	fprintf(file,
	        "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", \"hidden_act\": \"silu\",\n"
	        " \"hidden_size\": %d, \"intermediate_size\": %d, \"num_hidden_layers\": %d, \"num_attention_heads\": %d,\n"
	        " \"num_key_value_heads\": %d, \"vocab_size\": %d, \"max_position_embeddings\": 16384,\n"
	        " \"rms_norm_eps\": 1e-05, \"rope_theta\": 10000.0, \"tie_word_embeddings\": false, \"bos_token_id\": 1,\n"
	        " \"torch_dtype\": \"bfloat16\"}\n",
	        HIDDEN, INNER, LAYERS, HEADS, KV_HEADS, VOCAB);
	finish(file, "config.json");
}

/* ---- tokenizer: single characters, all pairs of them, then triples until the table is full ---- */

enum { N_CHARS = 95, FIRST_CHAR = 3 + 256, N_MERGED = VOCAB - FIRST_CHAR - N_CHARS };

static void char_text(int index, char *out)
{
	if (index == 0)
		strcpy(out, "\xE2\x96\x81"); /* U+2581, a space */
	else if (index + 32 == '"' || index + 32 == '\\')
		sprintf(out, "\\%c", index + 32);
	else
		sprintf(out, "%c", index + 32);
}

/* Left and right part of merged token number n, as JSON text. */
static void merge_parts(int n, char *left, char *right)
{
	char one[8];
	if (n < N_CHARS * N_CHARS) {
		char_text(n / N_CHARS, left);
		char_text(n % N_CHARS, right);
		return;
	}
	n -= N_CHARS * N_CHARS;
	int pair = n / N_CHARS;
	char_text(pair / N_CHARS, left);
	char_text(pair % N_CHARS, one);
	strcat(left, one);
	char_text(n % N_CHARS, right);
}

static void write_vocab(FILE *file)
{
	char left[32], right[16];
	fprintf(file, "\"vocab\": {\"<unk>\": 0, \"<s>\": 1, \"</s>\": 2");
	for (int i = 0; i < 256; i++)
		fprintf(file, ", \"<0x%02X>\": %d", i, 3 + i);
	for (int i = 0; i < N_CHARS; i++) {
		char_text(i, left);
		fprintf(file, ", \"%s\": %d", left, FIRST_CHAR + i);
	}
	for (int i = 0; i < N_MERGED; i++) {
		merge_parts(i, left, right);
		fprintf(file, ",\n\"%s%s\": %d", left, right, FIRST_CHAR + N_CHARS + i);
	}
	fprintf(file, "},\n\"merges\": [");
	for (int i = 0; i < N_MERGED; i++) {
		merge_parts(i, left, right);
		fprintf(file, "%s\"%s %s\"", i ? ",\n" : "", left, right);
	}
	fprintf(file, "]");
}

static void write_tokenizer(const char *directory)
{
	FILE *file = create(directory, "tokenizer.json");
	fprintf(file, "{\"version\": \"1.0\", \"truncation\": null, \"padding\": null, \"added_tokens\": [");
	static const char *const specials[] = {"<unk>", "<s>", "</s>"};
	for (int i = 0; i < 3; i++)
		fprintf(file,
		        "%s{\"id\": %d, \"content\": \"%s\", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, "
		        "\"normalized\": false, \"special\": true}",
		        i ? ", " : "", i, specials[i]);
	fprintf(
	    file,
	    "],\n\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Prepend\", \"prepend\": "
	    "\"\xE2\x96\x81\"}, {\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, \"content\": "
	    "\"\xE2\x96\x81\"}]},\n\"pre_tokenizer\": null,\n\"post_processor\": {\"type\": \"TemplateProcessing\", "
	    "\"single\": [{\"SpecialToken\": {\"id\": \"<s>\", \"type_id\": 0}}, {\"Sequence\": {\"id\": \"A\", "
	    "\"type_id\": 0}}], \"pair\": [], \"special_tokens\": {\"<s>\": {\"id\": \"<s>\", \"ids\": [1], \"tokens\": "
	    "[\"<s>\"]}}},\n\"decoder\": {\"type\": \"Sequence\", \"decoders\": [{\"type\": \"Replace\", \"pattern\": "
	    "{\"String\": \"\xE2\x96\x81\"}, \"content\": \" \"}, {\"type\": \"ByteFallback\"}, {\"type\": \"Fuse\"}, "
	    "{\"type\": \"Strip\", \"content\": \" \", \"start\": 1, \"stop\": 0}]},\n\"model\": {\"type\": \"BPE\", "
	    "\"dropout\": null, \"unk_token\": \"<unk>\", \"continuing_subword_prefix\": null, \"end_of_word_suffix\": "
	    "null, \"fuse_unk\": true, \"byte_fallback\": true, ");
	write_vocab(file);
	fprintf(file, "}}\n");
	finish(file, "tokenizer.json");
}

/* ---- weights ---- */

struct tensor {
	char name[96];
	long rows, columns; /* columns 0: a vector of ones */
};

static int list_tensors(struct tensor *t)
{
	int n = 0;
#define ADD(n_rows, n_columns, ...)                                                                                    \
	do {                                                                                                               \
		snprintf(t[n].name, sizeof t[n].name, __VA_ARGS__);                                                            \
		t[n].rows = (n_rows);                                                                                          \
		t[n++].columns = (n_columns);                                                                                  \
	} while (0)
	ADD(VOCAB, HIDDEN, "model.embed_tokens.weight");
	for (int i = 0; i < LAYERS; i++) {
		ADD(HIDDEN, 0, "model.layers.%d.input_layernorm.weight", i);
		ADD(HEADS * HEAD_DIM, HIDDEN, "model.layers.%d.self_attn.q_proj.weight", i);
		ADD(KV_HEADS * HEAD_DIM, HIDDEN, "model.layers.%d.self_attn.k_proj.weight", i);
		ADD(KV_HEADS * HEAD_DIM, HIDDEN, "model.layers.%d.self_attn.v_proj.weight", i);
		ADD(HIDDEN, HEADS * HEAD_DIM, "model.layers.%d.self_attn.o_proj.weight", i);
		ADD(HIDDEN, 0, "model.layers.%d.post_attention_layernorm.weight", i);
		ADD(INNER, HIDDEN, "model.layers.%d.mlp.gate_proj.weight", i);
		ADD(INNER, HIDDEN, "model.layers.%d.mlp.up_proj.weight", i);
		ADD(HIDDEN, INNER, "model.layers.%d.mlp.down_proj.weight", i);
	}
	ADD(HIDDEN, 0, "model.norm.weight");
	ADD(VOCAB, HIDDEN, "lm_head.weight");
#undef ADD
	return n;
}

static long elements(const struct tensor *t)
{
	return t->rows * (t->columns ? t->columns : 1);
}

static size_t write_header(FILE *file, const struct tensor *tensors, int n)
{
	static char header[200000];
	size_t used = 0;
	long offset = 0;
	used += (size_t)snprintf(header, sizeof header, "{");
	for (int i = 0; i < n; i++) {
		char shape[64];
		if (tensors[i].columns)
			snprintf(shape, sizeof shape, "%ld,%ld", tensors[i].rows, tensors[i].columns);
		else
			snprintf(shape, sizeof shape, "%ld", tensors[i].rows);
		long end = offset + 2 * elements(&tensors[i]);
		used += (size_t)snprintf(header + used, sizeof header - used,
		                         "%s\"%s\":{\"dtype\":\"BF16\",\"shape\":[%s],\"data_offsets\":[%ld,%ld]}",
		                         i ? "," : "", tensors[i].name, shape, offset, end);
		offset = end;
	}
	used += (size_t)snprintf(header + used, sizeof header - used, "}");
	while (used % 64 != 56) /* so that the data begins on a cache line, as the format recommends alignment */
		header[used++] = ' ';
	uint64_t n_bytes = used;
	fwrite(&n_bytes, 8, 1, file);
	fwrite(header, 1, used, file);
	return used;
}

static uint64_t random_state = 0x9e3779b97f4a7c15u;

static uint64_t next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

/* Even over (-0.035, 0.035): the variance of a normal distribution of 0.02, as models are initialised. */
static uint16_t random_weight(uint32_t bits)
{
	float value = ((float)(bits & 0xFFFF) - 32767.5F) * (0.0346F / 32768.0F);
	uint32_t word;
	memcpy(&word, &value, 4);
	return (uint16_t)(word >> 16);
}

static void write_tensor(FILE *file, const struct tensor *tensor)
{
	static uint16_t buffer[1 << 16];
	long left = elements(tensor);
	while (left > 0) {
		long n = left < (long)(sizeof buffer / 2) ? left : (long)(sizeof buffer / 2);
		for (long i = 0; i < n; i += 4) {
			uint64_t bits = next_random();
			for (int j = 0; j < 4; j++)
				buffer[i + j] = tensor->columns ? random_weight((uint32_t)(bits >> (16 * j))) : 0x3F80;
		}
		fwrite(buffer, 2, (size_t)n, file);
		left -= n;
	}
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: make_model DIRECTORY\n");
		return 2;
	}
	static struct tensor tensors[256];
	int n = list_tensors(tensors);
	if (mkdir(argv[1], 0777) != 0) {
		struct stat info;
		if (stat(argv[1], &info) != 0)
			die(argv[1]);
	}
	write_config(argv[1]);
	write_tokenizer(argv[1]);
	FILE *file = create(argv[1], "model.safetensors");
	write_header(file, tensors, n);
	for (int i = 0; i < n; i++)
		write_tensor(file, &tensors[i]);
	finish(file, "model.safetensors");
	return 0;
}
