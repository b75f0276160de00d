/* `tallow tokenize` and `tallow detokenize`: the text layer alone, standard input to standard output. */
#include <inttypes.h>
#include <stdio.h>

#include "base/json.h"
#include "cli/commands.h"
#include "cli/screen.h"
#include "cli/setup.h"
#include "text/tokenizer.h"

enum { MAX_INPUT_BYTES = 1 << 30 };

static struct tokenizer *open_tokenizer(const struct options *options, struct error *error)
{
	if (options->model)
		return tokenizer_load(options->model, error);
	error_set(error, ERROR_USAGE,
	          "--model is missing: a model directory, a .safetensors or .gguf file, or a tokenizer.json");
	return NULL;
}

static void print_ids(const struct token_ids *ids, bool json)
{
	const char *between = json ? "," : " ";
	fputs(json ? "[" : "", stdout);
	for (size_t i = 0; i < ids->n_ids; i++)
		printf("%s%" PRId32, i ? between : "", ids->ids[i]);
	puts(json ? "]" : "");
}

bool tokenize_run(const struct options *options, struct error *error)
{
	struct bytes text = {0};
	struct token_ids ids = {0};
	struct tokenizer *tokenizer = open_tokenizer(options, error);
	unsigned flags =
	    (options->no_special ? 0 : TOKENIZER_ADD_SPECIAL) | (options->parse_special ? TOKENIZER_PARSE_SPECIAL : 0);
	bool ok = tokenizer && setup_read_input(&text, MAX_INPUT_BYTES, error) &&
	          tokenizer_encode(tokenizer, text.data ? text.data : "", text.n_bytes, flags, &ids, error);
	if (ok)
		print_ids(&ids, options->json);
	token_ids_free(&ids);
	bytes_free(&text);
	tokenizer_destroy(tokenizer);
	return ok;
}

static void print_text(const struct bytes *text, bool json)
{
	struct bytes quoted = {0};
	if (json) {
		json_write_string(&quoted, text->data ? text->data : "", text->n_bytes);
		bytes_append_text(&quoted, "\n");
	}
	if (json)
		screen_print_json(quoted.data ? quoted.data : "", quoted.n_bytes);
	else
		screen_print_text(text->data ? text->data : "", text->n_bytes);
	bytes_free(&quoted);
}

bool detokenize_run(const struct options *options, struct error *error)
{
	struct bytes input = {0}, text = {0};
	struct token_ids ids = {0};
	struct tokenizer *tokenizer = open_tokenizer(options, error);
	bool ok = tokenizer && setup_read_input(&input, MAX_INPUT_BYTES, error) &&
	          setup_parse_ids(input.data ? input.data : "", &ids, error) &&
	          tokenizer_decode(tokenizer, ids.ids, ids.n_ids, !options->keep_special, &text, error);
	if (ok && text.failed)
		ok = error_set(error, ERROR_MEMORY, "no memory for the text of %zu tokens", ids.n_ids);
	if (ok)
		print_text(&text, options->json);
	token_ids_free(&ids);
	bytes_free(&text);
	bytes_free(&input);
	tokenizer_destroy(tokenizer);
	return ok;
}
