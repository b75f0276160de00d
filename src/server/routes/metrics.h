/* What GET /metrics says (metrics_text.h has the format). Pure text. */
#ifndef TALLOW_SERVER_ROUTES_METRICS_H
#define TALLOW_SERVER_ROUTES_METRICS_H

#include "base/bytes.h"
#include "base/error.h"
#include "base/platform.h"
#include "engine/engine.h"

struct key_account;

struct http_counts {
	unsigned long long responses[6]; /* by first digit of the status; [0]: ended without an answer */
	unsigned long long errors[ERROR_INTERNAL + 1];
	int connections;
};

/* All that is told; borrowed. */
struct metrics_facts {
	const struct engine_status *status; /* with model_name, "" where there is none */
	const struct engine_metrics *engine;
	const struct http_counts *http;
	const struct platform_resident *resident; /* NULL where the system does not say */
	const char *health;                       /* the word of /health */
	const char *version;                      /* of the program */
	bool ready;                               /* as /v1/ready has it */
	unsigned crashes;                         /* of workers before this one, under the same supervisor */
	uint64_t log_lines_dropped;
	int64_t now_unix_s;
	bool vllm_names; /* metrics_write_vllm's, too */
};

void metrics_write(struct bytes *out, const struct metrics_facts *facts);
/* The same under vLLM's names, as far as there are the same things. */
void metrics_write_vllm(struct bytes *out, const struct metrics_facts *facts);
/* Of each key, by name; nothing where there is none. */
void metrics_write_keys(struct bytes *out, const struct key_account *accounts);

/* Of the KV pages those that somebody uses now, and as a part of all, 0..1; pages that are only kept for prefixes are free for
 * whoever needs them. */
int metrics_pages_used(const struct engine_status *status);
double metrics_pages_usage(const struct engine_status *status);
/* model_name="...", to be freed. */
struct bytes metrics_model_label(const struct engine_status *status);
/* What endpoint pickers want to know of the pages and of LoRA adapters, of which there are none, under a prefix: "worker_",
 * "vllm:". */
void metrics_write_picker_info(struct bytes *out, const char *prefix, const struct metrics_facts *facts);

#endif
