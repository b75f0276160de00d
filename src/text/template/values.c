/* Values: undefined ones, lists and dicts, truth, names of types, items and lengths. */
#include "text/template/values.h"

#include <string.h>

#include "base/hash.h"
#include "text/template/calls.h"
#include "text/unicode.h"

/* ---- undefined ---- */

static struct undefined *undefined_new(struct render *r, struct value *out)
{
	struct undefined *u = render_alloc(r, sizeof *u);
	*out = (struct value){.kind = VALUE_UNDEFINED, .undefined = u};
	return u;
}

bool value_undefined_name(struct render *r, const char *name, size_t n_bytes, struct value *out)
{
	struct undefined *u = undefined_new(r, out);
	if (!u)
		return false;
	u->form = UNDEFINED_NAME;
	return value_text(r, name, n_bytes, false, &u->name);
}

bool value_undefined_hint(struct render *r, const char *hint, struct value *out)
{
	struct undefined *u = undefined_new(r, out);
	if (!u)
		return false;
	u->form = UNDEFINED_HINT;
	char *kept = render_alloc(r, strlen(hint) + 1);
	if (!kept)
		return false;
	memcpy(kept, hint, strlen(hint));
	return value_literal(r, kept, &u->name);
}

bool value_undefined_member(struct render *r, const struct value *object, const struct value *name, struct value *out)
{
	struct undefined *u = undefined_new(r, out);
	if (!u)
		return false;
	u->form = UNDEFINED_MEMBER;
	u->name = *name;
	u->type_name = value_object_repr(object);
	return true;
}

bool value_undefined_unsafe(struct render *r, const struct value *object, const struct value *name, struct value *out)
{
	struct undefined *u = undefined_new(r, out);
	if (!u)
		return false;
	u->form = UNDEFINED_UNSAFE;
	u->name = *name;
	u->type_name = value_type_name(object);
	return true;
}

bool value_undefined_fail(struct render *r, const struct value *value)
{
	const struct undefined *u = value->undefined;
	struct value repr;
	if (u->form == UNDEFINED_HINT)
		return render_fail(r, "UndefinedError", "%.*s", (int)u->name.string->n_bytes, u->name.string->bytes);
	if (!value_repr(r, &u->name, &repr))
		return false;
	int n = repr.string->n_bytes > 200 ? 200 : (int)repr.string->n_bytes;
	const char *name = repr.string->bytes;
	if (u->form == UNDEFINED_NAME)
		return render_fail(r, "UndefinedError", "%.*s is undefined", n, name);
	if (u->form == UNDEFINED_UNSAFE)
		return render_fail(r, "SecurityError", "access to attribute %.*s of '%s' object is unsafe.", n, name,
		                   u->type_name);
	if (u->name.kind != VALUE_STRING)
		return render_fail(r, "UndefinedError", "%s has no element %.*s", u->type_name, n, name);
	return render_fail(r, "UndefinedError", "'%s' has no attribute %.*s", u->type_name, n, name);
}

/* ---- names of types ---- */

const char *value_type_name(const struct value *value)
{
	static const char *const names[] = {[VALUE_MISSING] = "missing",
	                                    [VALUE_UNDEFINED] = "Undefined",
	                                    [VALUE_NONE] = "NoneType",
	                                    [VALUE_BOOL] = "bool",
	                                    [VALUE_INT] = "int",
	                                    [VALUE_BIG] = "int",
	                                    [VALUE_FLOAT] = "float",
	                                    [VALUE_STRING] = "str",
	                                    [VALUE_LIST] = "list",
	                                    [VALUE_TUPLE] = "tuple",
	                                    [VALUE_DICT] = "dict",
	                                    [VALUE_RANGE] = "range",
	                                    [VALUE_ITERATOR] = "generator",
	                                    [VALUE_NAMESPACE] = "Namespace",
	                                    [VALUE_MACRO] = "Macro",
	                                    [VALUE_CALLABLE] = "function",
	                                    [VALUE_LOOP] = "LoopContext",
	                                    [VALUE_CYCLER] = "Cycler",
	                                    [VALUE_JOINER] = "Joiner"};
	static const char *const views[] = {"dict_keys", "dict_values", "dict_items"};
	if (value->kind == VALUE_VIEW)
		return views[value->detail];
	if (value->kind == VALUE_ITERATOR && value->detail == ITERATOR_REVERSED)
		return "list_reverseiterator";
	if (value->kind == VALUE_CALLABLE && value->callable->self.kind != VALUE_MISSING)
		return "builtin_function_or_method";
	return value->kind == VALUE_STRING && value->safe ? "Markup" : names[value->kind];
}

