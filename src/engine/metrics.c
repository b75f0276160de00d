#include "engine/metrics.h"

const double histogram_bounds_seconds[HISTOGRAM_BUCKETS] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                                                            0.5,   1,      2.5,   5,    10,    30,   60,  300};

void histogram_observe(struct histogram *histogram, double seconds)
{
	int bucket = 0;
	while (bucket < HISTOGRAM_BUCKETS && seconds > histogram_bounds_seconds[bucket])
		bucket++;
	histogram->counts[bucket]++;
	histogram->n++;
	histogram->sum_seconds += seconds;
}

void rate_add(struct rate *rate, int64_t now_ns, int64_t n)
{
	int64_t second = now_ns / 1000000000;
	int slot = (int)(second % RATE_WINDOW_SECONDS);
	if (rate->second[slot] != second) {
		rate->second[slot] = second;
		rate->count[slot] = 0;
	}
	rate->count[slot] += n;
}

double rate_per_second(const struct rate *rate, int64_t now_ns)
{
	int64_t now = now_ns / 1000000000, total = 0;
	/* The second that is running is not whole: leave it out. */
	for (int i = 0; i < RATE_WINDOW_SECONDS; i++)
		if (rate->second[i] < now && rate->second[i] >= now - (RATE_WINDOW_SECONDS - 1))
			total += rate->count[i];
	return (double)total / (RATE_WINDOW_SECONDS - 1);
}

const char *outcome_name(enum outcome outcome)
{
	static const char *const names[OUTCOME_COUNT] = {"completed", "cancelled", "deadline", "rejected", "failed"};
	return names[outcome];
}
