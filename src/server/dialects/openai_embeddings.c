#include "server/dialects/openai_embeddings.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "server/dialects/openai_request.h"

enum { MODEL_MAX_BYTES = 1024 };

/* ---- the body ---- */

const char *embeddings_field(enum embeddings_form form)
{
	return form == EMBEDDINGS_OLLAMA_ONE ? "prompt" : "input";
}

static bool bad_input(struct field_checker *check)
{
	field_error(check, "input", "type(string, strings or tokens)", NULL,
	            "input must be a string that is not empty, an array of token ids, or an array of up to %d of either",
	            EMBEDDINGS_MAX_INPUTS);
	return false;
}

static bool read_input(struct field_checker *check, const struct json *value, int64_t vocab_size,
                       struct embeddings_input *input, struct error *error)
{
	if (json_type(value) == JSON_ARRAY && json_count(value) > 0)
		return openai_read_tokens(value, vocab_size, "input", check, &input->ids, &input->n_ids, error);
	input->text = json_string(value, &input->n_bytes);
	return input->text && input->n_bytes > 0 ? true : bad_input(check);
}

static bool make_inputs(struct embeddings_asked *asked, size_t n, struct error *error)
{
	asked->inputs = calloc(n, sizeof *asked->inputs);
	if (!asked->inputs)
		return error_set(error, ERROR_MEMORY, "no memory for the request");
	asked->n_inputs = n;
	return true;
}

static bool read_inputs(struct field_checker *check, int64_t vocab_size, struct embeddings_asked *asked,
                        struct error *error)
{
	const struct json *input = field_get(check, "input");
	if (!input) {
		field_error(check, "input", "required", NULL, "input is required");
		return false;
	}
	const struct json *first = json_type(input) == JSON_ARRAY ? json_first(input) : NULL;
	bool several = first && json_type(first) != JSON_NUMBER;
	size_t n = several ? json_count(input) : 1;
	if (n > EMBEDDINGS_MAX_INPUTS)
		return bad_input(check);
	if (!make_inputs(asked, n, error))
		return false;
	const struct json *item = several ? first : input;
	for (size_t i = 0; i < n; i++, item = json_next(item))
		if (!read_input(check, item, vocab_size, &asked->inputs[i], error))
			return false;
	return true;
}

static bool read_prompt(struct field_checker *check, struct embeddings_asked *asked, struct error *error)
{
	size_t n_bytes = 0;
	const char *text = json_string(field_get(check, "prompt"), &n_bytes);
	if (!text || n_bytes == 0) {
		field_error(check, "prompt", "type(string)", NULL, "prompt must be a string that is not empty");
		return false;
	}
	if (!make_inputs(asked, 1, error))
		return false;
	asked->inputs[0] = (struct embeddings_input){.text = text, .n_bytes = n_bytes};
	return true;
}

static void read_format(struct field_checker *check, struct embeddings_asked *asked)
{
	const struct json *format = field_get(check, "encoding_format");
	const char *name = json_string(format, NULL);
	asked->base64 = name && strcmp(name, "base64") == 0;
	if (format && !asked->base64 && (!name || strcmp(name, "float") != 0))
		field_error(check, "encoding_format", "one_of(float, base64)", format,
		            "encoding_format must be float or base64");
}

bool embeddings_parse(struct field_checker *check, enum embeddings_form form, int64_t vocab_size,
                      int64_t embedding_size, struct embeddings_asked *asked, struct error *error)
{
	size_t n_model = 0;
	*asked = (struct embeddings_asked){.form = form, .dimensions = embedding_size};
	field_name(check, "model", MODEL_MAX_BYTES, &asked->model, &n_model);
	read_format(check, asked);
	field_integer(check, "dimensions", 1, embedding_size, &asked->dimensions);
	if (!(form == EMBEDDINGS_OLLAMA_ONE ? read_prompt(check, asked, error)
	                                    : read_inputs(check, vocab_size, asked, error)))
		return false;
	if ((int64_t)asked->n_inputs > EMBEDDINGS_MAX_NUMBERS / asked->dimensions)
		field_error(check, "input", "max_items", NULL, "input must have at most %lld texts for vectors of %lld numbers",
		            EMBEDDINGS_MAX_NUMBERS / (long long)asked->dimensions, (long long)asked->dimensions);
	return check->n_errors == 0;
}