const char *value_object_repr(const struct value *value)
{
	static const char *const names[] = {
	    [VALUE_NONE] = "None",
	    [VALUE_BOOL] = "bool object",
	    [VALUE_INT] = "int object",
	    [VALUE_BIG] = "int object",
	    [VALUE_FLOAT] = "float object",
	    [VALUE_STRING] = "str object",
	    [VALUE_LIST] = "list object",
	    [VALUE_TUPLE] = "tuple object",
	    [VALUE_DICT] = "dict object",
	    [VALUE_RANGE] = "range object",
	    [VALUE_ITERATOR] = "generator object",
	    [VALUE_VIEW] = "dict_items object",
	    [VALUE_NAMESPACE] = "jinja2.utils.Namespace object",
	    [VALUE_MACRO] = "jinja2.runtime.Macro object",
	    [VALUE_CALLABLE] = "function object",
	    [VALUE_LOOP] = "jinja2.runtime.LoopContext object",
	    [VALUE_CYCLER] = "jinja2.utils.Cycler object",
	    [VALUE_JOINER] = "jinja2.utils.Joiner object",
	};
	static const char *const views[] = {"dict_keys object", "dict_values object", "dict_items object"};
	if (value->kind == VALUE_VIEW)
		return views[value->detail];
	if (value->kind == VALUE_CALLABLE && value->callable->self.kind != VALUE_MISSING)
		return "builtin_function_or_method object";
	if (value->kind == VALUE_STRING && value->safe)
		return "markupsafe.Markup object";
	const char *name = value->kind < sizeof names / sizeof *names ? names[value->kind] : NULL;
	return name ? name : "object";
}

/* ---- numbers ---- */

double value_as_double(const struct value *value)
{
	return value->kind == VALUE_FLOAT ? value->number
	                                  : (value->kind == VALUE_INT ? (double)value->integer : (double)value->truth);
}

/* ---- lists ---- */

struct list *list_new(struct render *r, size_t n_items)
{
	struct list *list = render_alloc(r, sizeof *list);
	if (!list)
		return NULL;
	list->items = render_array(r, n_items ? n_items : 1, sizeof *list->items);
	list->n_items = n_items;
	return list->items && render_step(r, n_items / 8) ? list : NULL;
}

bool list_add(struct render *r, struct list *list, const struct value *item)
{
	struct list_room *room = list->room;
	if (!room || room->used == room->capacity) {
		struct value *items = render_array(r, 2 * list->n_items + 4, sizeof *items);
		room = render_alloc(r, sizeof *room);
		if (!items || !room || !render_step(r, list->n_items / 8))
			return false;
		if (list->n_items)
			memcpy(items, list->items, list->n_items * sizeof *items);
		*room = (struct list_room){items, list->n_items, 2 * list->n_items + 4};
		*list = (struct list){items, list->n_items, room};
	}
	list->items[list->n_items++] = *item;
	room->used++;
	return true;
}

bool value_iterator(struct render *r, struct list *items, enum iterator_name name, struct value *out)
{
	struct iterator *iterator = render_alloc(r, sizeof *iterator);
	if (!iterator)
		return false;
	iterator->items = items;
	*out = (struct value){.kind = VALUE_ITERATOR, .detail = (unsigned char)name, .iterator = iterator};
	return true;
}

/* ---- dicts ---- */

enum { INDEX_FROM = 9 }; /* entries from which on a hash table pays */

bool value_hashable(const struct value *value)
{
	if (value->kind == VALUE_TUPLE) {
		for (size_t i = 0; i < value->list->n_items; i++)
			if (value->list->items[i].kind == VALUE_TUPLE || !value_hashable(&value->list->items[i]))
				return false;
		return true;
	}
	return value->kind != VALUE_LIST && value->kind != VALUE_DICT && value->kind != VALUE_VIEW;
}

/* Equal values have equal hashes: 1, 1.0 and true are one key. 0 when there are no steps left. */
static uint64_t hash_of(struct render *r, const struct value *value)
{
	double number;
	uint64_t hash = value->kind;
	if (!render_step(r, 1))
		return 0;
	switch (value->kind) {
	case VALUE_STRING:
	case VALUE_BIG:
		return hash_bytes(value->string->bytes, value->string->n_bytes);
	case VALUE_BOOL:
	case VALUE_INT:
	case VALUE_FLOAT:
		number = value_as_double(value) + 0.0; /* -0.0 is 0 */
		return hash_bytes(&number, sizeof number);
	case VALUE_TUPLE:
		for (size_t i = 0; i < value->list->n_items; i++)
			hash = hash_mix(hash ^ hash_of(r, &value->list->items[i]));
		return hash;
	default:
		return hash_mix(hash);
	}
}

