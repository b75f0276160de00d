#include "text/template/from_json.h"

#include <math.h>
#include <string.h>

static bool number_value(struct render *r, const struct json *json, struct value *out)
{
	const char *text = json_number_text(json);
	double number;
	if (strpbrk(text, ".eE")) {
		/* What overflows is infinite, as Python's json has it. */
		*out = value_float(json_double(json, &number) ? number : *text == '-' ? -INFINITY : INFINITY);
	} else {
		int64_t integer;
		if (json_int64(json, &integer)) {
			*out = value_int(integer);
		} else {
			if (!value_text(r, text, strlen(text), true, out))
				return false;
			out->kind = VALUE_BIG;
		}
	}
	out->from_data = true;
	return true;
}

static bool array_value(struct render *r, const struct json *json, struct value *out)
{
	struct list *list = list_new(r, json_count(json));
	size_t i = 0;
	if (!list)
		return false;
	for (const struct json *item = json_first(json); item; item = json_next(item))
		if (!value_from_json(r, item, &list->items[i++]))
			return false;
	*out = value_list(list);
	out->from_data = true;
	return true;
}

/* The names of roles are words of the protocol, which templates build control tokens of ('<|' + role + '|>'): no message
 * chooses what they say. Any other name is data. */
static bool is_known_role(const char *key, size_t n_key, const struct json *value)
{
	static const char *const roles[] = {"system", "developer", "user", "assistant", "tool"};
	size_t n_bytes = 0;
	const char *text = n_key == 4 && memcmp(key, "role", 4) == 0 ? json_string(value, &n_bytes) : NULL;
	for (size_t i = 0; text && i < sizeof roles / sizeof *roles; i++)
		if (strlen(roles[i]) == n_bytes && memcmp(roles[i], text, n_bytes) == 0)
			return true;
	return false;
}

static bool trusted_text(struct render *r, const struct json *json, struct value *out)
{
	size_t n_bytes = 0;
	const char *text = json_string(json, &n_bytes);
	return value_text(r, text, n_bytes, false, out);
}

static bool object_value(struct render *r, const struct json *json, struct value *out)
{
	struct dict *dict = dict_new(r, json_count(json));
	if (!dict)
		return false;
	for (const struct json *member = json_first(json); member; member = json_next(member)) {
		struct value key, value;
		size_t n_key = 0;
		const char *text = json_key(member, &n_key);
		if (!value_text(r, text, n_key, true, &key) || !value_from_json(r, member, &value) ||
		    (is_known_role(text, n_key, member) && !trusted_text(r, member, &value)) ||
		    !dict_set(r, dict, &key, &value))
			return false;
	}
	*out = (struct value){.kind = VALUE_DICT, .dict = dict, .from_data = true};
	return true;
}

/* Depth is bounded by json_parse; the limit of the rendering holds, too. */
bool value_from_json(struct render *r, const struct json *json, struct value *out)
{
	size_t n_bytes = 0;
	bool truth = false, ok = false;
	if (!render_enter(r))
		return false;
	switch (json_type(json)) {
	case JSON_NULL:
		*out = value_none();
		ok = true;
		break;
	case JSON_BOOL:
		ok = json_bool(json, &truth);
		*out = value_bool(truth);
		break;
	case JSON_NUMBER:
		ok = number_value(r, json, out);
		break;
	case JSON_STRING: {
		const char *text = json_string(json, &n_bytes);
		ok = value_text(r, text, n_bytes, true, out);
		break;
	}
	case JSON_ARRAY:
		ok = array_value(r, json, out);
		break;
	case JSON_OBJECT:
		ok = object_value(r, json, out);
		break;
	}
	out->from_data = true;
	render_leave(r);
	return ok;
}
