/* Resources, anchors and references (schema.h). Nothing is fetched: what a reference names is in the
 * document or is refused. URIs are resolved as RFC 3986 5.2 says. */
#include <stdlib.h>
#include <string.h>

#include "text/grammar/schema.h"

/* ---- URIs ---- */

static size_t scheme_length(const char *uri)
{
	size_t n = strspn(uri, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.");
	return n > 0 && uri[n] == ':' ? n + 1 : 0;
}

/* Up to the path: scheme and authority. */
static size_t authority_length(const char *uri)
{
	size_t n = scheme_length(uri);
	return strncmp(uri + n, "//", 2) == 0 ? n + 2 + strcspn(uri + n + 2, "/?#") : n;
}

/* Takes "." and ".." out of a path that starts with '/', in place. */
static void remove_dots(char *path)
{
	char *out = path;
	for (char *in = path; *in;) {
		size_t n = 1 + strcspn(in + 1, "/");
		bool last = in[n] == '\0';
		if (n == 2 && in[1] == '.') {
			if (last)
				*out++ = '/';
		} else if (n == 3 && in[1] == '.' && in[2] == '.') {
			while (out > path && *--out != '/')
				;
			if (last)
				*out++ = '/';
		} else {
			memmove(out, in, n);
			out += n;
		}
		in += n;
	}
	*out = '\0';
}

/* The absolute form, without fragment, in an arena that is freed soon. NULL without memory. */
static char *resolve(struct schema *s, struct arena *arena, const char *base, const char *reference)
{
	size_t n = strcspn(reference, "#"), n_base = strcspn(base, "#");
	char *out = schema_look(s, (n_base + n) / 4) ? arena_alloc(arena, n_base + n + 3) : NULL;
	if (!out) {
		if (!s->refused)
			schema_out_of_memory(s);
		return NULL;
	}
	if (n == 0) {
		memcpy(out, base, n_base);
		return out;
	}
	if (scheme_length(reference) || scheme_length(reference) > n) {
		memcpy(out, reference, n);
		return out;
	}
	size_t kept = strncmp(reference, "//", 2) == 0 ? scheme_length(base) : authority_length(base);
	memcpy(out, base, kept);
	if (reference[0] == '/') {
		memcpy(out + kept, reference, n);
	} else {
		size_t folder = kept; /* up to the last '/' of the base's path */
		for (size_t i = kept; i < n_base && base[i] != '?'; i++)
			folder = base[i] == '/' ? i + 1 : folder;
		memcpy(out + kept, base + kept, folder - kept);
		size_t slash = folder == kept && kept > scheme_length(base) ? 1 : 0;
		memcpy(out + folder, "/", slash);
		memcpy(out + folder + slash, reference, n);
	}
	if (out[kept] == '/' && strncmp(out + kept, "//", 2) != 0)
		remove_dots(out + kept);
	return out;
}

/* ---- resources and anchors ---- */

static bool string_of(const struct json *object, const char *key, const char **text)
{
	size_t n;
	*text = json_string(json_get(object, key), &n);
	return *text && strlen(*text) == n;
}

/* Drafts 3 and 4 wrote it without the $. */
static bool id_of(const struct json *schema, enum schema_draft draft, const char **id)
{
	return string_of(schema, draft <= DRAFT_4 ? "id" : "$id", id);
}

static uint32_t add_resource(struct schema *s, const struct json *root, const char *base, const char *id,
                             enum schema_draft draft)
{
	struct arena passing = {0};
	const char *resolved = resolve(s, &passing, base, id);
	size_t n = resolved ? strlen(resolved) : 0;
	char *uri = resolved ? account_alloc(s->account, &s->names, n + 1) : NULL;
	uint32_t resource = (uint32_t)s->n_resources;
	if (uri && TABLE_GROW(s->account, s->resources, s->n_resources, s->max_resources, 1)) {
		memcpy(uri, resolved, n);
		s->resources[s->n_resources++] = (struct schema_resource){.root = root, .uri = uri, .draft = draft};
		s->grammar->keeps_points |= draft <= DRAFT_4;
		schema_learn(s, (struct schema_fact){.kind = FACT_RESOURCE, .about = root, .value = resource});
		schema_learn(s, (struct schema_fact){.kind = FACT_URI, .text = uri, .n_text = n, .value = resource});
	} else if (!s->refused) {
		schema_out_of_memory(s);
	}
	arena_free(&passing);
	return s->refused ? 0 : resource;
}

static void add_anchor(struct schema *s, const char *name, const struct json *target, uint32_t resource, bool dynamic)
{
	if (!TABLE_GROW(s->account, s->anchors, s->n_anchors, s->max_anchors, 1)) {
		schema_out_of_memory(s);
		return;
	}
	struct schema_fact fact = {.kind = FACT_ANCHOR, .a = resource, .text = name, .n_text = strlen(name)};
	fact.value = (uint32_t)s->n_anchors;
	s->anchors[s->n_anchors++] = (struct schema_anchor){target, resource};
	schema_learn(s, fact);
	fact.kind = FACT_DYNAMIC;
	if (dynamic)
		schema_learn(s, fact);
	s->resources[resource].has_dynamic |= dynamic;
}

/* $schema: which draft, by the published addresses. Others may mean anything. */
static bool read_dialect(struct schema *s, const struct json *value, enum schema_draft *draft)
{
	static const struct {
		const char *name;
		enum schema_draft draft;
	} drafts[] = {{"json-schema.org/draft/2020-12/schema", DRAFT_2020},
	              {"json-schema.org/draft/2019-09/schema", DRAFT_2019},
	              {"json-schema.org/draft-07/schema", DRAFT_7},
	              {"json-schema.org/draft-06/schema", DRAFT_6},
	              {"json-schema.org/draft-04/schema", DRAFT_4},
	              {"json-schema.org/draft-03/schema", DRAFT_3},
	              {"json-schema.org/schema", DRAFT_2020}};
	const char *text = json_string(value, NULL);
	if (!text)
		return false;
	text += strncmp(text, "https://", 8) == 0 ? 8 : strncmp(text, "http://", 7) == 0 ? 7 : 0;
	size_t n = strcspn(text, "#");
	for (size_t i = 0; i < sizeof drafts / sizeof *drafts; i++)
		if (strlen(drafts[i].name) == n && strncmp(text, drafts[i].name, n) == 0) {
			*draft = drafts[i].draft;
			return true;
		}
	schema_refuse(s, value, "an unknown $schema: what its keywords mean cannot be known");
	return false;
}

static const char *const schema_keywords[] = {
    "additionalItems",  "additionalProperties",  "contains",      "else", "if", "items", "not", "propertyNames", "then",
    "unevaluatedItems", "unevaluatedProperties", "contentSchema", NULL};
static const char *const list_keywords[] = {"allOf", "anyOf", "items", "oneOf", "prefixItems", NULL};
static const char *const map_keywords[] = {
    "$defs", "definitions", "dependencies", "dependentSchemas", "patternProperties", "properties", NULL};

static bool is_among(const struct json *member, const char *const *keys)
{
	for (; *keys; keys++)
		if (schema_key_is(member, *keys))
			return true;
	return false;
}

/* $id and anchors of one schema; returns the resource that it belongs to. */
static uint32_t read_names(struct schema *s, const struct json *schema, uint32_t resource)
{
	enum schema_draft draft = s->resources[resource].draft;
	const char *id, *name;
	bool has_id = id_of(schema, draft, &id);
	if (schema != s->document && json_get(schema, "$schema") && has_id)
		(void)read_dialect(s, json_get(schema, "$schema"), &draft);
	if (draft <= DRAFT_7 && json_get(schema, "$ref"))
		return resource; /* its siblings count for nothing */
	if (has_id && *id == '#')
		add_anchor(s, id + 1, schema, resource, false);
	else if (has_id && schema != s->document)
		resource = add_resource(s, schema, s->resources[resource].uri, id, draft);
	if (string_of(schema, "$anchor", &name))
		add_anchor(s, name, schema, resource, false);
	if (string_of(schema, "$dynamicAnchor", &name))
		add_anchor(s, name, schema, resource, true);
	return resource;
}

static void scan(struct schema *s, const struct json *schema, uint32_t resource)
{
	if (json_type(schema) != JSON_OBJECT || s->refused)
		return;
	resource = read_names(s, schema, resource);
	for (const struct json *member = json_first(schema); member; member = json_next(member)) {
		enum json_type type = json_type(member);
		bool maps = type == JSON_OBJECT && is_among(member, map_keywords);
		bool lists = type == JSON_ARRAY && is_among(member, list_keywords);
		for (const struct json *part = maps || lists ? json_first(member) : NULL; part; part = json_next(part))
			scan(s, part, resource);
		if (type == JSON_OBJECT && is_among(member, schema_keywords))
			scan(s, member, resource);
	}
}

static uint32_t add_scope(struct schema *s, struct schema_scope scope)
{
	if (!TABLE_GROW(s->account, s->scopes, s->n_scopes, s->max_scopes, 1)) {
		schema_out_of_memory(s);
		return 0;
	}
	s->scopes[s->n_scopes] = scope;
	return (uint32_t)s->n_scopes++;
}

bool schema_find_resources(struct schema *s)
{
	const char *id = "";
	enum schema_draft draft = DRAFT_2020;
	if (json_type(s->document) == JSON_OBJECT) {
		const struct json *dialect = json_get(s->document, "$schema");
		s->no_dialect = !dialect;
		if (dialect)
			(void)read_dialect(s, dialect, &draft);
		if (!id_of(s->document, draft, &id))
			id = "";
		if (draft <= DRAFT_7 && (json_get(s->document, "$ref") || *id == '#'))
			id = "";
	}
	add_resource(s, s->document, "", id, draft);
	(void)add_scope(s, (struct schema_scope){0});
	if (!s->refused)
		scan(s, s->document, 0);
	return !s->refused;
}

/* ---- nodes ---- */

static uint32_t hash_of_node(const void *owner, uint32_t id)
{
	const struct schema_node *node = &((const struct schema *)owner)->nodes[id];
	uintptr_t address = (uintptr_t)node->value;
	uint32_t hash = table_hash(table_hash(TABLE_HASH_START, (uint32_t)address), (uint32_t)(address >> 32));
	hash = table_hash(table_hash(hash, node->resource), node->scope * 2 + node->is_value);
	return hash ^ hash >> 15;
}

static uint32_t intern_node(struct schema *s, struct schema_node node)
{
	if (s->n_nodes >= UINT32_MAX / 4) {
		schema_too_large(s);
		return NODE_FALSE;
	}
	if (!TABLE_GROW(s->account, s->nodes, s->n_nodes, s->max_nodes, 1) ||
	    !table_index_room(&s->node_index, hash_of_node, s)) {
		schema_out_of_memory(s);
		return NODE_FALSE;
	}
	s->nodes[s->n_nodes] = node;
	uint32_t hash = hash_of_node(s, (uint32_t)s->n_nodes);
	for (size_t at = hash & (s->node_index.n_slots - 1); s->node_index.slots[at];
	     at = (at + 1) & (s->node_index.n_slots - 1)) {
		const struct schema_node *known = &s->nodes[s->node_index.slots[at] - 1];
		if (known->value == node.value && known->resource == node.resource && known->scope == node.scope &&
		    known->is_value == node.is_value)
			return s->node_index.slots[at] - 1;
	}
	table_index_put(&s->node_index, hash, (uint32_t)s->n_nodes);
	if (!node.is_value && s->resources[node.resource].draft <= DRAFT_7)
		s->nodes[s->n_nodes].only_ref = json_get(node.value, "$ref") != NULL;
	return (uint32_t)s->n_nodes++;
}

/* The scope with a resource entered; those without dynamic anchors, and those that are in it, change nothing. */
static uint32_t enter(struct schema *s, uint32_t scope, uint32_t resource)
{
	if (!s->resources[resource].has_dynamic)
		return scope;
	for (uint32_t i = scope; i && schema_look(s, 1); i = s->scopes[i].before)
		if (s->scopes[i].last == resource)
			return scope;
	struct schema_fact fact = {.kind = FACT_SCOPE, .a = scope, .b = resource};
	const struct schema_fact *known = schema_fact(s, fact);
	if (known)
		return known->value;
	fact.value = add_scope(s, (struct schema_scope){scope, resource});
	schema_learn(s, fact);
	return fact.value;
}

/* The resource of a place in another one: its own where it has an $id. */
static uint32_t resource_at(struct schema *s, const struct json *value, uint32_t around)
{
	const struct schema_fact *known = schema_fact(s, (struct schema_fact){.kind = FACT_RESOURCE, .about = value});
	return known ? known->value : around;
}

static uint32_t node_in(struct schema *s, const struct json *value, uint32_t resource, uint32_t scope)
{
	bool yes;
	if (json_bool(value, &yes))
		return yes ? NODE_TRUE : NODE_FALSE;
	if (json_type(value) != JSON_OBJECT) {
		schema_refuse(s, value, "a schema must be an object, true or false");
		return NODE_FALSE;
	}
	if (!json_first(value))
		return NODE_TRUE;
	resource = resource_at(s, value, resource);
	return intern_node(s,
	                   (struct schema_node){.value = value, .resource = resource, .scope = enter(s, scope, resource)});
}

uint32_t schema_node(struct schema *s, uint32_t above, const struct json *value)
{
	return node_in(s, value, s->nodes[above].resource, s->nodes[above].scope);
}

uint32_t schema_value_node(struct schema *s, const struct json *value)
{
	return intern_node(s, (struct schema_node){.value = value, .is_value = true});
}

enum schema_draft schema_draft(const struct schema *s, uint32_t node)
{
	return s->resources[s->nodes[node].resource].draft;
}

bool schema_is_draft7(const struct schema *s, uint32_t node)
{
	return schema_draft(s, node) <= DRAFT_7;
}

/* ---- references ---- */

static int hex_digit(char c)
{
	c = (char)(c >= 'A' && c <= 'F' ? c | 0x20 : c);
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Undoes %NN, in a copy. */
static char *percent_decoded(struct schema *s, struct arena *arena, const char *text)
{
	char *copy = arena_strdup(arena, text, strlen(text)), *out = copy;
	for (const char *in = copy; in && *in; in++) {
		bool escape = *in == '%' && hex_digit(in[1]) >= 0 && hex_digit(in[2]) >= 0;
		*out++ = escape ? (char)(hex_digit(in[1]) * 16 + hex_digit(in[2])) : *in;
		in += escape ? 2 : 0;
	}
	if (copy)
		*out = '\0';
	else
		schema_out_of_memory(s);
	return copy;
}

/* The part of a pointer up to the next '/', with ~0 and ~1 undone in place; returns where the next one starts. */
static char *pointer_part(char *part)
{
	char *out = part, *in = part;
	for (; *in && *in != '/'; in++) {
		bool escape = *in == '~' && (in[1] == '0' || in[1] == '1');
		*out++ = escape ? (in[1] == '0' ? '~' : '/') : *in;
		in += escape;
	}
	char *next = *in ? in + 1 : NULL;
	*out = '\0';
	return next;
}

static const struct json *item_number(struct schema *s, const struct json *array, const char *text)
{
	char *end;
	unsigned long index = strtoul(text, &end, 10);
	if (*text < '0' || *text > '9' || *end)
		return NULL;
	const struct json *item = json_first(array);
	for (; item && index > 0 && schema_look(s, 1); index--)
		item = json_next(item);
	return item;
}

/* Follows a pointer from a resource's root; schemas with an $id on the way change the resource. */
static const struct json *follow(struct schema *s, char *pointer, uint32_t *resource)
{
	const struct json *at = s->resources[*resource].root;
	for (char *part = pointer + 1; part && at;) {
		char *next = pointer_part(part);
		at = json_type(at) == JSON_ARRAY ? item_number(s, at, part) : schema_member(s, at, part, strlen(part));
		*resource = at ? resource_at(s, at, *resource) : *resource;
		part = next;
	}
	return at;
}

static const struct schema_anchor *find_anchor(struct schema *s, uint32_t resource, const char *name, bool dynamic)
{
	struct schema_fact key = {.kind = dynamic ? FACT_DYNAMIC : FACT_ANCHOR, .a = resource};
	key.text = name;
	key.n_text = strlen(name);
	const struct schema_fact *known = schema_fact(s, key);
	return known ? &s->anchors[known->value] : NULL;
}

/* The outermost resource of the scope that has the dynamic anchor. */
static const struct schema_anchor *outermost(struct schema *s, uint32_t scope, const char *name)
{
	const struct schema_anchor *found = NULL;
	for (uint32_t i = scope; i && !s->refused; i = s->scopes[i].before) {
		const struct schema_anchor *here = find_anchor(s, s->scopes[i].last, name, true);
		found = here ? here : found;
	}
	return found;
}

/* Where a fragment leads from a resource in a scope: a place, or NULL, and the resource that it is in. */
static const struct json *follow_fragment(struct schema *s, char *fragment, bool dynamic, uint32_t scope,
                                          uint32_t *resource)
{
	if (*fragment == '/')
		return follow(s, fragment, resource);
	if (!*fragment)
		return s->resources[*resource].root;
	const struct schema_anchor *anchor = find_anchor(s, *resource, fragment, false);
	if (dynamic && find_anchor(s, *resource, fragment, true))
		anchor = outermost(s, scope, fragment);
	*resource = anchor ? anchor->resource : *resource;
	return anchor ? anchor->target : NULL;
}

static uint32_t find_node(struct schema *s, struct arena *arena, const struct schema_node *above,
                          const struct json *ref, bool dynamic)
{
	size_t n;
	const char *text = json_string(ref, &n);
	if (!text || strlen(text) != n) {
		schema_refuse(s, ref, "a reference must be a string");
		return NODE_FALSE;
	}
	char *uri = resolve(s, arena, s->resources[above->resource].uri, text);
	if (!uri)
		return NODE_FALSE;
	const struct schema_fact *known =
	    schema_fact(s, (struct schema_fact){.kind = FACT_URI, .text = uri, .n_text = strlen(uri)});
	if (!known) {
		schema_refuse(s, ref, "it refers to another document (%.200s), and nothing is fetched", uri);
		return NODE_FALSE;
	}
	uint32_t resource = known->value;
	char *fragment = percent_decoded(s, arena, text[strcspn(text, "#")] ? text + strcspn(text, "#") + 1 : "");
	if (!fragment)
		return NODE_FALSE;
	uint32_t scope = enter(s, above->scope, resource);
	const struct json *target = follow_fragment(s, fragment, dynamic, scope, &resource);
	if (target)
		return node_in(s, target, resource, scope);
	schema_refuse(s, ref, "it refers to a place that is not in the document");
	return NODE_FALSE;
}

uint32_t schema_ref(struct schema *s, uint32_t above, const struct json *ref, bool dynamic)
{
	const struct schema_node node = s->nodes[above];
	struct schema_fact fact = {.kind = FACT_REF, .about = ref, .a = node.resource, .b = node.scope};
	const struct schema_fact *known = schema_fact(s, fact);
	if (known)
		return known->value;
	struct arena passing = {0};
	fact.value = find_node(s, &passing, &node, ref, dynamic);
	arena_free(&passing);
	schema_learn(s, fact);
	return fact.value;
}
