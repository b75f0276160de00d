/* POST /cancel, DELETE /v1/jobs/{job_id} and POST /shutdown. All answer 202 at once; what they ask for happens after. */
#include <string.h>

#include "base/json.h"
#include "server/dialects/worker_request.h"
#include "server/server_private.h"

/* Whether the sender has such a job is no error either way: it may have ended a moment ago. */
static enum MHD_Result cancel_job(struct exchange *exchange, const char *job_id, size_t n_bytes)
{
	bool active = engine_cancel(exchange->server->engine, exchange->access.owner, job_id);
	struct bytes body = {0};
	json_open(&body);
	json_field_string(&body, "job_id", job_id, n_bytes);
	json_field_bool(&body, "active", active);
	json_close(&body);
	return respond_json(exchange, 202, &body);
}

enum MHD_Result handle_job_end(struct exchange *exchange)
{
	return cancel_job(exchange, exchange->path_argument, exchange->n_path_argument);
}

enum MHD_Result handle_cancel(struct exchange *exchange)
{
	struct error error = {0};
	struct json *document = request_parse(exchange->body.data, exchange->body.n_bytes, 0, &error);
	if (!document)
		return respond_error(exchange, &error, 0);
	struct field_checker check;
	field_checker_init(&check, document);
	const char *job_id;
	size_t n_bytes = 0;
	enum MHD_Result result = cancel_parse(&check, &job_id, &n_bytes) ? cancel_job(exchange, job_id, n_bytes)
	                                                                 : respond_bad_fields(exchange, &check);
	field_checker_free(&check);
	json_destroy(document);
	return result;
}

enum MHD_Result handle_shutdown(struct exchange *exchange)
{
	struct bytes body = {0};
	json_open(&body);
	json_field_text(&body, "status", "shutting_down");
	json_close(&body);
	/* Asked for in exchange_end, so that this answer is on its way before the process begins to end. */
	exchange->ask_shutdown = true;
	exchange->close_after = true;
	return respond_json(exchange, 202, &body);
}
