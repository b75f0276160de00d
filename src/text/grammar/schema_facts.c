/* What was found out once, in one table (schema.h). */
#include <string.h>

#include "text/grammar/schema.h"

enum { FREE_TRIES = 64 };

static uint32_t hash_of(const void *owner, uint32_t id)
{
	const struct schema_fact *fact = &((const struct schema *)owner)->facts[id];
	uintptr_t about = (uintptr_t)fact->about;
	uint32_t hash = table_hash(table_hash(TABLE_HASH_START, fact->kind), fact->a);
	hash = table_hash(table_hash(table_hash(hash, fact->b), (uint32_t)about), (uint32_t)(about >> 32));
	hash = table_hash_bytes(hash, fact->text, fact->n_text);
	return hash ^ hash >> 15;
}

static bool same_key(const struct schema_fact *x, const struct schema_fact *y)
{
	return x->kind == y->kind && x->a == y->a && x->b == y->b && x->about == y->about && x->n_text == y->n_text &&
	       (x->n_text == 0 || memcmp(x->text, y->text, x->n_text) == 0);
}

static bool make_room(struct schema *s)
{
	if (TABLE_GROW(s->account, s->facts, s->n_facts, s->max_facts, 1) && table_index_room(&s->fact_index, hash_of, s))
		return true;
	schema_out_of_memory(s);
	return false;
}

/* The slot of the fact with that key, or the empty one where it would be; NULL without room, or steps. */
static uint32_t *find_slot(struct schema *s, const struct schema_fact *key)
{
	if (!schema_look(s, 4 + key->n_text / 4) || !make_room(s))
		return NULL;
	s->facts[s->n_facts] = *key; /* where hash_of finds it */
	size_t at = hash_of(s, (uint32_t)s->n_facts) & (s->fact_index.n_slots - 1), n_tried = 0;
	for (; s->fact_index.slots[at]; at = (at + 1) & (s->fact_index.n_slots - 1), n_tried++)
		if (same_key(&s->facts[s->fact_index.slots[at] - 1], key))
			break;
	/* Only what was made to collide: where values lie differs from run to run, and what is refused must not. */
	return n_tried <= FREE_TRIES || schema_look(s, n_tried) ? &s->fact_index.slots[at] : NULL;
}

const struct schema_fact *schema_fact(struct schema *s, struct schema_fact key)
{
	const uint32_t *slot = find_slot(s, &key);
	return slot && *slot ? &s->facts[*slot - 1] : NULL;
}

void schema_learn(struct schema *s, struct schema_fact fact)
{
	uint32_t *slot = find_slot(s, &fact);
	if (!slot || *slot)
		return;
	*slot = (uint32_t)++s->n_facts;
	s->fact_index.n_used++;
}

static struct schema_fact fact_of_member(const struct json *object, const struct json *member)
{
	struct schema_fact fact = {.kind = FACT_MEMBER, .about = object, .found = member};
	fact.text = json_key(member, &fact.n_text);
	return fact;
}

const struct json *schema_member(struct schema *s, const struct json *object, const char *name, size_t n_name)
{
	enum { FEW = 8 }; /* of which each is looked at */
	const struct json *member = object && json_type(object) == JSON_OBJECT ? json_first(object) : NULL;
	for (int i = 0; i < FEW && member; i++, member = json_next(member)) {
		size_t n;
		const char *key = json_key(member, &n);
		if (n == n_name && memcmp(key, name, n) == 0)
			return member;
	}
	if (!schema_look(s, FEW) || !member)
		return NULL;
	struct schema_fact members = {.kind = FACT_MEMBERS, .about = object};
	if (!schema_fact(s, members)) {
		schema_learn(s, members);
		for (member = json_first(object); member && !s->refused; member = json_next(member))
			schema_learn(s, fact_of_member(object, member));
	}
	const struct schema_fact *known =
	    schema_fact(s, (struct schema_fact){.kind = FACT_MEMBER, .about = object, .text = name, .n_text = n_name});
	return known ? known->found : NULL;
}