struct dict *dict_new(struct render *r, size_t capacity)
{
	struct dict *dict = render_alloc(r, sizeof *dict);
	if (!dict)
		return NULL;
	dict->capacity = capacity ? capacity : 1;
	dict->entries = render_array(r, dict->capacity, sizeof *dict->entries);
	return dict->entries ? dict : NULL;
}

static void index_entry(struct dict *dict, size_t entry)
{
	size_t at = dict->entries[entry].hash & (dict->index_size - 1);
	while (dict->index[at])
		at = (at + 1) & (dict->index_size - 1);
	dict->index[at] = (uint32_t)entry + 1;
}

static bool build_index(struct render *r, struct dict *dict)
{
	size_t size = 32;
	while (size < 2 * dict->capacity)
		size *= 2;
	dict->index = render_array(r, size, sizeof *dict->index);
	dict->index_size = size;
	for (size_t i = 0; dict->index && i < dict->n_entries; i++) {
		dict->entries[i].hash = hash_of(r, &dict->entries[i].key);
		index_entry(dict, i);
	}
	return dict->index != NULL;
}

static bool same_key(struct render *r, const struct value *a, const struct value *b)
{
	bool equal = false;
	if (a->kind == VALUE_STRING && b->kind == VALUE_STRING)
		return a->string->n_bytes == b->string->n_bytes &&
		       memcmp(a->string->bytes, b->string->bytes, a->string->n_bytes) == 0;
	return value_equal(r, a, b, &equal) && equal;
}

static struct dict_entry *find_entry(struct render *r, const struct dict *dict, const struct value *key, uint64_t hash)
{
	if (!dict->index) {
		for (size_t i = 0; i < dict->n_entries; i++)
			if (same_key(r, &dict->entries[i].key, key))
				return &dict->entries[i];
		return NULL;
	}
	for (size_t at = hash & (dict->index_size - 1); dict->index[at]; at = (at + 1) & (dict->index_size - 1)) {
		struct dict_entry *entry = &dict->entries[dict->index[at] - 1];
		if (entry->hash == hash && same_key(r, &entry->key, key))
			return entry;
	}
	return NULL;
}

static bool grow_dict(struct render *r, struct dict *dict)
{
	struct dict_entry *grown = render_array(r, dict->capacity * 2, sizeof *grown);
	if (!grown)
		return false;
	memcpy(grown, dict->entries, dict->n_entries * sizeof *grown);
	dict->entries = grown;
	dict->capacity *= 2;
	return !dict->index || build_index(r, dict);
}

static bool fail_unhashable(struct render *r, const struct value *key)
{
	return render_fail(r, "TypeError", "unhashable type: '%s'", value_type_name(key));
}

/* A key that can be hashed. What looking it up takes with its length is charged here, what it takes besides in hash_of and
 * value_equal: a string is read once to hash it, or compared with the few keys of a dict without a table. */
bool value_check_key(struct render *r, const struct value *key)
{
	if (key->kind == VALUE_STRING || key->kind == VALUE_BIG)
		return render_step(r, key->string->n_bytes / 32);
	if (key->kind == VALUE_TUPLE && !render_step(r, key->list->n_items / 8))
		return false;
	return value_hashable(key) || fail_unhashable(r, key);
}

bool dict_set(struct render *r, struct dict *dict, const struct value *key, const struct value *value)
{
	if (!value_check_key(r, key))
		return false;
	/* A hash is needed only once there is a table. */
	uint64_t hash = dict->index ? hash_of(r, key) : 0;
	struct dict_entry *found = find_entry(r, dict, key, hash);
	if (found) {
		found->value = *value;
		return true;
	}
	if (dict->n_entries == dict->capacity && !grow_dict(r, dict))
		return false;
	dict->entries[dict->n_entries++] = (struct dict_entry){*key, *value, hash};
	if (dict->index)
		index_entry(dict, dict->n_entries - 1);
	else if (dict->n_entries >= INDEX_FROM && !build_index(r, dict))
		return false;
	return !r->error->code;
}

bool dict_find(struct render *r, const struct dict *dict, const struct value *key, const struct value **found)
{
	*found = NULL;
	if (!value_check_key(r, key))
		return false;
	const struct dict_entry *entry = find_entry(r, dict, key, dict->index ? hash_of(r, key) : 0);
	*found = entry ? &entry->value : NULL;
	return !r->error->code;
}

