/* tokenizer.json and, as a second part, tokenizer_config.json; a third part is text for it. */
#include "base/json.h"
#include "fuzz.h"

static const char sample[] = " ab  <s>1a A\xC3\x89\xF0\x9F\x98\x80 don't\t12345 e\xCC\x81\xCC\xA7 x\n\n  ";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
	struct fuzz_part rest = {data, n_bytes}, part;
	struct error error = {0};
	fuzz_begin();
	fuzz_next_part(&rest, &part);
	fuzz_write("tokenizer.json", part);
	if (fuzz_next_part(&rest, &part) && part.n_bytes)
		fuzz_write("tokenizer_config.json", part);
	else
		fuzz_remove("tokenizer_config.json");
	struct tokenizer *tokenizer = tokenizer_load(fuzz_folder(), &error);
	if (!tokenizer) {
		fuzz_check_error(&error);
		return 0;
	}
	REQUIRE(tokenizer_bytes(tokenizer) > 0 && tokenizer_kind(tokenizer));
	REQUIRE(tokenizer_eos_id(tokenizer) < tokenizer_vocab_size(tokenizer));
	if (fuzz_next_part(&rest, &part))
		fuzz_use_tokenizer(tokenizer, (const char *)part.data, part.n_bytes);
	else
		fuzz_use_tokenizer(tokenizer, sample, sizeof sample - 1);
	tokenizer_destroy(tokenizer);
	return 0;
}
