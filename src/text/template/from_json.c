#include "text/template/from_json.h"

#include <math.h>
#include <string.h>

static bool any_value(struct render *r, const struct json *json, bool from_data, struct value *out);

static bool number_value(struct render *r, const struct json *json, bool from_data, struct value *out)
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
			if (!value_text(r, text, strlen(text), from_data, out))
				return false;
			out->kind = VALUE_BIG;
		}
	}
	return true;
}

static bool array_value(struct render *r, const struct json *json, bool from_data, struct value *out)
{
	struct list *list = list_new(r, json_count(json));
	size_t i = 0;
	if (!list)
		return false;
	for (const struct json *item = json_first(json); item; item = json_next(item))
		if (!any_value(r, item, from_data, &list->items[i++]))
			return false;
	*out = value_list(list);
	return true;
}

static bool key_is(const struct json *member, const char *name)
{
	size_t n_key = 0;
	const char *key = json_key(member, &n_key);
	return strlen(name) == n_key && memcmp(key, name, n_key) == 0;
}

/* The names of roles are words of the protocol, which templates build control tokens of ('<|' + role + '|>'): no message
 * chooses what they say. Any other name is data. */
static bool is_known_role(const struct json *member)
{
	static const char *const roles[] = {"system", "developer", "user", "assistant", "tool"};
	size_t n_bytes = 0;
	const char *text = key_is(member, "role") ? json_string(member, &n_bytes) : NULL;
	for (size_t i = 0; text && i < sizeof roles / sizeof *roles; i++)
		if (strlen(roles[i]) == n_bytes && memcmp(roles[i], text, n_bytes) == 0)
			return true;
	return false;
}

/* A message may say that its sender wrote its control tokens: its content then counts as the template's own. Whatever it
 * says of that is for us alone. */
enum form { ANY_OBJECT, MESSAGE, FORMATTED_MESSAGE };

static bool object_value(struct render *r, const struct json *json, bool from_data, enum form form, struct value *out)
{
	struct dict *dict = dict_new(r, json_count(json));
	if (!dict)
		return false;
	for (const struct json *member = json_first(json); member; member = json_next(member)) {
		struct value key, value;
		size_t n_key = 0;
		const char *text = json_key(member, &n_key);
		bool is_data = from_data && !is_known_role(member) && !(form == FORMATTED_MESSAGE && key_is(member, "content"));
		if (form != ANY_OBJECT && key_is(member, "parse_special"))
			continue;
		if (!value_text(r, text, n_key, from_data, &key) || !any_value(r, member, is_data, &value) ||
		    !dict_set(r, dict, &key, &value))
			return false;
	}
	*out = (struct value){.kind = VALUE_DICT, .dict = dict, .from_data = from_data};
	return true;
}

/* Depth is bounded by json_parse; the limit of the rendering holds, too. */
static bool any_value(struct render *r, const struct json *json, bool from_data, struct value *out)
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
		ok = number_value(r, json, from_data, out);
		break;
	case JSON_STRING: {
		const char *text = json_string(json, &n_bytes);
		ok = value_text(r, text, n_bytes, from_data, out);
		break;
	}
	case JSON_ARRAY:
		ok = array_value(r, json, from_data, out);
		break;
	case JSON_OBJECT:
		ok = object_value(r, json, from_data, ANY_OBJECT, out);
		break;
	}
	out->from_data = from_data;
	render_leave(r);
	return ok;
}

bool value_from_json(struct render *r, const struct json *json, struct value *out)
{
	return any_value(r, json, true, out);
}

bool messages_from_json(struct render *r, const struct json *json, struct value *out)
{
	struct list *list = list_new(r, json_count(json));
	size_t i = 0;
	if (!list)
		return false;
	for (const struct json *message = json_first(json); message; message = json_next(message)) {
		struct value *item = &list->items[i++];
		bool formatted = false;
		(void)json_bool(json_get(message, "parse_special"), &formatted);
		enum form form = formatted ? FORMATTED_MESSAGE : MESSAGE;
		if (!(json_type(message) == JSON_OBJECT ? object_value(r, message, true, form, item)
		                                        : any_value(r, message, true, item)))
			return false;
	}
	*out = value_list(list);
	out->from_data = true;
	return true;
}
