/* What the worker says of itself: /health, /livez, /v1/ready, /info, and progress while the model loads. None of them
 * waits for the engine: its status is a copy under a short lock. */
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "server/dialects/worker.h"
#include "server/server_private.h"

bool server_is_draining(struct server *server, const struct engine_status *status)
{
	return atomic_load(&server->draining) || status->state == ENGINE_DRAINING || status->state == ENGINE_STOPPED;
}

static bool is_loading(const struct engine_status *status)
{
	return status->state == ENGINE_CREATED || status->state == ENGINE_LOADING;
}

const char *server_health(struct server *server, const struct engine_status *status)
{
	if (status->state == ENGINE_FAILED || status->stalled || status->unfit)
		return "unhealthy";
	if (server_is_draining(server, status) || status->leaving)
		return "draining";
	return is_loading(status) ? "loading" : "healthy";
}

static double load_progress(const struct engine_status *status)
{
	return (double)load_percent(status->load_bytes_done, status->load_bytes_total) / 100;
}

enum MHD_Result handle_health(struct exchange *exchange)
{
	struct server *server = exchange->server;
	struct engine_status status;
	engine_status(server->engine, &status);
	const char *name = server_health(server, &status);
	struct bytes body = {0};
	json_open(&body);
	json_field_text(&body, "status", name);
	if (status.unfit)
		json_field_text(&body, "reason", status.error.message);
	else if (status.stalled)
		json_field_text(&body, "reason", "a step of the model has not ended for a minute or longer");
	if (is_loading(&status)) {
		json_field_double(&body, "progress", load_progress(&status));
		json_field_text(&body, "stage", status.load_stage);
	} else if (status.state != ENGINE_FAILED) {
		json_field_text(&body, "model", status.model_name);
		json_field_bool(&body, "resident", true);
		json_field_text(&body, "quant_kind", status.quant_kind);
		json_field_uint(&body, "memory_bytes", status.planned_bytes);
		json_field_uint(&body, "vram_bytes", status.planned_bytes); /* the name that orchestrators know */
		json_field_text(&body, "tokenizer_kind", status.tokenizer_kind);
		json_field_int(&body, "vocab_size", status.vocab_size);
		json_field_int(&body, "context_length", status.context_length);
		json_field_int(&body, "kv_pages_total", status.kv_pages_total);
		json_field_int(&body, "kv_pages_free", status.kv_pages_free + status.kv_pages_cached);
	}
	json_field_int(&body, "active", status.active);
	json_field_int(&body, "queued", status.queued);
	json_field_int(&body, "uptime_seconds", (int64_t)status.uptime_seconds);
	json_field_text(&body, "version", server->version);
	json_close(&body);
	return respond_json(exchange, strcmp(name, "healthy") == 0 ? 200 : 503, &body);
}

enum MHD_Result handle_livez(struct exchange *exchange)
{
	struct bytes body = {0};
	json_open(&body);
	json_field_text(&body, "status", "alive");
	json_close(&body);
	return respond_json(exchange, 200, &body);
}

enum MHD_Result handle_ready(struct exchange *exchange)
{
	struct server *server = exchange->server;
	struct engine_status status;
	engine_status(server->engine, &status);
	const char *name = server_health(server, &status);
	bool ready = strcmp(name, "healthy") == 0;
	if (ready && status.queue_full) {
		name = "busy";
		ready = false;
	}
	struct bytes body = {0};
	json_open(&body);
	json_field_bool(&body, "ready", ready);
	json_field_text(&body, "status", name);
	json_close(&body);
	return respond_json(exchange, ready ? 200 : 503, &body);
}

/* ["POST /execute",...] */
static void write_endpoints(struct bytes *body, bool with_page)
{
	size_t n_routes;
	const struct route *routes = routes_all(&n_routes);
	json_field_key(body, "endpoints");
	bytes_append_text(body, "[");
	for (size_t i = 0, n = 0; i < n_routes; i++) {
		if (routes[i].handler == handle_page && !with_page)
			continue;
		const char *path = routes[i].path;
		const char *hole = strstr(path, "{}");
		size_t n_before = hole ? (size_t)(hole - path) : strlen(path);
		const char *argument = strncmp(path, "/v1/models", 10) == 0 ? "{id}" : "{job_id}";
		bytes_append_format(body, "%s\"%s %.*s%s%s\"", n++ > 0 ? "," : "", routes[i].method, (int)n_before, path,
		                    hole ? argument : "", hole ? hole + 2 : "");
	}
	bytes_append_text(body, "]");
}

enum MHD_Result handle_info(struct exchange *exchange)
{
	struct server *server = exchange->server;
	struct engine_status status;
	engine_status(server->engine, &status);
	struct bytes body = {0};
	json_open(&body);
	json_field_text(&body, "worker_id", server->worker_id);
	json_field_text(&body, "version", server->version);
	json_field_text(&body, "model", status.model_name);
	json_field_text(&body, "architecture", status.architecture);
	json_field_text(&body, "quant_kind", status.quant_kind);
	if (status.model_sha256)
		json_field_text(&body, "model_sha256", status.model_sha256);
	json_field_text(&body, "system_fingerprint", status.fingerprint);
	json_field_text(&body, "isa", status.isa);
	json_field_int(&body, "threads", status.threads);
	json_field_int(&body, "context_length", status.context_length);
	json_field_int(&body, "max_tokens", status.max_tokens);
	json_field_int(&body, "port", server->listener.port);
	json_field_int(&body, "pid", getpid());
	json_field_text(&body, "status", server_health(server, &status));
	if (server->describe_worker) {
		json_field_key(&body, "worker");
		server->describe_worker(server->describe_context, server->listener.port, &status, &body);
	}
	if (server->describe_sandbox) {
		json_field_key(&body, "sandbox");
		server->describe_sandbox(server->describe_context, &body);
	}
	write_endpoints(&body, server->page_policy != NULL);
	json_close(&body);
	return respond_json(exchange, 200, &body);
}

/* ---- GET /v1/loading/progress ---- */

static void pull_progress(struct exchange *exchange)
{
	struct server *server = exchange->server;
	struct engine_status status;
	engine_status(server->engine, &status);
	if (status.state == ENGINE_FAILED || server_is_draining(server, &status)) {
		struct error error = status.error;
		if (status.state != ENGINE_FAILED)
			error_set(&error, ERROR_SHUTTING_DOWN, "the worker is shutting down");
		worker_frame_error(&exchange->out, &error);
		exchange->source.ended = true;
		return;
	}
	if (!is_loading(&status)) {
		worker_frame_progress(&exchange->out, "ready", status.load_bytes_total, status.load_bytes_total);
		exchange->source.ended = true;
		return;
	}
	const char *stage = status.load_stage ? status.load_stage : engine_state_name(status.state);
	int64_t percent = load_percent(status.load_bytes_done, status.load_bytes_total);
	if (stage == exchange->load_stage && percent == exchange->load_percent)
		return;
	exchange->load_stage = stage;
	exchange->load_percent = percent;
	worker_frame_progress(&exchange->out, stage, status.load_bytes_done, status.load_bytes_total);
}

enum MHD_Result handle_loading(struct exchange *exchange)
{
	return respond_events(exchange, &(struct event_source){.fd = -1, .interval_ms = 50, .pull = pull_progress});
}
