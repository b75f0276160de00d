/* Names of tokenizer.ggml.pre -> how text is cut into words. Each is one expression after the other, every match and
 * every gap becoming a piece, then the byte-level alphabet.
 *
 * The expressions are those of the models' own tokenizer.json where that is known (llama-bpe, qwen2, tekken, gpt-4o,
 * deepseek-v3, ...), so that a GGUF file gives the ids that the model was trained on; for the others they are what
 * llama.cpp applies under that name.
 */
#include <string.h>

#include "text/gguf_vocabulary.h"

#define GPT2    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define ENDINGS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define WORD    "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+"
#define SPACE   "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define SIGNS   " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*"
#define LLAMA3  ENDINGS "|" WORD "|\\p{N}{1,3}|" SIGNS "|" SPACE
#define QWEN2   ENDINGS "|" WORD "|\\p{N}|" SIGNS "|" SPACE
/* Words of o200k and tekken: upper case, then lower case; signs may end in slashes. */
#define UPPER      "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER      "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define CASED_HEAD "[^\\r\\n\\p{L}\\p{N}]?" UPPER
#define SLASHES    " ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" SPACE
#define TEKKEN     CASED_HEAD "*" LOWER "+|" CASED_HEAD "+" LOWER "*|\\p{N}|" SLASHES
#define GPT4O      CASED_HEAD "*" LOWER "+" ENDINGS "?|" CASED_HEAD "+" LOWER "*" ENDINGS "?|\\p{N}{1,3}|" SLASHES
#define DEEPSEEK3                                                                                                      \
	"[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+|"               \
	" ?[\\p{P}\\p{S}]+[\\r\\n]*|" SPACE
#define DEEPSEEK_CJK "[一-龥\u0800-一가-\ud7ff]+"
/* Letters of the scripts that have upper and lower case. */
/* clang-format off */
#define DEEPSEEK_LETTERS \
	"\\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚ\u1e00-" \
	"\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-\u1f7d\u1f80-\u1fb4" \
	"\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc" \
	"ℂℇℊ-ℓℕℙ-ℝℤ\u2126ℨ\u212a-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+"
/* clang-format on */

enum { MAX_EXPRESSIONS = 6 };

static const struct {
	const char *names; /* separated by spaces */
	bool ignore_merges, add_bos;
	bool compose; /* NFC, as the models of that name do */
	const char *expressions[MAX_EXPRESSIONS];
} rows[] = {
    {"llama-bpe llama3 llama-v3 falcon3 pixtral lfm2 midm-2.0", true, true, false, {LLAMA3}},
    {"smaug-bpe dbrx", false, false, false, {LLAMA3}},
    {"qwen2", false, false, true, {QWEN2}},
    {"deepseek-r1-qwen stablelm2 megrez", false, false, false, {QWEN2}},
    {"gpt-2 phi-2 olmo exaone4 mellum a.x-4.0", false, false, false, {GPT2}},
    {"smollm starcoder refact command-r codeshell exaone minerva-7b", false, false, false, {"\\p{N}", GPT2}},
    {"tekken", true, true, false, {TEKKEN}},
    {"gpt-4o llama4", false, false, false, {GPT4O}},
    {"deepseek-llm",
     false,
     false,
     false,
     {"[\\r\\n]", DEEPSEEK_LETTERS, "\\s?[!-/:-~！-／：-～‘-‟\u3000-。]+", "\\s+$", DEEPSEEK_CJK, "\\p{N}+"}},
    {"deepseek-coder", false, false, false, {"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", DEEPSEEK_CJK, "\\p{N}"}},
    {"deepseek-v3", false, false, false, {"\\p{N}{1,3}", "[一-龥\u3040-\u309f\u30a0-\u30ff]+", DEEPSEEK3}},
    {"default", false, false, false, {"[\\p{P}$+<=>^~|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]"}},
};
enum { N_ROWS = sizeof rows / sizeof *rows };

static bool is_listed(const char *names, const char *name, size_t n_name)
{
	while (*names) {
		size_t n = strcspn(names, " ");
		if (n == n_name && memcmp(names, name, n) == 0)
			return true;
		names += n + (names[n] == ' ');
	}
	return false;
}

static bool refuse(const char *name, size_t n_name, struct error *error)
{
	struct bytes list = {0};
	for (int i = 0; i < N_ROWS; i++) {
		bytes_append_text(&list, i ? " " : "");
		bytes_append_text(&list, rows[i].names);
	}
	error_set(error, ERROR_MODEL, "tokenizer.ggml.pre \"%.*s\" is not supported, expected one of: %s",
	          (int)(n_name < 60 ? n_name : 60), name, list.failed ? "" : list.data);
	bytes_free(&list);
	return false;
}

struct regex *pretokenizer_tekken_regex(struct error *error)
{
	return regex_compile(TEKKEN, sizeof TEKKEN - 1, error);
}

_Static_assert((int)MAX_EXPRESSIONS < (int)PRETOKENIZER_MAX_STEPS, "one more step makes the text byte-level");

bool gguf_pretokenizer(const char *name, size_t n_name, struct tokenizer_description *out, bool *add_bos,
                       struct error *error)
{
	struct pretokenizer *pretokenizer = &out->pretokenizer;
	int row = 0;
	while (row < N_ROWS && !is_listed(rows[row].names, name, n_name))
		row++;
	if (row == N_ROWS)
		return refuse(name, n_name, error);
	*add_bos = rows[row].add_bos;
	out->bpe.ignore_merges = rows[row].ignore_merges;
	if (rows[row].compose)
		out->normalizer.steps[out->normalizer.n_steps++].kind = NORMALIZER_NFC;
	for (int i = 0; i < MAX_EXPRESSIONS && rows[row].expressions[i]; i++) {
		const char *expression = rows[row].expressions[i];
		struct pretokenizer_step *step = &pretokenizer->steps[pretokenizer->n_steps++];
		*step = (struct pretokenizer_step){.kind = PRETOKENIZER_SPLIT, .behavior = SPLIT_ISOLATED};
		step->regex = regex_compile(expression, strlen(expression), error);
		if (!step->regex)
			return error_prefix(error, "tokenizer.ggml.pre");
	}
	pretokenizer->steps[pretokenizer->n_steps++].kind = PRETOKENIZER_BYTE_LEVEL;
	return true;
}
