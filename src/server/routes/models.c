/* GET /v1/models and /v1/models/{id}: the one model there is, with what OpenAI's clients read of it, and Anthropic's. */
#include <string.h>

#include "base/json.h"
#include "base/platform.h"
#include "server/server_private.h"

bool server_serves_model(const struct server *server, const char *asked, const char *name, struct error *error)
{
	if (!server->strict_model || !asked || strcmp(asked, name) == 0)
		return true;
	error_set(error, ERROR_UNKNOWN_MODEL, "there is no model %.100s; this server has %.100s", asked, name);
	return error_blame(error, "model");
}

static void write_anthropic_fields(const struct exchange *exchange, const struct engine_status *status,
                                   struct bytes *body)
{
	static const char *const unknown[] = {"capabilities", "line", "deprecated_at", "retires_at"};
	char time[25];
	clock_rfc3339(exchange->server->started_unix_s * 1000, time);
	json_field_text(body, "type", "model");
	json_field_text(body, "display_name", status->model_name);
	json_field_text(body, "created_at", time);
	json_field_text(body, "lifecycle", "active");
	for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
		json_field_text(body, unknown[i], NULL);
	if (status->context_length > 0) {
		json_field_int(body, "max_input_tokens", status->context_length);
		json_field_int(body, "max_tokens", status->context_length);
	}
}

static void write_model(const struct exchange *exchange, const struct engine_status *status, struct bytes *body)
{
	json_open(body);
	json_field_text(body, "id", status->model_name);
	json_field_text(body, "object", "model");
	json_field_int(body, "created", exchange->server->started_unix_s);
	json_field_text(body, "owned_by", "tallow");
	json_field_text(body, "root", status->model_name);
	json_field_text(body, "parent", NULL); /* adapters would have one */
	if (status->context_length > 0)
		json_field_int(body, "max_model_len", status->context_length);
	write_anthropic_fields(exchange, status, body);
	json_close(body);
}

/* What Codex reads of a list of models. The instructions are those that it starts from. */
static void write_agent_model(const struct engine_status *status, struct bytes *body)
{
	json_open(body);
	json_field_text(body, "slug", status->model_name);
	json_field_text(body, "display_name", status->model_name);
	json_field_text(body, "description", NULL);
	json_field_key(body, "supported_reasoning_levels");
	bytes_append_text(body, "[]");
	json_field_text(body, "shell_type", "shell_command");
	json_field_text(body, "visibility", "list");
	json_field_bool(body, "supported_in_api", true);
	json_field_int(body, "priority", 0);
	json_field_text(
	    body, "base_instructions",
	    "You are a coding agent. Work in the user's folder with the tools that you have, and say briefly what "
	    "you did.");
	json_field_bool(body, "supports_reasoning_summaries", false);
	json_field_bool(body, "support_verbosity", false);
	json_field_bool(body, "supports_parallel_tool_calls", true);
	json_field_key(body, "truncation_policy");
	bytes_append_text(body, "{\"mode\":\"bytes\",\"limit\":10000}");
	json_field_int(body, "context_window", status->context_length);
	json_field_key(body, "experimental_supported_tools");
	bytes_append_text(body, "[]");
	json_field_key(body, "input_modalities");
	bytes_append_text(body, "[\"text\"]");
	json_close(body);
}

enum MHD_Result handle_models(struct exchange *exchange)
{
	struct engine_status status;
	struct bytes body = {0};
	engine_status(exchange->server->engine, &status);
	json_open(&body);
	json_field_text(&body, "object", "list");
	json_field_key(&body, "data");
	bytes_append_text(&body, "[");
	write_model(exchange, &status, &body);
	bytes_append_text(&body, "]");
	json_field_text(&body, "first_id", status.model_name);
	json_field_text(&body, "last_id", status.model_name);
	json_field_bool(&body, "has_more", false);
	json_field_key(&body, "models");
	bytes_append_text(&body, "[");
	write_agent_model(&status, &body);
	bytes_append_text(&body, "]");
	json_close(&body);
	return respond_json(exchange, 200, &body);
}

enum MHD_Result handle_model(struct exchange *exchange)
{
	struct engine_status status;
	struct error error = {0};
	struct bytes body = {0};
	engine_status(exchange->server->engine, &status);
	if (!server_serves_model(exchange->server, exchange->path_argument, status.model_name, &error))
		return respond_error(exchange, &error, 0);
	write_model(exchange, &status, &body);
	return respond_json(exchange, 200, &body);
}
