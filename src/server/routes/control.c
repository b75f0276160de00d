/* POST /cancel and POST /shutdown. Both answer 202 at once; what they ask for happens after. */
#include <string.h>

#include "base/json.h"
#include "server/request.h"
#include "server/server_private.h"

enum MHD_Result handle_cancel(struct exchange *exchange)
{
	struct error error = {0};
	struct json *document = request_parse(exchange->body.data, exchange->body.n_bytes, &error);
	if (!document)
		return respond_error(exchange, &error, 0);
	struct bytes body = {0};
	const char *job_id;
	size_t n_bytes = 0;
	int status = 202;
	if (cancel_request_read(document, &job_id, &n_bytes, &body)) {
		/* Whether such a job runs is no error either way: it may have ended a moment ago. */
		bool active = engine_cancel(exchange->server->engine, job_id);
		json_open(&body);
		json_field_string(&body, "job_id", job_id, n_bytes);
		json_field_bool(&body, "active", active);
		json_close(&body);
	} else {
		exchange->failure = ERROR_INVALID_REQUEST;
		status = 400;
	}
	json_destroy(document);
	return respond_json(exchange, status, &body);
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
