/* The worker's messages as JSON (messages.h). */
#include "worker/messages.h"

#include <unistd.h>

#include "base/json.h"
#include "base/platform.h"
#include "worker/supervised.h"

static void write_identity(struct bytes *out, const struct worker_options *options,
                           const struct worker_service *service, const struct engine_status *status)
{
	json_field_text(out, "worker_id", options->worker_id);
	json_field_text(out, "uri", service->uri);
	/* One number under two names: the orchestrator knows the first, which is all the memory that a CPU worker has. */
	json_field_uint(out, "vram_bytes", status->planned_bytes);
	json_field_uint(out, "memory_bytes", status->planned_bytes);
	json_field_text(out, "model", status->model_name);
	json_field_int(out, "port", service->port);
	/* Of the process that was started, which is the one to send signals to. */
	json_field_int(out, "pid", options->memory ? options->memory->supervisor : getpid());
	json_field_text(out, "version", options->version);
}

void message_callback(struct bytes *out, const struct worker_options *options, const struct worker_service *service,
                      const struct engine_status *status)
{
	json_open(out);
	write_identity(out, options, service, status);
	json_close(out);
}

void message_ready_line(struct bytes *out, const struct worker_options *options, const struct worker_service *service,
                        const struct engine_status *status)
{
	json_open(out);
	json_field_text(out, "event", "ready");
	write_identity(out, options, service, status);
	json_field_text(out, "quant_kind", status->quant_kind);
	json_field_int(out, "context_length", status->context_length);
	json_field_int(out, "threads", status->threads);
	json_field_double(out, "load_seconds", status->load_seconds);
	json_close(out);
	bytes_append_text(out, "\n");
}

const char *message_status_name(const struct engine_status *status)
{
	if (status->state == ENGINE_FAILED || status->stalled || status->unfit)
		return "unhealthy";
	if (status->state == ENGINE_READY)
		return status->leaving ? "draining" : "healthy";
	return status->state == ENGINE_CREATED || status->state == ENGINE_LOADING ? "loading" : "draining";
}

void message_heartbeat(struct bytes *out, const struct worker_options *options, const struct engine_status *status)
{
	json_open(out);
	json_field_text(out, "worker_id", options->worker_id);
	json_field_text(out, "status", message_status_name(status));
	json_field_text(out, "model", status->model_name);
	json_field_int(out, "uptime_seconds", (int64_t)status->uptime_seconds);
	json_field_int(out, "active", status->active);
	json_field_int(out, "queued", status->queued);
	json_field_int(out, "kv_pages_free", status->kv_pages_free + status->kv_pages_cached);
	json_field_double(out, "tokens_per_second", status->tokens_per_second);
	json_close(out);
}

/* "busy" is its word for a worker that has something to do; that there is room for more is said by /v1/ready. */
static const char *registered_status(const struct engine_status *status, bool stopped)
{
	if (stopped || status->state == ENGINE_FAILED || status->state == ENGINE_STOPPED)
		return "stopped";
	if (status->state == ENGINE_CREATED || status->state == ENGINE_LOADING)
		return "starting";
	if (status->state == ENGINE_DRAINING || status->leaving)
		return "stopping";
	return status->active + status->queued > 0 ? "busy" : "ready";
}

void message_worker(struct bytes *out, const struct worker_options *options, int port,
                    const struct engine_status *status, bool stopped)
{
	json_open(out);
	json_field_text(out, "id", options->worker_id);
	json_field_text(out, "model_id", status->model_name);
	json_field_text(out, "device", "cpu");
	json_field_int(out, "port", port);
	json_field_text(out, "status", registered_status(status, stopped));
	json_field_text(out, "implementation", "tallow");
	json_field_text(out, "version", options->version);
	json_close(out);
}

void message_registration(struct bytes *out, const struct worker_options *options, int port,
                          const struct engine_status *status, bool stopped)
{
	char now[32];
	clock_rfc3339(clock_unix_ms(), now);
	json_open(out);
	json_field_key(out, "worker");
	message_worker(out, options, port, status, stopped);
	json_field_text(out, "timestamp", now);
	json_close(out);
}
