/* GET /metrics. Names and kinds of the contract's come first; help texts say what counts as what. */
#include "server/routes/metrics.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "server/routes/metrics_text.h"
#include "server/server_private.h"

static void write_counter(struct bytes *out, const char *name, const char *help, uint64_t value)
{
	metric_head(out, name, "counter", help);
	metric_count(out, name, NULL, value);
}

static void write_gauge(struct bytes *out, const char *name, const char *help, double value)
{
	metric_head(out, name, "gauge", help);
	metric_number(out, name, NULL, value);
}

/* One of several samples of a name. The value is one of our words, or a key's name: nothing to escape. */
static void write_labelled(struct bytes *out, const char *name, const char *label, const char *value, uint64_t number)
{
	char labels[128];
	snprintf(labels, sizeof labels, "%s=\"%s\"", label, value);
	metric_count(out, name, labels, number);
}

static void write_engine_counters(struct bytes *out, const struct engine_metrics *metrics)
{
	metric_head(out, "worker_requests_total", "counter", "Requests that ended, by how.");
	for (int i = 0; i < OUTCOME_COUNT; i++)
		write_labelled(out, "worker_requests_total", "outcome", outcome_name((enum outcome)i), metrics->requests[i]);
	metric_head(out, "worker_answers_total", "counter", "Requests that were completed, by why the answer ended.");
	for (int i = 0; i < STOP_REASON_COUNT; i++)
		write_labelled(out, "worker_answers_total", "stop_reason", stop_reason_name((enum stop_reason)i),
		               metrics->answers[i]);
	write_counter(out, "worker_tokens_generated_total", "Tokens generated.", metrics->tokens_generated);
	write_counter(out, "worker_prompt_tokens_total", "Tokens of admitted prompts.", metrics->prompt_tokens);
	write_counter(out, "worker_forced_tokens_total", "Generated tokens that a constraint left no choice but.",
	              metrics->forced_tokens);
	write_counter(out, "worker_cached_tokens_total", "Prompt tokens taken from the prefix cache.",
	              metrics->cached_tokens);
	write_counter(out, "worker_pauses_total", "Pauses of running requests, for want of pages.", metrics->pauses);
	metric_histogram(out, "worker_time_to_first_token_seconds", NULL, "From arrival to the first token.",
	                 &metrics->time_to_first_token);
	metric_histogram(out, "worker_inter_token_seconds", NULL, "Between consecutive tokens of one request.",
	                 &metrics->inter_token);
	metric_histogram(out, "worker_queue_seconds", NULL, "From arrival to admission.", &metrics->queue);
	metric_histogram(out, "worker_prefill_seconds", NULL, "From admission to the end of prefill.", &metrics->prefill);
	metric_histogram(out, "worker_decode_seconds", NULL, "From the end of prefill to the last token.",
	                 &metrics->decode);
	metric_histogram(out, "worker_request_seconds", NULL, "From arrival to the end.", &metrics->request);
}

int metrics_pages_used(const struct engine_status *status)
{
	int used = status->kv_pages_total - status->kv_pages_free - status->kv_pages_cached;
	return used > 0 ? used : 0;
}

double metrics_pages_usage(const struct engine_status *status)
{
	return status->kv_pages_total > 0 ? (double)metrics_pages_used(status) / status->kv_pages_total : 0;
}

static void write_engine_gauges(struct bytes *out, const struct engine_status *status)
{
	write_gauge(out, "worker_active_requests", "Requests being computed.", status->active);
	write_gauge(out, "worker_queued_requests", "Requests waiting for admission.", status->queued);
	metric_head(out, "worker_kv_pages", "gauge", "KV cache pages, by state.");
	write_labelled(out, "worker_kv_pages", "state", "free", (uint64_t)status->kv_pages_free);
	write_labelled(out, "worker_kv_pages", "state", "cached", (uint64_t)status->kv_pages_cached);
	write_labelled(out, "worker_kv_pages", "state", "used", (uint64_t)metrics_pages_used(status));
	write_gauge(out, "worker_catching_up_answers", "Answers whose pages are yet to be made ready for a next turn.",
	            status->catching_up);
	write_gauge(out, "worker_uptime_seconds", "Since the process started serving.", status->uptime_seconds);
	write_gauge(out, "worker_model_load_seconds", "Time it took to load the model; 0 until it is loaded.",
	            status->load_seconds);
}

struct bytes metrics_model_label(const struct engine_status *status)
{
	struct bytes label = {0};
	metric_label(&label, "model_name", status->model_name);
	return label;
}

