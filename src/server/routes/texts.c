/* POST /tokenize, /detokenize, /apply-template and /v1/messages/count_tokens: what tokenizer and chat template make of a
 * text. */
#include <stdlib.h>

#include "base/json.h"
#include "server/dialects/messages_request.h"
#include "server/dialects/openai_request.h"
#include "server/generation/generation.h"
#include "server/server_private.h"

/* What they share: a body that is read, and its answer. */
struct text_request {
	struct exchange *exchange;
	const struct tokenizer *tokenizer;
	struct engine_status status;
	const struct json *document;
	struct field_checker check;
	struct bytes body;
};

/* Each fills in request->body, or returns false with *error or a bad field. */
typedef bool text_action(struct text_request *request, struct error *error);

static enum MHD_Result answer_text(struct exchange *exchange, text_action *action)
{
	struct error error = {0};
	struct text_request request = {.exchange = exchange};
	struct engine *engine = exchange->server->engine;
	engine_status(engine, &request.status);
	request.tokenizer = engine_tokenizer(engine);
	if (!request.tokenizer) {
		error_set(&error, ERROR_LOADING, "the model is not loaded");
		return respond_error(exchange, &error, engine_retry_after(engine));
	}
	struct json *document =
	    request_parse(exchange->body.data, exchange->body.n_bytes, request.status.context_length, &error);
	if (!document)
		return respond_error(exchange, &error, 0);
	enum MHD_Result result;
	request.document = document;
	field_checker_init(&request.check, document);
	if (action(&request, &error)) {
		result = respond_json(exchange, 200, &request.body);
	} else {
		bytes_free(&request.body);
		if (error.code == ERROR_TEMPLATE)
			error_blame(&error, "messages");
		result = error.code != ERROR_NONE ? respond_error(exchange, &error, 0)
		                                  : respond_bad_fields(exchange, &request.check);
	}
	field_checker_free(&request.check);
	json_destroy(document);
	return result;
}

/* ---- /tokenize ---- */

static void write_tokens(struct text_request *request, const struct token_ids *ids, bool with_texts)
{
	struct bytes *body = &request->body;
	json_open(body);
	json_field_uint(body, "count", ids->n_ids);
	json_field_int(body, "max_model_len", request->status.context_length);
	json_field_key(body, "tokens");
	bytes_append_text(body, "[");
	for (size_t i = 0; i < ids->n_ids; i++)
		bytes_append_format(body, "%s%d", i > 0 ? "," : "", ids->ids[i]);
	bytes_append_text(body, "]");
	if (with_texts) {
		json_field_key(body, "token_strs");
		bytes_append_text(body, "[");
		for (size_t i = 0; i < ids->n_ids; i++) {
			size_t n_bytes = 0;
			const char *text = tokenizer_token_text(request->tokenizer, ids->ids[i], &n_bytes);
			if (i > 0)
				bytes_append_text(body, ",");
			json_write_string(body, text ? text : "", text ? n_bytes : 0);
		}
		bytes_append_text(body, "]");
	}
	json_close(body);
}

static bool encode_chat(struct text_request *request, struct token_ids *ids, struct error *error)
{
	const struct json *conversation = NULL;
	struct json *made = NULL;
	bool parse_special = false, add_special = true; /* the template says which there are */
	field_bool(&request->check, "add_special_tokens", &add_special);
	field_bool(&request->check, "parse_special", &parse_special);
	bool ok =
	    openai_read_conversation(request->document, &request->check, &conversation, &made, error) &&
	    generation_encode_chat(request->exchange->server->engine, conversation, parse_special, NULL, NULL, ids, error);
	json_destroy(made);
	return ok;
}

