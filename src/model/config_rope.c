/* rope_theta, rope_scaling, rope_parameters -> struct rope_config, as Hugging Face's modeling_rope_utils reads them. */
#include "model/config_rope.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "model/rope.h"

static const char *const type_names[] = {
    [ROPE_DEFAULT] = "default", [ROPE_LINEAR] = "linear", [ROPE_LLAMA3] = "llama3",
    [ROPE_DYNAMIC] = "dynamic", [ROPE_YARN] = "yarn",     [ROPE_LONGROPE] = "longrope",
};
enum { N_TYPES = sizeof type_names / sizeof *type_names };

const char *rope_type_name(enum rope_type type)
{
	return type_names[type];
}

/* One object that says how positions are scaled. */
struct reading {
	struct fields *fields; /* of that object */
	const struct family *family;
	struct model_config *config;
	int64_t original; /* original_max_position_embeddings beside rope_scaling, else the family's; 0 = none */
};

static void refuse(struct reading *reading, const char *what)
{
	const struct fields *fields = reading->fields;
	if (reading->fields->ok)
		reading->fields->ok = error_set(fields->error, ERROR_MODEL, "%s: %s%s", fields->path, fields->prefix, what);
}

/* ---- one type each ---- */

static void read_llama3(struct reading *reading)
{
	struct rope_config *rope = &reading->config->rope;
	struct fields *fields = reading->fields;
	rope->low_freq_factor = positive_field(fields, "low_freq_factor", 0);
	rope->high_freq_factor = positive_field(fields, "high_freq_factor", 0);
	rope->original_max_positions = count_field(fields, "original_max_position_embeddings", 0);
	if (!rope->low_freq_factor || !rope->original_max_positions || rope->high_freq_factor <= rope->low_freq_factor)
		refuse(reading,
		       "type llama3 needs original_max_position_embeddings and low_freq_factor below high_freq_factor");
}

static void read_dynamic(struct reading *reading)
{
	reading->config->rope.original_max_positions = reading->config->max_positions;
	if (reading->config->rotary_dim < 4)
		refuse(reading, "type dynamic needs heads of at least 4");
}

static void read_yarn(struct reading *reading)
{
	struct rope_config *rope = &reading->config->rope;
	struct fields *fields = reading->fields;
	rope->original_max_positions =
	    count_field(fields, "original_max_position_embeddings", reading->config->max_positions);
	/* transformers (modeling_rope_utils, _compute_yarn_parameters) takes 0 for "not given" in these four. */
	rope->beta_fast = positive_field_unless_zero(fields, "beta_fast", 32);
	rope->beta_slow = positive_field_unless_zero(fields, "beta_slow", 1);
	rope->truncate = flag_field(fields, "truncate", true);
	double scale = positive_field_unless_zero(fields, "mscale", 0);
	double all = positive_field_unless_zero(fields, "mscale_all_dim", 0);
	double inferred = scale > 0 && all > 0
	                      ? rope_yarn_magnitude(rope->factor, scale) / rope_yarn_magnitude(rope->factor, all)
	                      : rope_yarn_magnitude(rope->factor, 1);
	rope->attention_factor = positive_field(fields, "attention_factor", inferred);
	if (rope->theta <= 1)
		refuse(reading, "type yarn needs a rope_theta above 1");
}

static void read_factors(struct reading *reading, const char *name, float *factors)
{
	struct fields *fields = reading->fields;
	const struct json *list = field(fields, name);
	int64_t n = reading->config->rotary_dim / 2, i = 0;
	char expected[64];
	if (n > ROPE_MAX_FACTORS) {
		refuse(reading, "type longrope: heads may be at most 512 wide");
		return;
	}
	snprintf(expected, sizeof expected, "a list of %" PRId64 " numbers above 0", n);
	if (!list) {
		refuse(reading, "type longrope needs short_factor and long_factor");
		return;
	}
	bool good = json_type(list) == JSON_ARRAY && json_count(list) == (size_t)n;
	for (const struct json *value = good ? json_first(list) : NULL; value; value = json_next(value)) {
		double factor;
		good = good && json_double(value, &factor) && config_is_factor(factor);
		factors[i++] = good ? (float)factor : 1;
	}
	if (!good)
		bad_field(fields, name, list, expected);
}

/* The factor is that of the positions where config.json tells the original ones, as Phi-3's does. */
static void read_longrope(struct reading *reading)
{
	struct rope_config *rope = &reading->config->rope;
	struct fields *fields = reading->fields;
	int64_t max_positions = reading->config->max_positions;
	int64_t original =
	    reading->original ? reading->original : count_field(fields, "original_max_position_embeddings", 0);
	rope->original_max_positions = original ? original : max_positions;
	rope->factor = original ? (double)max_positions / (double)original : positive_field(fields, "factor", 0);
	read_factors(reading, "short_factor", rope->factors[0]);
	read_factors(reading, "long_factor", rope->factors[1]);
	double inferred = rope_longrope_magnitude(rope->factor, rope->original_max_positions);
	rope->attention_factor = positive_field(fields, "attention_factor", inferred);
	if (!(rope->factor > 0) && !field(fields, "attention_factor"))
		refuse(reading, "type longrope needs factor or original_max_position_embeddings");
	if (rope->original_max_positions < 2)
		refuse(reading, "type longrope needs original_max_position_embeddings of at least 2");
}

