/* tokenizer.json and, as further parts, tokenizer_config.json, a text for it, special_tokens_map.json, added_tokens.json
 * and config.json; an empty part is no file. */
#include "base/json.h"
#include "fuzz.h"

static const char sample[] = " ab  <s>1a A\xC3\x89\xF0\x9F\x98\x80 don't\t12345 e\xCC\x81\xCC\xA7 x\n\n  ";

static void write_optional(const char *name, struct fuzz_part *rest)
{
	struct fuzz_part part;
	if (fuzz_next_part(rest, &part) && part.n_bytes)
		fuzz_write(name, part);
	else
		fuzz_remove(name);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
	struct fuzz_part rest = {data, n_bytes}, part;
	struct error error = {0};
	fuzz_begin();
	fuzz_next_part(&rest, &part);
	fuzz_write("tokenizer.json", part);
	write_optional("tokenizer_config.json", &rest);
	struct fuzz_part text = {0};
	bool has_text = fuzz_next_part(&rest, &text);
	write_optional("special_tokens_map.json", &rest);
	write_optional("added_tokens.json", &rest);
	write_optional("config.json", &rest);
	struct tokenizer *tokenizer = tokenizer_load(fuzz_folder(), &error);
	if (!tokenizer) {
		fuzz_check_error(&error);
		return 0;
	}
	REQUIRE(tokenizer_bytes(tokenizer) > 0 && tokenizer_kind(tokenizer));
	REQUIRE(tokenizer_eos_id(tokenizer) < tokenizer_vocab_size(tokenizer));
	if (has_text)
		fuzz_use_tokenizer(tokenizer, (const char *)text.data, text.n_bytes);
	else
		fuzz_use_tokenizer(tokenizer, sample, sizeof sample - 1);
	tokenizer_destroy(tokenizer);
	return 0;
}
