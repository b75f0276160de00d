/* GET /v1/models and /v1/models/{id}: the one model there is. */
#include <string.h>

#include "base/json.h"
#include "server/server_private.h"

bool server_serves_model(const struct server *server, const char *asked, const char *name, struct error *error)
{
	if (!server->strict_model || !asked || strcmp(asked, name) == 0)
		return true;
	return error_set(error, ERROR_UNKNOWN_MODEL, "there is no model %.100s; this server has %.100s", asked, name);
}

static void write_model(const struct exchange *exchange, const struct engine_status *status, struct bytes *body)
{
	json_open(body);
	json_field_text(body, "id", status->model_name);
	json_field_text(body, "object", "model");
	json_field_int(body, "created", exchange->server->started_unix_s);
	json_field_text(body, "owned_by", "tallow");
	if (status->context_length > 0)
		json_field_int(body, "max_model_len", status->context_length);
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
