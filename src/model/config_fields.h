/* Reads typed fields of one object of config.json. null is as good as absent; whatever else is wrong is told with file,
 * field, value and what was expected.
 */
#ifndef TALLOW_MODEL_CONFIG_FIELDS_H
#define TALLOW_MODEL_CONFIG_FIELDS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/json.h"
#include "model/config_private.h"

/* The first bad field sets the error and `ok` stays false. */
struct fields {
	const char *path;   /* of the file, for messages */
	const char *prefix; /* "rope_scaling." inside that object */
	const struct json *object;
	struct error *error;
	bool ok;
};

const struct json *field(const struct fields *fields, const char *name); /* NULL when absent or null */
void bad_field(struct fields *fields, const char *name, const struct json *value, const char *expected);

/* The field, or `fallback` where it is absent or wrong. */
int64_t count_field(struct fields *fields, const char *name, int64_t fallback); /* 1 to CONFIG_MAX_COUNT */
int64_t index_field(struct fields *fields, const char *name, int64_t fallback); /* 0 to CONFIG_MAX_COUNT */
double positive_field(struct fields *fields, const char *name, double fallback);
double theta_field(struct fields *fields, const char *name, double fallback);
double positive_field_unless_zero(struct fields *fields, const char *name, double fallback); /* 0 as absent */
bool flag_field(struct fields *fields, const char *name, bool fallback);
const char *text_field(struct fields *fields, const char *name, const char *fallback);

#endif