/* ---- the object ---- */

static void read_rotary_dim(struct reading *reading)
{
	static const char name[] = "partial_rotary_factor";
	struct model_config *config = reading->config;
	const struct json *value = field(reading->fields, name);
	double factor;
	if (!value || (json_double(value, &factor) && factor == 1))
		return;
	if (!reading->family->partial_rotary) {
		bad_field(reading->fields, name, value, "1 (rotating part of a head is not supported for this architecture)");
		return;
	}
	int64_t dim =
	    json_double(value, &factor) && factor > 0 && factor < 1 ? (int64_t)((double)config->head_dim * factor) : 0;
	if (dim < 2 || dim % 2 != 0)
		bad_field(reading->fields, name, value, "a number of 0 to 1 that gives an even part of head_dim");
	else
		config->rotary_dim = dim;
}

/* "su" is what longrope was called first; early Phi-3 files call it yarn, too. */
static enum rope_type read_type(struct reading *reading)
{
	struct fields *fields = reading->fields;
	const char *name = text_field(fields, "rope_type", text_field(fields, "type", "default"));
	if (strcmp(name, "su") == 0 || (strcmp(name, "yarn") == 0 && field(fields, "short_factor")))
		return ROPE_LONGROPE;
	for (int type = 0; type < N_TYPES; type++)
		if (strcmp(name, type_names[type]) == 0)
			return (enum rope_type)type;
	if (fields->ok)
		fields->ok = error_set(fields->error, ERROR_MODEL,
		                       "%s: %srope_type %.40s is not supported (default, linear, dynamic, llama3, yarn and "
		                       "longrope are)",
		                       fields->path, fields->prefix, name);
	return ROPE_DEFAULT;
}

static void read_scaling(struct reading *reading)
{
	struct rope_config *rope = &reading->config->rope;
	struct fields *fields = reading->fields;
	rope->theta = theta_field(fields, "rope_theta", rope->theta);
	enum rope_type type = read_type(reading);
	if (type == ROPE_DEFAULT || !fields->ok)
		return;
	rope->type = type;
	if (type != ROPE_LONGROPE) {
		rope->factor = positive_field(fields, "factor", 0);
		if (!config_is_stretch(rope->factor))
			refuse(reading, "factor is missing or not " CONFIG_STRETCH_EXPECTED);
	}
	if (type == ROPE_LLAMA3)
		read_llama3(reading);
	else if (type == ROPE_DYNAMIC)
		read_dynamic(reading);
	else if (type == ROPE_YARN)
		read_yarn(reading);
	else if (type == ROPE_LONGROPE)
		read_longrope(reading);
	if (!config_is_positive(rope->attention_factor)) /* inferred */
		refuse(reading, "mscale and mscale_all_dim give no attention factor of 1e-30 to 1e30");
}

/* rope_scaling, or rope_parameters of the newest layout. */
static void read_object(const struct reading *outer, const char *name)
{
	char prefix[64];
	struct fields *parent = outer->fields;
	const struct json *object = field(parent, name);
	if (!object || !parent->ok)
		return;
	if (json_type(object) != JSON_OBJECT) {
		bad_field(parent, name, object, "an object");
		return;
	}
	snprintf(prefix, sizeof prefix, "%s.", name);
	struct fields fields = {
	    .path = parent->path, .prefix = prefix, .object = object, .error = parent->error, .ok = true};
	struct reading reading = *outer;
	reading.fields = &fields;
	/* Parameters for each kind of layer would otherwise read as the defaults. */
	for (const struct json *member = json_first(object); member; member = json_next(member))
		if (json_type(member) == JSON_OBJECT)
			bad_field(&fields, json_key(member, NULL), member, "a number or a name");
	read_rotary_dim(&reading);
	read_scaling(&reading);
	parent->ok = fields.ok;
}

void config_read_rope(struct fields *fields, const struct family *family, struct model_config *config)
{
	struct reading reading = {.fields = fields, .family = family, .config = config};
	config->rope = (struct rope_config){
	    .type = ROPE_DEFAULT,
	    .theta = theta_field(fields, "rope_theta", 10000.0),
	    .attention_factor = 1,
	};
	config->rotary_dim = config->head_dim;
	reading.original = count_field(fields, "original_max_position_embeddings", family->defaults.original_positions);
	read_rotary_dim(&reading);
	read_object(&reading, "rope_scaling");
	read_object(&reading, "rope_parameters");
}