bool dict_find_text(struct render *r, const struct dict *dict, const char *bytes, size_t n_bytes,
                    const struct value **found)
{
	struct string text = {.bytes = bytes, .n_bytes = n_bytes};
	struct value key = {.kind = VALUE_STRING, .string = &text};
	return dict_find(r, dict, &key, found);
}

/* ---- truth, length, items ---- */

bool value_true(const struct value *value)
{
	switch (value->kind) {
	case VALUE_MISSING:
	case VALUE_UNDEFINED:
	case VALUE_NONE:
		return false;
	case VALUE_BOOL:
		return value->truth;
	case VALUE_INT:
		return value->integer != 0;
	case VALUE_FLOAT:
		return value->number != 0;
	case VALUE_STRING:
		return value->string->n_bytes > 0;
	case VALUE_LIST:
	case VALUE_TUPLE:
		return value->list->n_items > 0;
	case VALUE_DICT:
	case VALUE_VIEW:
		return value->dict->n_entries > 0;
	case VALUE_RANGE:
		return value->range->n_items > 0;
	default:
		return true;
	}
}

bool value_length(struct render *r, const struct value *value, size_t *out)
{
	switch (value->kind) {
	case VALUE_UNDEFINED:
		*out = 0;
		return true;
	case VALUE_STRING:
		*out = (size_t)string_chars(value->string);
		return render_step(r, value->string->n_bytes / 64);
	case VALUE_LIST:
	case VALUE_TUPLE:
		*out = value->list->n_items;
		return true;
	case VALUE_DICT:
	case VALUE_VIEW:
		*out = value->dict->n_entries;
		return true;
	case VALUE_RANGE:
		*out = value->range->n_items;
		return true;
	case VALUE_LOOP:
		if (!loop_take(r, value->loop, SIZE_MAX))
			return false;
		*out = value->loop->items->n_items;
		return true;
	default:
		return render_fail(r, "TypeError", "object of type '%s' has no len()", value_type_name(value));
	}
}

static bool characters(struct render *r, const struct string *s, struct list **out)
{
	size_t n = 0;
	struct list *list = list_new(r, (size_t)string_chars((struct string *)s));
	if (!list)
		return false;
	for (size_t at = 0; at < s->n_bytes;) {
		size_t length = char_length((unsigned char)s->bytes[at]);
		if (!string_slice(r, s, at, at + length, &list->items[n++]))
			return false;
		at += length;
	}
	*out = list;
	return true;
}

static bool dict_items(struct render *r, const struct value *value, enum view_kind kind, struct list **out)
{
	const struct dict *dict = value->dict;
	struct list *list = list_new(r, dict->n_entries);
	for (size_t i = 0; list && i < dict->n_entries; i++) {
		const struct dict_entry *entry = &dict->entries[i];
		if (kind != VIEW_ITEMS) {
			list->items[i] = kind == VIEW_KEYS ? entry->key : entry->value;
			continue;
		}
		struct list *pair = list_new(r, 2);
		if (!pair)
			return false;
		pair->items[0] = entry->key;
		pair->items[1] = entry->value;
		list->items[i] = (struct value){.kind = VALUE_TUPLE, .list = pair, .from_data = value->from_data};
	}
	*out = list;
	return list != NULL;
}

static bool range_items(struct render *r, const struct range *range, struct list **out)
{
	struct list *list = list_new(r, range->n_items);
	for (size_t i = 0; list && i < range->n_items; i++)
		list->items[i] = value_int(range_at(range, i));
	*out = list;
	return list != NULL;
}

bool value_items(struct render *r, const struct value *value, struct list **out)
{
	switch (value->kind) {
	case VALUE_UNDEFINED:
		*out = list_new(r, 0);
		return *out != NULL;
	case VALUE_STRING:
		return characters(r, value->string, out);
	case VALUE_LIST:
	case VALUE_TUPLE:
		*out = value->list;
		return true;
	case VALUE_DICT:
		return dict_items(r, value, VIEW_KEYS, out);
	case VALUE_VIEW:
		return dict_items(r, value, (enum view_kind)value->detail, out);
	case VALUE_RANGE:
		return range_items(r, value->range, out);
	case VALUE_ITERATOR:
		return iterator_take(r, value->iterator, SIZE_MAX, out);
	default:
		return render_fail(r, "TypeError", "'%s' object is not iterable", value_type_name(value));
	}
}
