/* Samples in Prometheus' text format, version 0.0.4. Labels are given as they are written between braces, without them
 * (`state="free"`); NULL: none. Pure text. */
#ifndef TALLOW_SERVER_ROUTES_METRICS_TEXT_H
#define TALLOW_SERVER_ROUTES_METRICS_TEXT_H

#include <stdint.h>

#include "base/bytes.h"
#include "engine/engine.h"

/* What comes before the samples of a name. kind: "counter", "gauge", "histogram". */
void metric_head(struct bytes *out, const char *name, const char *kind, const char *help);
void metric_count(struct bytes *out, const char *name, const char *labels, uint64_t value);
void metric_number(struct bytes *out, const char *name, const char *labels, double value);
/* With its head. */
void metric_histogram(struct bytes *out, const char *name, const char *labels, const char *help,
                      const struct histogram *histogram);
/* Appends name="value", the value escaped and made UTF-8, after a comma where there is something before it. */
void metric_label(struct bytes *labels, const char *name, const char *value);

#endif
