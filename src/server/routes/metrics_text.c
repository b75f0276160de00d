#include "server/routes/metrics_text.h"

#include <inttypes.h>
#include <string.h>

#include "base/json.h"

void metric_head(struct bytes *out, const char *name, const char *kind, const char *help)
{
	bytes_append_format(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind);
}

static void write_name(struct bytes *out, const char *name, const char *labels)
{
	bytes_append_text(out, name);
	if (labels)
		bytes_append_format(out, "{%s}", labels);
	bytes_append_text(out, " ");
}

void metric_count(struct bytes *out, const char *name, const char *labels, uint64_t value)
{
	write_name(out, name, labels);
	bytes_append_format(out, "%" PRIu64 "\n", value);
}

void metric_number(struct bytes *out, const char *name, const char *labels, double value)
{
	write_name(out, name, labels);
	json_write_double(out, value); /* finite here; the same digits as in JSON, whatever the locale */
	bytes_append_text(out, "\n");
}

static void write_bucket(struct bytes *out, const char *name, const char *labels)
{
	bytes_append_format(out, "%s_bucket{%s%sle=\"", name, labels ? labels : "", labels ? "," : "");
}

/* Of a name made of two. */
static void write_part(struct bytes *out, const char *name, const char *part, const char *labels)
{
	bytes_append_text(out, name);
	write_name(out, part, labels);
}

void metric_histogram(struct bytes *out, const char *name, const char *labels, const char *help,
                      const struct histogram *histogram)
{
	metric_head(out, name, "histogram", help);
	uint64_t cumulative = 0;
	for (int i = 0; i < HISTOGRAM_BUCKETS; i++) {
		cumulative += histogram->counts[i];
		write_bucket(out, name, labels);
		json_write_double(out, histogram_bounds_seconds[i]);
		bytes_append_format(out, "\"} %" PRIu64 "\n", cumulative);
	}
	cumulative += histogram->counts[HISTOGRAM_BUCKETS];
	write_bucket(out, name, labels);
	bytes_append_format(out, "+Inf\"} %" PRIu64 "\n", cumulative);
	write_part(out, name, "_sum", labels);
	json_write_double(out, histogram->sum_seconds);
	bytes_append_text(out, "\n");
	/* The sum of the buckets and not histogram->n: a scrape must never see the two differ. */
	write_part(out, name, "_count", labels);
	bytes_append_format(out, "%" PRIu64 "\n", cumulative);
}

/* A backslash and a quote are escaped as in JSON. Control characters, for which labels have no escapes, become '?'. */
void metric_label(struct bytes *labels, const char *name, const char *value)
{
	char plain[512];
	size_t n = strlen(value);
	n = n < sizeof plain ? n : sizeof plain - 1;
	for (size_t i = 0; i < n; i++)
		plain[i] = (unsigned char)value[i] < 0x20 || value[i] == 0x7f ? '?' : value[i];
	bytes_append_format(labels, "%s%s=", labels->n_bytes > 0 ? "," : "", name);
	json_write_string(labels, plain, n);
}
