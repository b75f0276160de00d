/* A constraint (the first byte says of which kind its source is) and, as a second part, a text to follow, by bytes and by
 * tokens. */
#include <string.h>

#include "base/json.h"
#include "fuzz.h"
#include "text/grammar.h"
#include "text/tokenizer.h"

static struct grammar_vocabulary *vocabulary; /* of the model that comes with the project */
static uint32_t *mask;

static void read_vocabulary(void)
{
	struct error error = {0};
	struct tokenizer *tokenizer = tokenizer_load("models/tallow-tiny", &error); /* as long as the process */
	vocabulary = tokenizer ? grammar_vocabulary_create(tokenizer, &error) : NULL;
	mask = vocabulary ? calloc(grammar_mask_words(vocabulary), sizeof *mask) : NULL;
	if (!mask)
		fprintf(stderr, "models/tallow-tiny: %s\n", error.message);
	REQUIRE(mask);
}

static bool may_come(int32_t token)
{
	return mask[token / 32] >> token % 32 & 1;
}

static void follow(struct grammar *grammar, struct fuzz_part text)
{
	size_t n = 0;
	while (n < text.n_bytes && grammar_take(grammar, (const char *)text.data + n, 1))
		n++;
	bool complete = grammar_complete(grammar);
	/* As a whole it goes as far as byte by byte. */
	grammar_restart(grammar);
	REQUIRE(grammar_take(grammar, (const char *)text.data, n) || grammar_failed(grammar));
	REQUIRE(grammar_complete(grammar) == complete || grammar_failed(grammar));
}

/* The longest tokens that a text begins with, one after another: the mask has a token where it can be taken, and what must
 * come is one of the mask's. */
static void follow_tokens(struct grammar *grammar, struct fuzz_part text)
{
	enum { MAX_TOKENS = 8 }; /* before each it may take its steps anew */
	struct error error = {0};
	grammar_restart(grammar);
	for (size_t i = 0, n = 0, n_token = 0; i < MAX_TOKENS && n <= text.n_bytes; i++, n += n_token) {
		int32_t token = grammar_token_at(vocabulary, (const char *)text.data + n, text.n_bytes - n);
		bool made = grammar_mask(grammar, vocabulary, mask, &error);
		int32_t forced = grammar_forced_token(grammar, vocabulary);
		REQUIRE(made || grammar_failed(grammar) || error.code == ERROR_INFERENCE || error.code == ERROR_MEMORY);
		REQUIRE(!made || forced < 0 || grammar_failed(grammar) || (may_come(forced) && !grammar_complete(grammar)));
		if (token < 0 || !made)
			return;
		bool may = may_come(token);
		bool came = grammar_token(grammar, vocabulary, token);
		REQUIRE(came == may || grammar_failed(grammar));
		if (!came || !grammar_token_bytes(vocabulary, token, &n_token))
			return;
	}
}

static void find_canonical(struct grammar *grammar, struct fuzz_part text)
{
	struct error error = {0};
	struct json *value = json_parse((const char *)text.data, text.n_bytes, &(struct json_limits){0}, &error);
	struct bytes canonical = {0};
	if (value && grammar_canonical(grammar, value, &canonical)) {
		grammar_restart(grammar);
		REQUIRE(grammar_take(grammar, canonical.data, canonical.n_bytes) || grammar_failed(grammar));
		REQUIRE(grammar_complete(grammar) || grammar_failed(grammar));
	}
	bytes_free(&canonical);
	json_destroy(value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
	static const enum grammar_kind kinds[] = {GRAMMAR_JSON_SCHEMA, GRAMMAR_REGEX, GRAMMAR_CHOICE, GRAMMAR_GBNF};
	struct fuzz_part rest = {data, n_bytes}, source, text = {(const uint8_t *)"", 0};
	struct grammar_report report = {0};
	struct error error = {0};
	fuzz_begin();
	if (!vocabulary)
		read_vocabulary();
	fuzz_next_part(&rest, &source);
	fuzz_next_part(&rest, &text);
	if (source.n_bytes == 0)
		return 0;
	struct grammar *grammar =
	    grammar_compile(kinds[source.data[0] % 4], (const char *)source.data + 1, source.n_bytes - 1, &report, &error);
	if (grammar) {
		follow(grammar, text);
		follow_tokens(grammar, text);
		find_canonical(grammar, text);
	} else {
		REQUIRE(error.code == ERROR_CONSTRAINT || error.code == ERROR_MEMORY);
		REQUIRE(error.code == ERROR_MEMORY || report.n_refused > 0);
	}
	grammar_report_free(&report);
	grammar_destroy(grammar);
	return 0;
}
