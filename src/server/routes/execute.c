/* POST /execute and POST /v1/infer, and the same in two calls: POST /v1/inference or /v1/jobs, then GET {job_id}/stream
 * below it. Both know the same jobs. */
#include <ctype.h>

#include "base/json.h"
#include "server/routes/generate.h"

enum MHD_Result handle_execute(struct exchange *exchange)
{
	enum MHD_Result result;
	struct generation *generation = generate_begin(exchange, false, &result);
	if (!generation)
		return result;
	return generation->asked.stream ? generate_stream(exchange, generation) : generate_whole(exchange, generation);
}

/* Always whole, whatever `stream` says. */
enum MHD_Result handle_infer(struct exchange *exchange)
{
	enum MHD_Result result;
	struct generation *generation = generate_begin(exchange, false, &result);
	return generation ? generate_whole(exchange, generation) : result;
}

/* Letters, digits and -._~ stand for themselves in a path (RFC 3986); all else is percent-encoded. */
static void append_path_segment(struct bytes *out, const char *text)
{
	for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
		if (isalnum(*c) || *c == '-' || *c == '.' || *c == '_' || *c == '~')
			bytes_append(out, c, 1);
		else
			bytes_append_format(out, "%%%02X", *c);
	}
}

static bool write_job(const struct exchange *exchange, const char *job_id, struct bytes *body, struct error *error)
{
	struct bytes url = {0};
	bytes_append_format(&url, "%s/", exchange->route->path);
	append_path_segment(&url, job_id);
	bytes_append_text(&url, "/stream");
	json_open(body);
	json_field_text(body, "job_id", job_id);
	json_field_text(body, "sse_url", url.data);
	json_close(body);
	bytes_free_part(&url, body);
	return !body->failed || error_set(error, ERROR_MEMORY, "no memory for the job");
}

/* The answer is there before the job is: a job that its client was not told of would run for nobody. */
enum MHD_Result handle_job(struct exchange *exchange)
{
	enum MHD_Result result;
	struct generation *generation = generate_begin(exchange, true, &result);
	if (!generation)
		return result;
	struct bytes body = {0};
	struct error error = {0};
	if (!write_job(exchange, generation->job_id, &body, &error) ||
	    !jobs_put(&exchange->server->jobs, generation, &error)) {
		bytes_free(&body);
		generation_destroy(generation);
		return respond_error(exchange, &error, engine_retry_after(exchange->server->engine));
	}
	watchdog_wake(&exchange->server->watchdog);
	return respond_json(exchange, 200, &body);
}

enum MHD_Result handle_job_stream(struct exchange *exchange)
{
	struct jobs *jobs = &exchange->server->jobs;
	/* HEAD looks, and takes nothing. */
	if (exchange->is_head && jobs_has(jobs, exchange->access.owner, exchange->path_argument))
		return respond_events(exchange, NULL);
	struct generation *generation =
	    exchange->is_head ? NULL : jobs_take(jobs, exchange->access.owner, exchange->path_argument);
	if (generation)
		return generate_stream(exchange, generation);
	struct error error;
	error_set(&error, ERROR_NOT_FOUND,
	          "no job of that name waits for its stream to be opened (a stream can be opened once, within %d s)",
	          JOB_OPEN_TIMEOUT_MS / 1000);
	return respond_error(exchange, &error, 0);
}
