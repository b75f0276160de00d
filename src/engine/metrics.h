/* Counters and histograms that the engine keeps; guarded by the engine's mutex. */
#ifndef TALLOW_ENGINE_METRICS_H
#define TALLOW_ENGINE_METRICS_H

#include "engine/engine.h"

void histogram_observe(struct histogram *histogram, double seconds);

enum { RATE_WINDOW_SECONDS = 8 };

/* Tokens per second over the last seconds. */
struct rate {
	int64_t second[RATE_WINDOW_SECONDS];
	int64_t count[RATE_WINDOW_SECONDS];
};
void rate_add(struct rate *rate, int64_t now_ns, int64_t n);
double rate_per_second(const struct rate *rate, int64_t now_ns);

#endif
