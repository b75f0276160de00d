#include "server/dialects/logit_bias.h"

#include <inttypes.h>
#include <stdio.h>

/* A decimal number as JSON writes one, so that no id has two names; -1 when it is none or not in the vocabulary. */
static int64_t read_id(const char *text, size_t n_bytes, int64_t vocab_size)
{
	int64_t id = 0;
	if (n_bytes == 0 || (n_bytes > 1 && text[0] == '0'))
		return -1;
	for (size_t i = 0; i < n_bytes; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -1;
		id = id * 10 + (text[i] - '0');
		if (id >= vocab_size)
			return -1;
	}
	return id;
}

/* How much of a bad key may be quoted: what is plain. */
static int shown_bytes(const char *text, size_t n_bytes)
{
	int n = 0;
	while (n < 20 && (size_t)n < n_bytes && text[n] >= ' ' && text[n] <= '~')
		n++;
	return n;
}

/* False with an error noted. */
static bool read_entry(struct field_checker *check, const struct json *member, int64_t vocab_size,
                       struct logit_bias *bias)
{
	size_t n_bytes = 0;
	const char *key = json_key(member, &n_bytes);
	int64_t id = read_id(key, n_bytes, vocab_size);
	char constraint[64];
	double number = 0;
	if (id < 0) {
		snprintf(constraint, sizeof(constraint), "keys(0..=%" PRId64 ")", vocab_size - 1);
		field_error(check, "logit_bias", constraint, NULL,
		            "logit_bias must have token ids from 0 to %" PRId64 " as keys (got \"%.*s\")", vocab_size - 1,
		            shown_bytes(key, n_bytes), key);
		return false;
	}
	if (json_type(member) != JSON_NUMBER) {
		field_error(check, "logit_bias", "type(number)", NULL,
		            "logit_bias of token %" PRId64 " must be a number (got %s)", id, json_type_name(json_type(member)));
		return false;
	}
	if (!json_double(member, &number) || number < -100 || number > 100) {
		field_error(check, "logit_bias", "range(-100.0..=100.0)", member,
		            "logit_bias of token %" PRId64 " must be from -100 to 100 (got %.20s)", id,
		            json_number_text(member));
		return false;
	}
	*bias = (struct logit_bias){.token = (int32_t)id, .bias = (float)number};
	return true;
}

bool logit_bias_read(struct field_checker *check, int64_t vocab_size, struct arena *arena, struct sampling *sampling)
{
	const struct json *object = field_get(check, "logit_bias");
	if (!object)
		return true;
	size_t n = json_count(object);
	if (json_type(object) != JSON_OBJECT) {
		field_error(check, "logit_bias", "type(object)", object, "logit_bias must be an object (got %s)",
		            json_type_name(json_type(object)));
		return true;
	}
	if (n > SAMPLING_MAX_BIASES) {
		field_error(check, "logit_bias", "max_items(1024)", NULL, "logit_bias must have at most %d entries (got %zu)",
		            SAMPLING_MAX_BIASES, n);
		return true;
	}
	struct logit_bias *biases = arena_array(arena, n + 1, sizeof *biases);
	if (!biases)
		return false;
	int n_read = 0;
	for (const struct json *member = json_first(object); member; member = json_next(member))
		if (!read_entry(check, member, vocab_size, &biases[n_read++]))
			return true;
	sampling->biases = biases;
	sampling->n_biases = n_read;
	return true;
}