void metrics_write_picker_info(struct bytes *out, const char *prefix, const struct metrics_facts *facts)
{
	const struct engine_status *status = facts->status;
	char name[64], number[16];
	struct bytes labels = metrics_model_label(status);
	snprintf(number, sizeof number, "%d", status->kv_page_tokens);
	metric_label(&labels, "block_size", number);
	snprintf(number, sizeof number, "%d", status->kv_pages_total);
	metric_label(&labels, "num_gpu_blocks", number); /* the name that pickers look for, whatever holds the pages */
	snprintf(name, sizeof name, "%scache_config_info", prefix);
	metric_head(out, name, "gauge", "Always 1; its labels: tokens of a KV page, number of pages.");
	metric_count(out, name, labels.data, 1);
	out->failed |= labels.failed;
	bytes_free(&labels);
	snprintf(name, sizeof name, "%slora_requests_info", prefix);
	metric_head(out, name, "gauge", "The time; its labels: LoRA adapters, of which there are none.");
	metric_count(out, name, "max_lora=\"0\",running_lora_adapters=\"\",waiting_lora_adapters=\"\"",
	             (uint64_t)facts->now_unix_s);
}

/* What a balancer asks for: the Gateway API Inference Extension's model server protocol. */
static void write_for_pickers(struct bytes *out, const struct metrics_facts *facts)
{
	const struct engine_status *status = facts->status;
	struct bytes label = metrics_model_label(status);
	const struct {
		const char *name, *help;
		double value;
	} gauges[] = {
	    {"worker_requests_waiting", "Requests waiting for admission, of the model.", status->queued},
	    {"worker_requests_running", "Requests being computed, of the model.", status->active},
	    {"worker_kv_cache_usage_ratio", "KV pages that requests use, 0 to 1; what is only kept for prefixes is free.",
	     metrics_pages_usage(status)},
	};
	for (size_t i = 0; i < sizeof gauges / sizeof gauges[0]; i++) {
		metric_head(out, gauges[i].name, "gauge", gauges[i].help);
		metric_number(out, gauges[i].name, label.data, gauges[i].value);
	}
	out->failed |= label.failed;
	bytes_free(&label);
	metrics_write_picker_info(out, "worker_", facts);
}

/* How the process is, for those who watch it. */
static void write_state(struct bytes *out, const struct metrics_facts *facts)
{
	static const char *const words[] = {"healthy", "loading", "draining", "unhealthy"};
	metric_head(out, "worker_health", "gauge", "1 for what /health says, 0 for the rest.");
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		write_labelled(out, "worker_health", "status", words[i], strcmp(words[i], facts->health) == 0);
	write_gauge(out, "worker_ready", "1 when a request would be accepted now, as /v1/ready says.", facts->ready);
	write_counter(out, "worker_crashes_total",
	              "Workers that a signal ended, of this supervisor; 0 where there is none.", facts->crashes);
	write_counter(out, "worker_log_lines_dropped_total",
	              "Lines of the log that nobody read in time, or that could not be written.", facts->log_lines_dropped);
	struct bytes labels = metrics_model_label(facts->status);
	metric_label(&labels, "version", facts->version);
	metric_label(&labels, "quant_kind", facts->status->quant_kind ? facts->status->quant_kind : "");
	metric_label(&labels, "isa", facts->status->isa ? facts->status->isa : "");
	metric_head(out, "worker_info", "gauge", "Always 1; its labels say what is served.");
	metric_count(out, "worker_info", labels.data, 1);
	out->failed |= labels.failed;
	bytes_free(&labels);
}

static void write_memory(struct bytes *out, const struct engine_status *status,
                         const struct platform_resident *resident)
{
	metric_head(out, "worker_memory_bytes", "gauge",
	            "Memory: planned for serving, and resident now (anonymous, mapped files, total, peak).");
	write_labelled(out, "worker_memory_bytes", "kind", "planned", status->planned_bytes);
	if (!resident)
		return;
	write_labelled(out, "worker_memory_bytes", "kind", "resident", resident->total_bytes);
	write_labelled(out, "worker_memory_bytes", "kind", "anonymous", resident->anonymous_bytes);
	write_labelled(out, "worker_memory_bytes", "kind", "file", resident->file_bytes);
	write_labelled(out, "worker_memory_bytes", "kind", "peak", resident->peak_bytes);
}