void embeddings_free(struct embeddings_asked *asked)
{
	for (size_t i = 0; i < asked->n_inputs; i++)
		free(asked->inputs[i].ids);
	free(asked->inputs);
	*asked = (struct embeddings_asked){0};
}

/* ---- the answer ---- */

/* Four bytes, little endian, whatever the machine. */
static void put_float(unsigned char *out, float value)
{
	uint32_t bits;
	memcpy(&bits, &value, sizeof bits);
	for (int i = 0; i < 4; i++)
		out[i] = (unsigned char)(bits >> 8 * i);
}

void embeddings_begin(struct bytes *out, const struct embeddings_asked *asked)
{
	json_open(out);
	if (asked->form != EMBEDDINGS_OPENAI) {
		bool one = asked->form == EMBEDDINGS_OLLAMA_ONE;
		json_field_key(out, one ? "embedding" : "embeddings");
		bytes_append_text(out, one ? "" : "[");
		return;
	}
	json_field_text(out, "object", "list");
	json_field_key(out, "data");
	bytes_append_text(out, "[");
}

static void write_numbers(struct bytes *out, bool base64, const float *vector, int64_t n, float scale)
{
	enum { AT_ONCE = 192 }; /* three bytes of four characters: whole groups */
	unsigned char raw[4 * AT_ONCE];
	bytes_append_text(out, base64 ? "\"" : "[");
	for (int64_t i = 0; i < n; i++) {
		if (!base64) {
			bytes_append_format(out, "%s%.9g", i ? "," : "", (double)(vector[i] * scale));
			continue;
		}
		int64_t at = i % AT_ONCE;
		put_float(raw + 4 * at, vector[i] * scale);
		if (at == AT_ONCE - 1 || i == n - 1)
			bytes_append_base64(out, raw, 4 * (size_t)(at + 1));
	}
	bytes_append_text(out, base64 ? "\"" : "]");
}

void embeddings_add(struct bytes *out, const struct embeddings_asked *asked, size_t index, const float *vector)
{
	double squares = 0;
	for (int64_t i = 0; i < asked->dimensions; i++)
		squares += (double)vector[i] * (double)vector[i];
	/* Of a whole vector the length is one already; a beginning without length stays as it is. */
	float scale = squares > 0 && fabs(squares - 1) > 1e-5 ? (float)(1 / sqrt(squares)) : 1;
	if (index)
		bytes_append_text(out, ",");
	if (asked->form != EMBEDDINGS_OPENAI) {
		write_numbers(out, false, vector, asked->dimensions, scale);
		return;
	}
	json_open(out);
	json_field_text(out, "object", "embedding");
	json_field_uint(out, "index", index);
	json_field_key(out, "embedding");
	write_numbers(out, asked->base64, vector, asked->dimensions, scale);
	json_close(out);
}

void embeddings_end(struct bytes *out, const struct embeddings_asked *asked, const char *model, int64_t n_tokens,
                    int64_t duration_ns)
{
	if (asked->form == EMBEDDINGS_OLLAMA_ONE) {
		json_close(out);
		return;
	}
	bytes_append_text(out, "]");
	json_field_text(out, "model", model);
	if (asked->form == EMBEDDINGS_OLLAMA) {
		json_field_int(out, "total_duration", duration_ns);
		json_field_int(out, "load_duration", 0);
		json_field_int(out, "prompt_eval_count", n_tokens);
		json_close(out);
		return;
	}
	json_field_key(out, "usage");
	json_open(out);
	json_field_int(out, "prompt_tokens", n_tokens);
	json_field_int(out, "total_tokens", n_tokens);
	json_close(out);
	json_close(out);
}
