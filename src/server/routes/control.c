/* POST /cancel and POST /shutdown. Both answer 202 at once; what they ask for happens after. */
#include <string.h>

#include "base/json.h"
#include "server/dialects/worker_request.h"
#include "server/server_private.h"

enum MHD_Result handle_cancel(struct exchange *exchange)
{
	struct error error = {0};
	struct json *document = request_parse(exchange->body.data, exchange->body.n_bytes, &error);
	if (!document)
		return respond_error(exchange, &error, 0);
	struct field_checker check;
	field_checker_init(&check, document);
	const char *job_id;
	size_t n_bytes = 0;
	enum MHD_Result result;
	if (cancel_parse(&check, &job_id, &n_bytes)) {
		/* Whether the sender has such a job is no error either way: it may have ended a moment ago. */
		bool active = engine_cancel(exchange->server->engine, exchange->owner, job_id);
		struct bytes body = {0};
		json_open(&body);
		json_field_string(&body, "job_id", job_id, n_bytes);
		json_field_bool(&body, "active", active);
		json_close(&body);
		result = respond_json(exchange, 202, &body);
	} else {
		result = respond_bad_fields(exchange, &check);
	}
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