/* Several codes may have one wire name: their sum. What only ends a process is left out. */
static void write_errors(struct bytes *out, const struct http_counts *http)
{
	metric_head(out, "worker_errors_total", "counter", "HTTP exchanges that ended with an error, by its code.");
	for (int code = ERROR_NONE + 1; code <= ERROR_INTERNAL; code++) {
		const struct error_info *info = error_info((enum error_code)code);
		unsigned long long n = 0;
		bool first = info->retriable || info->exit_code == error_info(ERROR_INTERNAL)->exit_code;
		for (int other = ERROR_NONE + 1; other <= ERROR_INTERNAL; other++)
			if (strcmp(error_info((enum error_code)other)->wire_name, info->wire_name) == 0) {
				n += http->errors[other];
				first &= other >= code;
			}
		if (first)
			write_labelled(out, "worker_errors_total", "code", info->wire_name, n);
	}
}

static void write_http(struct bytes *out, const struct http_counts *http)
{
	static const char *const classes[] = {"none", "1xx", "2xx", "3xx", "4xx", "5xx"};
	metric_head(out, "worker_http_responses_total", "counter",
	            "HTTP exchanges that ended, by class of status; none: the client left first.");
	for (int i = 0; i < 6; i++)
		write_labelled(out, "worker_http_responses_total", "class", classes[i], http->responses[i]);
	write_errors(out, http);
	write_gauge(out, "worker_http_connections", "Open HTTP connections.", http->connections);
}

void metrics_write(struct bytes *out, const struct metrics_facts *facts)
{
	write_engine_counters(out, facts->engine);
	write_engine_gauges(out, facts->status);
	write_for_pickers(out, facts);
	write_state(out, facts);
	write_memory(out, facts->status, facts->resident);
	write_http(out, facts->http);
	if (facts->vllm_names)
		metrics_write_vllm(out, facts);
}

static void write_key_counter(struct bytes *out, const struct key_account *accounts, const char *name, const char *help,
                              size_t offset)
{
	metric_head(out, name, "counter", help);
	for (const struct key_account *key = accounts; key; key = key->next) {
		const atomic_ullong *counter = (const atomic_ullong *)((const char *)&key->account + offset);
		if (key->listed)
			write_labelled(out, name, "key", key->name, atomic_load(counter));
	}
}

void metrics_write_keys(struct bytes *out, const struct key_account *accounts)
{
	if (!accounts)
		return;
	metric_head(out, "worker_key_requests_total", "counter", "Requests of each API key that ended, by how.");
	for (const struct key_account *key = accounts; key; key = key->next)
		for (int i = 0; i < OUTCOME_COUNT && key->listed; i++)
			bytes_append_format(out, "worker_key_requests_total{key=\"%s\",outcome=\"%s\"} %llu\n", key->name,
			                    outcome_name((enum outcome)i), atomic_load(&key->account.requests[i]));
	write_key_counter(out, accounts, "worker_key_prompt_tokens_total", "Prompt tokens of each API key's requests.",
	                  offsetof(struct account, prompt_tokens));
	write_key_counter(out, accounts, "worker_key_tokens_generated_total", "Tokens generated for each API key.",
	                  offsetof(struct account, tokens_generated));
}

static void count_http(struct server *server, struct http_counts *http)
{
	http->connections = connections_count(&server->connections);
	for (int i = 0; i < 6; i++)
		http->responses[i] = atomic_load(&server->responses[i]);
	for (int i = 0; i <= ERROR_INTERNAL; i++)
		http->errors[i] = atomic_load(&server->errors[i]);
}

enum MHD_Result handle_metrics(struct exchange *exchange)
{
	struct server *server = exchange->server;
	struct engine_status status;
	struct engine_metrics engine;
	struct platform_resident resident;
	struct http_counts http;
	engine_status(server->engine, &status);
	engine_metrics(server->engine, &engine);
	count_http(server, &http);
	struct metrics_facts facts = {
	    .status = &status,
	    .engine = &engine,
	    .http = &http,
	    .resident = platform_resident(&platform_default_roots, &resident) ? &resident : NULL,
	    .health = server_health(server, &status),
	    .version = server->version ? server->version : "",
	    .crashes = server->running ? running_crashes(server->running) : 0,
	    .log_lines_dropped = log_lines_dropped(),
	    .now_unix_s = clock_unix_ms() / 1000,
	    .vllm_names = server->vllm_names,
	};
	facts.ready = strcmp(facts.health, "healthy") == 0 && !status.queue_full;
	struct bytes body = {0};
	metrics_write(&body, &facts);
	pthread_rwlock_rdlock(&server->keys.lock);
	metrics_write_keys(&body, server->keys.all_accounts);
	pthread_rwlock_unlock(&server->keys.lock);
	return respond_bytes(exchange, 200, "text/plain; version=0.0.4; charset=utf-8", &body);
}
