/* What the fuzz targets share: parts of an input, files, what holds for every error and every tokenizer. */
#include "fuzz.h"

#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/utf8.h"
#include "model/rope.h"
#include "model/weights.h"
#include "text/detokenizer.h"
#include "text/unicode.h"

/* Hash keys are drawn at random (base/hash.c). Here they are always the same, so that an input does the same each time;
 * the linker puts this in the place of getrandom. */
ssize_t __wrap_getrandom(void *out, size_t n_bytes, unsigned flags);
ssize_t __wrap_getrandom(void *out, size_t n_bytes, unsigned flags)
{
	(void)flags;
	memset(out, 42, n_bytes);
	return (ssize_t)n_bytes;
}

static void take_too_long(int number)
{
	static const char message[] = "this input takes too much CPU time\n";
	(void)number;
	if (write(STDERR_FILENO, message, sizeof message - 1) >= 0)
		abort();
}

void fuzz_begin(void)
{
	static bool prepared;
	static const struct itimerval limit = {.it_value.tv_sec = FUZZ_CPU_SECONDS};
	if (!prepared)
		signal(SIGPROF, take_too_long);
	prepared = true;
	REQUIRE(setitimer(ITIMER_PROF, &limit, NULL) == 0);
}

bool fuzz_next_part(struct fuzz_part *rest, struct fuzz_part *part)
{
	enum { N_SEPARATOR = sizeof FUZZ_SEPARATOR - 1 };
	if (!rest->data)
		return false;
	const uint8_t *end = memmem(rest->data, rest->n_bytes, FUZZ_SEPARATOR, N_SEPARATOR);
	*part = *rest;
	if (end) {
		part->n_bytes = (size_t)(end - rest->data);
		*rest = (struct fuzz_part){end + N_SEPARATOR, rest->n_bytes - part->n_bytes - N_SEPARATOR};
	} else {
		rest->data = NULL;
	}
	return true;
}

/* ---- files ---- */

static char folder[128];

static void remove_folder(void)
{
	static const char *const names[] = {"config.json", "generation_config.json", "tokenizer.json",
	                                    "tokenizer_config.json", "model.gguf"};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		fuzz_remove(names[i]);
	rmdir(folder);
}

const char *fuzz_folder(void)
{
	const char *parent = getenv("TMPDIR");
	if (*folder)
		return folder;
	snprintf(folder, sizeof folder, "%s/tallow-fuzz-XXXXXX", parent ? parent : "/tmp");
	REQUIRE(mkdtemp(folder));
	atexit(remove_folder);
	return folder;
}

const char *fuzz_path(const char *name)
{
	static char path[256];
	snprintf(path, sizeof path, "%s/%s", fuzz_folder(), name);
	return path;
}

