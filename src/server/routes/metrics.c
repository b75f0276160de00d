/* GET /metrics. Names and kinds are the contract's; help texts say what counts as what. */
#include "server/routes/metrics.h"

#include <inttypes.h>
#include <stddef.h>

#include "base/json.h"
#include "server/server_private.h"

static void write_head(struct bytes *out, const char *name, const char *kind, const char *help)
{
	bytes_append_format(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind);
}

static void write_counter(struct bytes *out, const char *name, const char *help, uint64_t value)
{
	write_head(out, name, "counter", help);
	bytes_append_format(out, "%s %" PRIu64 "\n", name, value);
}

static void write_number(struct bytes *out, double value)
{
	json_write_double(out, value); /* finite here; the same digits as in JSON, whatever the locale */
	bytes_append_text(out, "\n");
}

static void write_gauge(struct bytes *out, const char *name, const char *help, double value)
{
	write_head(out, name, "gauge", help);
	bytes_append_format(out, "%s ", name);
	write_number(out, value);
}

static void write_histogram(struct bytes *out, const char *name, const char *help, const struct histogram *histogram)
{
	write_head(out, name, "histogram", help);
	uint64_t cumulative = 0;
	for (int i = 0; i < HISTOGRAM_BUCKETS; i++) {
		cumulative += histogram->counts[i];
		bytes_append_format(out, "%s_bucket{le=\"", name);
		json_write_double(out, histogram_bounds_seconds[i]);
		bytes_append_format(out, "\"} %" PRIu64 "\n", cumulative);
	}
	cumulative += histogram->counts[HISTOGRAM_BUCKETS];
	bytes_append_format(out, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n%s_sum ", name, cumulative, name);
	write_number(out, histogram->sum_seconds);
	/* The sum of the buckets and not histogram->n: a scrape must never see the two differ. */
	bytes_append_format(out, "%s_count %" PRIu64 "\n", name, cumulative);
}

static void write_labelled(struct bytes *out, const char *name, const char *label, const char *value, uint64_t number)
{
	bytes_append_format(out, "%s{%s=\"%s\"} %" PRIu64 "\n", name, label, value, number);
}

static void write_engine_counters(struct bytes *out, const struct engine_metrics *metrics)
{
	write_head(out, "worker_requests_total", "counter", "Requests that ended, by how.");
	for (int i = 0; i < OUTCOME_COUNT; i++)
		write_labelled(out, "worker_requests_total", "outcome", outcome_name((enum outcome)i), metrics->requests[i]);
	write_counter(out, "worker_tokens_generated_total", "Tokens generated.", metrics->tokens_generated);
	write_counter(out, "worker_prompt_tokens_total", "Tokens of admitted prompts.", metrics->prompt_tokens);
	write_counter(out, "worker_forced_tokens_total", "Generated tokens that a constraint left no choice but.",
	              metrics->forced_tokens);
	write_counter(out, "worker_cached_tokens_total", "Prompt tokens taken from the prefix cache.",
	              metrics->cached_tokens);
	write_counter(out, "worker_pauses_total", "Pauses of running requests, for want of pages.", metrics->pauses);
	write_histogram(out, "worker_time_to_first_token_seconds", "From arrival to the first token.",
	                &metrics->time_to_first_token);
	write_histogram(out, "worker_inter_token_seconds", "Between consecutive tokens of one request.",
	                &metrics->inter_token);
	write_histogram(out, "worker_queue_seconds", "From arrival to admission.", &metrics->queue);
	write_histogram(out, "worker_prefill_seconds", "From admission to the end of prefill.", &metrics->prefill);
	write_histogram(out, "worker_decode_seconds", "From the end of prefill to the last token.", &metrics->decode);
	write_histogram(out, "worker_request_seconds", "From arrival to the end.", &metrics->request);
}

static void write_engine_gauges(struct bytes *out, const struct engine_status *status)
{
	write_gauge(out, "worker_active_requests", "Requests being computed.", status->active);
	write_gauge(out, "worker_queued_requests", "Requests waiting for admission.", status->queued);
	int used = status->kv_pages_total - status->kv_pages_free - status->kv_pages_cached;
	write_head(out, "worker_kv_pages", "gauge", "KV cache pages, by state.");
	write_labelled(out, "worker_kv_pages", "state", "free", (uint64_t)status->kv_pages_free);
	write_labelled(out, "worker_kv_pages", "state", "cached", (uint64_t)status->kv_pages_cached);
	write_labelled(out, "worker_kv_pages", "state", "used", used > 0 ? (uint64_t)used : 0);
	write_gauge(out, "worker_catching_up_answers", "Answers whose pages are yet to be made ready for a next turn.",
	            status->catching_up);
	write_gauge(out, "worker_uptime_seconds", "Since the process started serving.", status->uptime_seconds);
	write_gauge(out, "worker_model_load_seconds", "Time it took to load the model; 0 until it is loaded.",
	            status->load_seconds);
}

static void write_memory(struct bytes *out, const struct engine_status *status,
                         const struct platform_resident *resident)
{
	write_head(out, "worker_memory_bytes", "gauge",
	           "Memory: planned for serving, and resident now (anonymous, mapped files, total, peak).");
	write_labelled(out, "worker_memory_bytes", "kind", "planned", status->planned_bytes);
	if (!resident)
		return;
	write_labelled(out, "worker_memory_bytes", "kind", "resident", resident->total_bytes);
	write_labelled(out, "worker_memory_bytes", "kind", "anonymous", resident->anonymous_bytes);
	write_labelled(out, "worker_memory_bytes", "kind", "file", resident->file_bytes);
	write_labelled(out, "worker_memory_bytes", "kind", "peak", resident->peak_bytes);
}

static void write_http(struct bytes *out, const struct http_counts *http)
{
	static const char *const classes[] = {"none", "1xx", "2xx", "3xx", "4xx", "5xx"};
	write_head(out, "worker_http_responses_total", "counter",
	           "HTTP exchanges that ended, by class of status; none: the client left first.");
	for (int i = 0; i < 6; i++)
		write_labelled(out, "worker_http_responses_total", "class", classes[i], http->responses[i]);
	write_gauge(out, "worker_http_connections", "Open HTTP connections.", http->connections);
}

void metrics_write(struct bytes *out, const struct engine_status *status, const struct engine_metrics *metrics,
                   const struct http_counts *http, const struct platform_resident *resident)
{
	write_engine_counters(out, metrics);
	write_engine_gauges(out, status);
	write_memory(out, status, resident);
	write_http(out, http);
}

static void write_key_counter(struct bytes *out, const struct key_account *accounts, const char *name, const char *help,
                              size_t offset)
{
	write_head(out, name, "counter", help);
	for (const struct key_account *key = accounts; key; key = key->next) {
		const atomic_ullong *counter = (const atomic_ullong *)((const char *)&key->account + offset);
		write_labelled(out, name, "key", key->name, atomic_load(counter));
	}
}

void metrics_write_keys(struct bytes *out, const struct key_account *accounts)
{
	if (!accounts)
		return;
	write_head(out, "worker_key_requests_total", "counter", "Requests of each API key that ended, by how.");
	for (const struct key_account *key = accounts; key; key = key->next)
		for (int i = 0; i < OUTCOME_COUNT; i++)
			bytes_append_format(out, "worker_key_requests_total{key=\"%s\",outcome=\"%s\"} %llu\n", key->name,
			                    outcome_name((enum outcome)i), atomic_load(&key->account.requests[i]));
	write_key_counter(out, accounts, "worker_key_prompt_tokens_total", "Prompt tokens of each API key's requests.",
	                  offsetof(struct account, prompt_tokens));
	write_key_counter(out, accounts, "worker_key_tokens_generated_total", "Tokens generated for each API key.",
	                  offsetof(struct account, tokens_generated));
}

enum MHD_Result handle_metrics(struct exchange *exchange)
{
	struct server *server = exchange->server;
	struct engine_status status;
	struct engine_metrics metrics;
	struct platform_resident resident;
	struct http_counts http = {.connections = connections_count(&server->connections)};
	engine_status(server->engine, &status);
	engine_metrics(server->engine, &metrics);
	for (int i = 0; i < 6; i++)
		http.responses[i] = atomic_load(&server->responses[i]);
	bool known = platform_resident(&platform_default_roots, &resident);
	struct bytes body = {0};
	metrics_write(&body, &status, &metrics, &http, known ? &resident : NULL);
	pthread_rwlock_rdlock(&server->keys.lock);
	metrics_write_keys(&body, server->keys.all_accounts);
	pthread_rwlock_unlock(&server->keys.lock);
	return respond_bytes(exchange, 200, "text/plain; version=0.0.4; charset=utf-8", &body);
}