static bool encode_text(struct text_request *request, struct token_ids *ids, struct error *error)
{
	struct field_checker *check = &request->check;
	bool add_special = true, parse_special = true;
	field_bool(check, "add_special_tokens", &add_special);
	field_bool(check, "parse_special", &parse_special);
	const struct json *prompt = field_get(check, "prompt");
	const char *name = prompt ? "prompt" : "content";
	size_t n_bytes = 0;
	const char *text = json_string(prompt ? prompt : field_get(check, "content"), &n_bytes);
	if (!text)
		field_error(check, name, "type(string)", NULL, "prompt or content must be a string, or messages an array");
	if (check->n_errors > 0)
		return false;
	unsigned flags = (add_special ? TOKENIZER_ADD_SPECIAL : 0) | (parse_special ? TOKENIZER_PARSE_SPECIAL : 0);
	return tokenizer_encode(request->tokenizer, text, n_bytes, flags, ids, error);
}

static bool tokenize(struct text_request *request, struct error *error)
{
	struct token_ids ids = {0};
	bool with_texts = false;
	field_bool(&request->check, "return_token_strs", &with_texts);
	bool ok =
	    field_get(&request->check, "messages") ? encode_chat(request, &ids, error) : encode_text(request, &ids, error);
	if (ok && request->check.n_errors == 0)
		write_tokens(request, &ids, with_texts);
	token_ids_free(&ids);
	return ok && request->check.n_errors == 0;
}

enum MHD_Result handle_tokenize(struct exchange *exchange)
{
	return answer_text(exchange, tokenize);
}

/* ---- /detokenize ---- */

static bool detokenize(struct text_request *request, struct error *error)
{
	struct field_checker *check = &request->check;
	const struct json *tokens = field_get(check, "tokens");
	struct bytes text = {0};
	int32_t *ids = NULL;
	size_t n_ids = 0;
	if (!tokens || json_type(tokens) != JSON_ARRAY) {
		field_error(check, "tokens", "type(array)", NULL, "tokens must be an array of token ids");
		return false;
	}
	bool ok =
	    openai_read_tokens(tokens, tokenizer_vocab_size(request->tokenizer), "tokens", check, &ids, &n_ids, error) &&
	    tokenizer_decode(request->tokenizer, ids, n_ids, false, &text, error);
	if (ok) {
		json_open(&request->body);
		json_field_string(&request->body, "prompt", text.data ? text.data : "", text.n_bytes);
		json_field_string(&request->body, "content", text.data ? text.data : "", text.n_bytes);
		json_close(&request->body);
		request->body.failed |= text.failed;
	}
	free(ids);
	bytes_free(&text);
	return ok;
}

enum MHD_Result handle_detokenize(struct exchange *exchange)
{
	return answer_text(exchange, detokenize);
}

/* ---- /apply-template ---- */

static bool apply_template(struct text_request *request, struct error *error)
{
	const struct json *conversation = NULL;
	struct json *made = NULL;
	struct rendering rendering = {0};
	bool ok = openai_read_conversation(request->document, &request->check, &conversation, &made, error) &&
	          generation_render(request->exchange->server->engine, conversation, &rendering, error);
	if (ok) {
		json_open(&request->body);
		json_field_string(&request->body, "prompt", rendering.text, rendering.n_bytes);
		json_close(&request->body);
	}
	rendering_free(&rendering);
	json_destroy(made);
	return ok;
}

enum MHD_Result handle_apply_template(struct exchange *exchange)
{
	return answer_text(exchange, apply_template);
}

/* ---- /v1/messages/count_tokens ---- */

static bool count_tokens(struct text_request *request, struct error *error)
{
	struct json *made = NULL;
	struct token_ids ids = {0};
	bool ok = messages_read_conversation(&request->check, NULL, &made, error) &&
	          generation_encode_chat(request->exchange->server->engine, made, false, NULL, NULL, &ids, error);
	if (ok) {
		json_open(&request->body);
		json_field_uint(&request->body, "input_tokens", ids.n_ids);
		json_close(&request->body);
	}
	token_ids_free(&ids);
	json_destroy(made);
	return ok;
}

enum MHD_Result handle_count_tokens(struct exchange *exchange)
{
	return answer_text(exchange, count_tokens);
}
