/* vLLM's names for what it has in common with this worker, so that endpoint pickers, autoscalers and dashboards made for it
 * work unchanged. Values are those of the worker's own names, in the worker's buckets. */
#include "server/routes/metrics.h"
#include "server/routes/metrics_text.h"

static void write_gauges(struct bytes *out, const char *label, const struct engine_status *status)
{
	const struct {
		const char *name, *help;
		double value;
	} gauges[] = {
	    {"vllm:num_requests_running", "Requests being computed.", status->active},
	    {"vllm:num_requests_waiting", "Requests waiting for admission.", status->queued},
	    {"vllm:kv_cache_usage_perc", "KV pages that requests use, 0 to 1.", metrics_pages_usage(status)},
	    {"vllm:gpu_cache_usage_perc", "The same, under its older name.", metrics_pages_usage(status)},
	};
	for (size_t i = 0; i < sizeof gauges / sizeof gauges[0]; i++) {
		metric_head(out, gauges[i].name, "gauge", gauges[i].help);
		metric_number(out, gauges[i].name, label, gauges[i].value);
	}
}

static void write_counters(struct bytes *out, const char *label, const struct engine_metrics *metrics)
{
	const struct {
		const char *name, *help;
		uint64_t value;
	} counters[] = {
	    {"vllm:prompt_tokens_total", "Tokens of admitted prompts.", metrics->prompt_tokens},
	    {"vllm:generation_tokens_total", "Tokens generated.", metrics->tokens_generated},
	    {"vllm:prefix_cache_queries_total", "Tokens of admitted prompts.", metrics->prompt_tokens},
	    {"vllm:prefix_cache_hits_total", "Prompt tokens taken from the prefix cache.", metrics->cached_tokens},
	    {"vllm:num_preemptions_total", "Pauses of running requests, for want of pages.", metrics->pauses},
	};
	for (size_t i = 0; i < sizeof counters / sizeof counters[0]; i++) {
		metric_head(out, counters[i].name, "counter", counters[i].help);
		metric_count(out, counters[i].name, label, counters[i].value);
	}
}

/* Its words for how an answer ended. */
static void write_successes(struct bytes *out, const char *label, const struct engine_metrics *metrics)
{
	const struct {
		const char *reason;
		uint64_t value;
	} reasons[] = {
	    {"stop", metrics->answers[STOP_EOS] + metrics->answers[STOP_SEQUENCE]},
	    {"length", metrics->answers[STOP_MAX_TOKENS] + metrics->answers[STOP_CONTEXT]},
	    {"abort", metrics->requests[OUTCOME_CANCELLED] + metrics->requests[OUTCOME_DEADLINE]},
	    {"error", metrics->requests[OUTCOME_FAILED]},
	};
	metric_head(out, "vllm:request_success_total", "counter", "Requests that ended, by how.");
	for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
		struct bytes labels = {0};
		bytes_append_format(&labels, "%s,finished_reason=\"%s\"", label, reasons[i].reason);
		metric_count(out, "vllm:request_success_total", labels.data, reasons[i].value);
		out->failed |= labels.failed;
		bytes_free(&labels);
	}
}

static void write_histograms(struct bytes *out, const char *label, const struct engine_metrics *metrics)
{
	const struct {
		const char *name, *help;
		const struct histogram *histogram;
	} histograms[] = {
	    {"vllm:time_to_first_token_seconds", "From arrival to the first token.", &metrics->time_to_first_token},
	    {"vllm:inter_token_latency_seconds", "Between consecutive tokens of one request.", &metrics->inter_token},
	    {"vllm:time_per_output_token_seconds", "The same, under its older name.", &metrics->inter_token},
	    {"vllm:e2e_request_latency_seconds", "From arrival to the end.", &metrics->request},
	    {"vllm:request_queue_time_seconds", "From arrival to admission.", &metrics->queue},
	    {"vllm:request_prefill_time_seconds", "From admission to the end of prefill.", &metrics->prefill},
	    {"vllm:request_decode_time_seconds", "From the end of prefill to the last token.", &metrics->decode},
	};
	for (size_t i = 0; i < sizeof histograms / sizeof histograms[0]; i++)
		metric_histogram(out, histograms[i].name, label, histograms[i].help, histograms[i].histogram);
}

void metrics_write_vllm(struct bytes *out, const struct metrics_facts *facts)
{
	struct bytes label = metrics_model_label(facts->status);
	metric_label(&label, "engine", "0");
	if (label.failed) {
		out->failed = true;
		bytes_free(&label);
		return;
	}
	write_gauges(out, label.data, facts->status);
	write_counters(out, label.data, facts->engine);
	write_successes(out, label.data, facts->engine);
	write_histograms(out, label.data, facts->engine);
	metrics_write_picker_info(out, "vllm:", facts);
	bytes_free(&label);
}