void fuzz_write(const char *name, struct fuzz_part part)
{
	int fd = open(fuzz_path(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	REQUIRE(fd >= 0);
	REQUIRE(write(fd, part.data, part.n_bytes) == (ssize_t)part.n_bytes);
	close(fd);
}

void fuzz_remove(const char *name)
{
	unlink(fuzz_path(name));
}

/* ---- what must hold ---- */

void fuzz_check_error(const struct error *error)
{
	REQUIRE(error->code == ERROR_MODEL || error->code == ERROR_MEMORY);
	size_t n = strnlen(error->message, sizeof error->message);
	REQUIRE(n > 0 && n < sizeof error->message);
	REQUIRE(unicode_valid_prefix(error->message, n) == n);
	for (size_t i = 0; i < n; i++)
		REQUIRE((unsigned char)error->message[i] >= 0x20);
}

static void check_rope(const struct model_config *config)
{
	const struct rope_config *rope = &config->rope;
	bool factor_said = rope->type != ROPE_DEFAULT && rope->type != ROPE_LONGROPE;
	REQUIRE(config->rotary_dim >= 2 && config->rotary_dim % 2 == 0 && config->rotary_dim <= config->head_dim);
	REQUIRE((float)rope->theta > 0 && isfinite((float)rope->theta));
	REQUIRE((float)rope->attention_factor > 0 && isfinite((float)rope->attention_factor));
	REQUIRE(!factor_said || rope->factor >= 1);
	int64_t longest = config_max_context(config), variants[] = {0, rope_variant(rope, longest)};
	REQUIRE(longest >= config->max_positions);
	float *frequencies = malloc((size_t)config->rotary_dim / 2 * sizeof *frequencies);
	REQUIRE(frequencies);
	for (int i = 0; i < 2; i++) {
		rope_frequencies(rope, config->rotary_dim, variants[i], NULL, frequencies);
		for (int64_t j = 0; j < config->rotary_dim / 2; j++)
			REQUIRE(isfinite(frequencies[j]));
	}
	free(frequencies);
}

void fuzz_check_config(const struct model_config *config)
{
	REQUIRE(config->hidden_size > 0 && config->intermediate_size > 0 && config->n_layers > 0);
	REQUIRE(config->n_heads > 0 && config->n_kv_heads > 0 && config->n_heads % config->n_kv_heads == 0);
	REQUIRE(config->head_dim > 0 && config->head_dim % 2 == 0);
	REQUIRE(config->vocab_size > 0 && config->max_positions > 0);
	REQUIRE(config->rms_norm_eps > 0 && (float)config->rms_norm_eps > 0 && isfinite(config->rms_norm_eps));
	REQUIRE(config->n_layers <= CONFIG_MAX_LAYERS);
	for (int64_t layer = 0; layer < config->n_layers; layer++)
		REQUIRE(layer_spec_of(config, layer).window >= 0);
	check_rope(config);
	REQUIRE(config->bos_id >= -1 && config->bos_id < config->vocab_size);
	REQUIRE(config->n_eos_ids >= 0 && config->n_eos_ids <= CONFIG_MAX_EOS_IDS);
	for (int i = 0; i < config->n_eos_ids; i++)
		REQUIRE(config->eos_ids[i] >= 0 && config->eos_ids[i] < config->vocab_size);
	REQUIRE(weights_parameter_count(config) > 0);
}

void fuzz_read(const void *data, size_t n_bytes)
{
	static volatile unsigned char sink;
	unsigned char sum = 0;
	for (size_t i = 0; i < n_bytes; i++)
		sum ^= ((const unsigned char *)data)[i];
	sink = sum;
	(void)sink;
}

/* Token by token comes out what comes out at once, but for an unfinished character at the end. */
static void check_stream(const struct tokenizer *tokenizer, const struct token_ids *ids, const struct bytes *whole)
{
	struct error error = {0};
	struct bytes streamed = {0};
	struct detokenizer *detokenizer = detokenizer_create(tokenizer, NULL, 0, &error);
	REQUIRE(detokenizer);
	for (size_t i = 0; i < ids->n_ids; i++)
		detokenizer_push(detokenizer, ids->ids[i], &streamed);
	detokenizer_finish(detokenizer, &streamed);
	detokenizer_destroy(detokenizer);
	REQUIRE(!streamed.failed && streamed.n_bytes <= whole->n_bytes);
	REQUIRE(streamed.n_bytes == 0 || memcmp(streamed.data, whole->data, streamed.n_bytes) == 0);
	for (size_t at = streamed.n_bytes; at < whole->n_bytes; at += 3)
		REQUIRE(whole->n_bytes - at <= 9 && memcmp(whole->data + at, "\xEF\xBF\xBD", 3) == 0);
	bytes_free(&streamed);
}

static void check_back(const struct tokenizer *tokenizer, const struct token_ids *ids, bool skip_special)
{
	struct error error = {0};
	struct bytes text = {0};
	if (tokenizer_decode(tokenizer, ids->ids, ids->n_ids, skip_special, &text, &error)) {
		REQUIRE(unicode_valid_prefix(text.data, text.n_bytes) == text.n_bytes);
		if (skip_special)
			check_stream(tokenizer, ids, &text);
	} else {
		REQUIRE(error.code == ERROR_INVALID_REQUEST || error.code == ERROR_MEMORY);
	}
	bytes_free(&text);
}

void fuzz_use_tokenizer(const struct tokenizer *tokenizer, const char *text, size_t n_bytes)
{
	struct token_ids ids = {0};
	REQUIRE(tokenizer_vocab_size(tokenizer) > 0);
	for (unsigned flags = 0; flags < 4; flags++) {
		struct error error = {0};
		size_t n_before = ids.n_ids;
		if (!tokenizer_encode(tokenizer, text, n_bytes, flags, &ids, &error)) {
			REQUIRE(error.code == ERROR_INVALID_REQUEST || error.code == ERROR_MEMORY);
			REQUIRE(ids.n_ids == n_before);
			break; /* a regular expression that takes its time would take it again */
		}
	}
	for (size_t i = 0; i < ids.n_ids; i++) {
		size_t n_token = 0;
		REQUIRE(ids.ids[i] >= 0 && ids.ids[i] < tokenizer_vocab_size(tokenizer));
		const char *token = tokenizer_token_text(tokenizer, ids.ids[i], &n_token);
		if (token)
			fuzz_read(token, n_token);
	}
	check_back(tokenizer, &ids, false);
	check_back(tokenizer, &ids, true);
	token_ids_free(&ids);
}
