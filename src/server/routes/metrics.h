/* Prometheus text format, version 0.0.4. Pure text. */
#ifndef TALLOW_SERVER_ROUTES_METRICS_H
#define TALLOW_SERVER_ROUTES_METRICS_H

#include "base/bytes.h"
#include "base/platform.h"
#include "engine/engine.h"

struct http_counts {
	unsigned long long responses[6]; /* by first digit of the status; [0]: ended without an answer */
	int connections;
};

/* resident may be NULL where the system does not say. */
struct key_account;
/* Of each key, by name; nothing where there is none. */
void metrics_write_keys(struct bytes *out, const struct key_account *accounts);
void metrics_write(struct bytes *out, const struct engine_status *status, const struct engine_metrics *metrics,
                   const struct http_counts *http, const struct platform_resident *resident);

#endif
