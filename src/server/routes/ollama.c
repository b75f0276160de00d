/* What Ollama's clients ask of a server beside text: /api/tags, /api/show, /api/ps, /api/version; and what pulls, pushes,
 * makes or deletes models, which is refused. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/platform.h"
#include "server/dialects/fields.h"
#include "server/server_private.h"
#include "text/chat_template.h"

/* Whose API this is that of: clients ask for a least version. */
#define OLLAMA_VERSION "0.13.5"

/* "LlamaForCausalLM" is a llama. */
static void family_of(const struct engine_status *status, char out[32])
{
	const char *name = status->architecture ? status->architecture : "";
	const char *end = strstr(name, "For");
	size_t n_bytes = end ? (size_t)(end - name) : strlen(name);
	size_t n = 0;
	for (; n < n_bytes && n < 31; n++)
		out[n] = (char)tolower((unsigned char)name[n]);
	out[n] = '\0';
}

/* Clients show its beginning as an id. Of the name alone: weights of gigabytes are not read for it. */
static void field_digest(struct bytes *out, const char *name)
{
	uint64_t part = 0;
	json_field_key(out, "digest");
	bytes_append_text(out, "\"");
	for (int i = 0; i < 4; i++) {
		for (const unsigned char *c = (const unsigned char *)name; *c; c++)
			part = hash_mix(part ^ *c);
		bytes_append_format(out, "%016llx", (unsigned long long)part);
	}
	bytes_append_text(out, "\"");
}

static void write_details(const struct engine_status *status, struct bytes *out)
{
	char family[32];
	family_of(status, family);
	json_field_key(out, "details");
	json_open(out);
	json_field_text(out, "parent_model", "");
	json_field_text(out, "format", "");
	json_field_text(out, "family", family);
	json_field_key(out, "families");
	bytes_append_text(out, "[");
	json_write_string(out, family, strlen(family));
	bytes_append_text(out, "]");
	json_field_text(out, "parameter_size", "");
	json_field_text(out, "quantization_level", status->quant_kind ? status->quant_kind : "");
	json_close(out);
}

static void field_time(struct bytes *out, const char *key, int64_t unix_ms)
{
	char time[25];
	clock_rfc3339(unix_ms, time);
	json_field_text(out, key, time);
}

/* The one model; `runs` says what only a model in memory has. */
static void write_model(const struct exchange *exchange, const struct engine_status *status, bool runs,
                        struct bytes *out)
{
	json_open(out);
	json_field_text(out, "name", status->model_name);
	json_field_text(out, "model", status->model_name);
	json_field_uint(out, "size", status->planned_bytes);
	field_digest(out, status->model_name);
	write_details(status, out);
	if (runs) {
		json_field_uint(out, "size_vram", 0);
		json_field_int(out, "context_length", status->context_length);
		field_time(out, "expires_at", 253402300799000); /* the end of the year 9999: it stays */
	} else {
		field_time(out, "modified_at", exchange->server->started_unix_s * 1000);
	}
	json_close(out);
}

static enum MHD_Result answer_models(struct exchange *exchange, bool runs)
{
	struct engine_status status;
	struct bytes body = {0};
	engine_status(exchange->server->engine, &status);
	json_open(&body);
	json_field_key(&body, "models");
	bytes_append_text(&body, "[");
	if (!runs || status.context_length > 0)
		write_model(exchange, &status, runs, &body);
	bytes_append_text(&body, "]");
	json_close(&body);
	return respond_json(exchange, 200, &body);
}

enum MHD_Result handle_ollama_tags(struct exchange *exchange)
{
	return answer_models(exchange, false);
}

enum MHD_Result handle_ollama_ps(struct exchange *exchange)
{
	return answer_models(exchange, true);
}

enum MHD_Result handle_ollama_version(struct exchange *exchange)
{
	struct bytes body = {0};
	json_open(&body);
	json_field_text(&body, "version", OLLAMA_VERSION);
	json_close(&body);
	return respond_json(exchange, 200, &body);
}

/* Tools where the template shows them to the model; any model may be asked for a vector. */
static void write_capabilities(struct engine *engine, struct bytes *out)
{
	struct error error;
	const struct chat_template *chat = engine_chat_template(engine, &error);
	json_field_key(out, "capabilities");
	bytes_append_text(out, "[\"completion\",\"embedding\"");
	if (chat && chat_template_calls(chat, true).tools)
		bytes_append_text(out, ",\"tools\"");
	bytes_append_text(out, "]");
}

static void write_show(const struct exchange *exchange, const struct engine_status *status, struct bytes *out)
{
	char family[32], key[64];
	family_of(status, family);
	snprintf(key, sizeof key, "%s.context_length", family);
	json_open(out);
	json_field_text(out, "modelfile", "");
	json_field_text(out, "parameters", "");
	json_field_text(out, "template", "");
	write_details(status, out);
	json_field_key(out, "model_info");
	json_open(out);
	json_field_text(out, "general.architecture", family);
	json_field_text(out, "general.basename", status->model_name);
	json_field_int(out, key, status->context_length);
	json_close(out);
	write_capabilities(exchange->server->engine, out);
	field_time(out, "modified_at", exchange->server->started_unix_s * 1000);
	json_close(out);
}

enum MHD_Result handle_ollama_show(struct exchange *exchange)
{
	struct engine_status status;
	struct error error = {0};
	struct bytes body = {0};
	engine_status(exchange->server->engine, &status);
	struct json *document = request_parse(exchange->body.data, exchange->body.n_bytes, 0, &error);
	if (!document)
		return respond_error(exchange, &error, 0);
	const char *asked = json_string(json_get(document, "model"), NULL);
	asked = asked ? asked : json_string(json_get(document, "name"), NULL);
	bool serves = server_serves_model(exchange->server, asked, status.model_name, &error);
	json_destroy(document);
	if (!serves)
		return respond_error(exchange, &error, 0);
	write_show(exchange, &status, &body);
	return respond_json(exchange, 200, &body);
}

enum MHD_Result handle_ollama_refused(struct exchange *exchange)
{
	struct error error;
	error_set(
	    &error, ERROR_FORBIDDEN,
	    "this server serves the one model that it was started with; models are not pulled, pushed, made, copied or "
	    "deleted here");
	return respond_error(exchange, &error, 0);
}
