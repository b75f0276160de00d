/* Terms and their constructors (language.h); what they denote is derivative.c's. */
#include "text/grammar/language_private.h"

#include <stdlib.h>
#include <string.h>

#include "text/unicode.h"

enum { MAX_TERMS = 4 << 20, PARTS_A_STEP = 8 };

uint32_t language_fail(struct languages *l, const char *why)
{
	if (!l->failed)
		l->failed = why;
	return LANGUAGE_NONE;
}

const char *languages_failed(const struct languages *l)
{
	return l->failed;
}

bool languages_lack_memory(const struct languages *l)
{
	return l->failed && strcmp(l->failed, LANGUAGE_NO_MEMORY) == 0;
}

uint32_t language_no_room(struct languages *l)
{
	return language_fail(l, l->account && l->account->full ? LANGUAGE_TOO_LARGE : LANGUAGE_NO_MEMORY);
}

void languages_note_no_memory(struct languages *l)
{
	language_no_room(l);
}

void languages_allow(struct languages *l, uint64_t n_steps)
{
	l->steps_left = n_steps;
}

void languages_refill(struct languages *l, uint64_t n_more, uint64_t most)
{
	l->steps_left = l->steps_left + n_more < most ? l->steps_left + n_more : most;
}

bool language_take_steps(struct languages *l, uint64_t n)
{
	if (l->failed)
		return false;
	if (n > l->steps_left) {
		language_fail(l, "steps");
		return false;
	}
	l->steps_left -= n;
	return true;
}

/* ---- hash-consing ---- */

static bool has_list(uint8_t kind)
{
	return kind == KIND_CLASS || kind == KIND_EITHER || kind == KIND_BOTH;
}

static uint32_t hash_of(const void *owner, uint32_t id)
{
	const struct languages *l = owner;
	const struct term *t = &l->terms[id];
	uint32_t hash = table_hash(TABLE_HASH_START, t->kind);
	if (has_list(t->kind)) {
		for (uint32_t i = 0; i < t->b; i++)
			hash = table_hash(hash, l->words[t->a + i]);
	} else {
		hash = table_hash(table_hash(table_hash(table_hash(hash, t->a), t->b), t->min), t->max);
	}
	return hash ^ hash >> 15;
}

static bool same_term(const struct languages *l, const struct term *a, const struct term *b)
{
	if (a->kind != b->kind || a->b != b->b)
		return false;
	if (has_list(a->kind))
		return memcmp(&l->words[a->a], &l->words[b->a], a->b * sizeof *l->words) == 0;
	return a->a == b->a && a->min == b->min && a->max == b->max;
}

uint32_t language_intern(struct languages *l, struct term made)
{
	if (l->failed || l->n_terms >= MAX_TERMS)
		return language_fail(l, LANGUAGE_TOO_LARGE);
	if (!TABLE_GROW(l->account, l->terms, l->n_terms, l->max_terms, 1) || !table_index_room(&l->index, hash_of, l))
		return language_no_room(l);
	made.first_arc = UINT32_MAX;
	l->terms[l->n_terms] = made; /* where hash_of finds it */
	uint32_t hash = hash_of(l, (uint32_t)l->n_terms);
	for (size_t at = hash & (l->index.n_slots - 1); l->index.slots[at]; at = (at + 1) & (l->index.n_slots - 1)) {
		uint32_t id = l->index.slots[at] - 1;
		if (!same_term(l, &l->terms[id], &made))
			continue;
		if (has_list(made.kind))
			l->n_words = made.a;
		return id;
	}
	table_index_put(&l->index, hash, (uint32_t)l->n_terms);
	return (uint32_t)l->n_terms++;
}

static bool push_word(struct languages *l, uint32_t word)
{
	if (!TABLE_GROW(l->account, l->words, l->n_words, l->max_words, 1)) {
		language_no_room(l);
		return false;
	}
	l->words[l->n_words++] = word;
	return true;
}

struct languages *languages_create(struct table_account *account)
{
	struct languages *l = calloc(1, sizeof *l);
	if (!l)
		return NULL;
	l->account = l->index.account = account;
	l->steps_left = UINT64_MAX;
	const struct char_range any[] = {{0, SURROGATES_FIRST - 1}, {SURROGATES_LAST + 1, LANGUAGE_MAX_CODE}};
	bool ok =
	    language_intern(l, (struct term){.kind = KIND_CLASS, .plain = true}) == LANGUAGE_NONE &&
	    language_intern(l, (struct term){.kind = KIND_EMPTY, .has_empty = true, .plain = true}) == LANGUAGE_EMPTY &&
	    language_class(l, any, 2) == LANGUAGE_ANY &&
	    language_repeat(l, LANGUAGE_ANY, 0, LANGUAGE_NO_MAX) == LANGUAGE_ALL;
	if (ok)
		return l;
	languages_destroy(l);
	return NULL;
}

void languages_destroy(struct languages *l)
{
	if (!l)
		return;
	free(l->terms);
	free(l->words);
	free(l->parts);
	free(l->arcs);
	free(l->waiting);
	free(l->multiples);
	free(l->categories);
	free(l->queue);
	free(l->parents);
	free(l->seen);
	free(l->index.slots);
	free(l);
}

/* ---- constructors ---- */

static int by_first(const void *a, const void *b)
{
	const struct char_range *x = a, *y = b;
	return (x->first > y->first) - (x->first < y->first);
}

static bool push_range(struct languages *l, size_t start, uint32_t first, uint32_t last)
{
	if (l->n_words > start && first <= l->words[l->n_words - 1] + 1) {
		if (last > l->words[l->n_words - 1])
			l->words[l->n_words - 1] = last;
		return true;
	}
	return push_word(l, first) && push_word(l, last);
}

uint32_t language_class(struct languages *l, const struct char_range *ranges, size_t n_ranges)
{
	struct char_range *sorted = malloc((n_ranges + 1) * sizeof *sorted);
	if (!sorted)
		return language_no_room(l);
	if (n_ranges)
		memcpy(sorted, ranges, n_ranges * sizeof *sorted);
	qsort(sorted, n_ranges, sizeof *sorted, by_first);
	size_t start = l->n_words;
	bool ok = true;
	for (size_t i = 0; i < n_ranges && ok; i++) {
		uint32_t first = sorted[i].first, last = sorted[i].last;
		if (first < SURROGATES_FIRST && first <= last)
			ok = push_range(l, start, first, last < SURROGATES_FIRST ? last : SURROGATES_FIRST - 1);
		if (last > SURROGATES_LAST && ok)
			ok = push_range(l, start, first > SURROGATES_LAST ? first : SURROGATES_LAST + 1, last);
	}
	free(sorted);
	if (!ok)
		return LANGUAGE_NONE;
	return language_intern(
	    l, (struct term){.kind = KIND_CLASS, .plain = true, .a = (uint32_t)start, .b = (uint32_t)(l->n_words - start)});
}

uint32_t language_char(struct languages *l, uint32_t first, uint32_t last)
{
	return language_class(l, &(struct char_range){first, last}, 1);
}

uint32_t language_sequence(struct languages *l, uint32_t first, uint32_t second)
{
	if (first == LANGUAGE_NONE || second == LANGUAGE_NONE)
		return LANGUAGE_NONE;
	if (first == LANGUAGE_EMPTY || (first == LANGUAGE_ALL && second == LANGUAGE_ALL))
		return second;
	if (second == LANGUAGE_EMPTY)
		return first;
	const struct term *a = &l->terms[first], *b = &l->terms[second];
	return language_intern(l, (struct term){.kind = KIND_SEQUENCE,
	                                        .has_empty = a->has_empty && b->has_empty,
	                                        .plain = a->plain && b->plain,
	                                        .a = first,
	                                        .b = second});
}

/* The term behind a text. */
static uint32_t behind_text(struct languages *l, const char *text, size_t n_bytes, uint32_t term)
{
	for (size_t end = n_bytes; end > 0;) {
		size_t start = char_before(text, end), length;
		uint32_t code = char_decode(text + start, &length);
		term = language_sequence(l, language_char(l, code, code), term);
		end = start;
	}
	return term;
}

uint32_t language_text(struct languages *l, const char *text, size_t n_bytes)
{
	return behind_text(l, text, n_bytes, LANGUAGE_EMPTY);
}

uint32_t language_repeat(struct languages *l, uint32_t term, uint32_t min, uint32_t max)
{
	if (min > max || (term == LANGUAGE_NONE && min > 0))
		return LANGUAGE_NONE;
	if (max == 0 || term == LANGUAGE_NONE || term == LANGUAGE_EMPTY)
		return LANGUAGE_EMPTY;
	const struct term *part = &l->terms[term];
	if (part->has_empty)
		min = 0;
	if (min == 1 && max == 1)
		return term;
	if (part->kind == KIND_REPEAT && part->min == 0 && part->max == LANGUAGE_NO_MAX)
		return term;
	return language_intern(
	    l, (struct term){
	           .kind = KIND_REPEAT, .has_empty = min == 0, .plain = part->plain, .a = term, .min = min, .max = max});
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return (x > y) - (x < y);
}

/* Appends a part, or its own parts where it is of the same kind. */
static bool push_parts(struct languages *l, enum kind kind, uint32_t id)
{
	const struct term *term = &l->terms[id];
	bool opens = term->kind == kind;
	if (!TABLE_GROW(l->account, l->parts, l->n_parts, l->max_parts, opens ? term->b : 1)) {
		language_no_room(l);
		return false;
	}
	if (!opens) {
		l->parts[l->n_parts++] = id;
		return true;
	}
	memcpy(l->parts + l->n_parts, l->words + term->a, term->b * sizeof *l->parts);
	l->n_parts += term->b;
	return true;
}

/* The classes among the parts become one class. */
static bool join_classes(struct languages *l)
{
	struct char_range *ranges = NULL;
	size_t n_ranges = 0, max_ranges = 0, n_classes = 0, kept = 0;
	for (size_t i = 0; i < l->n_parts; i++)
		n_classes += l->terms[l->parts[i]].kind == KIND_CLASS;
	if (n_classes < 2)
		return true;
	for (size_t i = 0; i < l->n_parts; i++) {
		const struct term *term = &l->terms[l->parts[i]];
		if (term->kind != KIND_CLASS) {
			l->parts[kept++] = l->parts[i];
			continue;
		}
		if (!TABLE_RESERVE(ranges, n_ranges, max_ranges, term->b / 2)) {
			free(ranges);
			language_no_room(l);
			return false;
		}
		for (uint32_t k = 0; k < term->b; k += 2)
			ranges[n_ranges++] = (struct char_range){l->words[term->a + k], l->words[term->a + k + 1]};
	}
	l->n_parts = kept;
	l->parts[l->n_parts++] = language_class(l, ranges, n_ranges);
	free(ranges);
	return !l->failed && language_take_steps(l, n_ranges / PARTS_A_STEP);
}

/* Sorts the parts, drops doubles and `neutral`; true when `absorbing` is among them. */
static bool tidy_parts(struct languages *l, uint32_t neutral, uint32_t absorbing)
{
	if (l->n_parts > 1)
		qsort(l->parts, l->n_parts, sizeof *l->parts, by_value);
	size_t kept = 0;
	bool absorbed = false, others_empty = false;
	for (size_t i = 0; i < l->n_parts; i++) {
		uint32_t id = l->parts[i];
		absorbed |= id == absorbing;
		others_empty |= id != LANGUAGE_EMPTY && l->terms[id].has_empty;
		if (id != neutral && (kept == 0 || l->parts[kept - 1] != id))
			l->parts[kept++] = id;
	}
	l->n_parts = kept;
	/* The empty string adds nothing to others that have it; its id is the smallest left. */
	if (neutral == LANGUAGE_NONE && others_empty && kept > 0 && l->parts[0] == LANGUAGE_EMPTY)
		memmove(l->parts, l->parts + 1, --l->n_parts * sizeof *l->parts);
	return absorbed;
}

static uint32_t finish_parts(struct languages *l, enum kind kind)
{
	uint32_t neutral = kind == KIND_EITHER ? LANGUAGE_NONE : LANGUAGE_ALL;
	uint32_t absorbing = kind == KIND_EITHER ? LANGUAGE_ALL : LANGUAGE_NONE;
	if (!language_take_steps(l, l->n_parts / PARTS_A_STEP))
		return LANGUAGE_NONE;
	if (kind == KIND_EITHER && !join_classes(l))
		return LANGUAGE_NONE;
	if (kind == KIND_BOTH && !language_join_multiples(l))
		return LANGUAGE_NONE;
	bool absorbed = tidy_parts(l, neutral, absorbing);
	size_t n = l->n_parts, start = l->n_words;
	if (absorbed || n < 2)
		return absorbed ? absorbing : n == 1 ? l->parts[0] : neutral;
	if (!TABLE_GROW(l->account, l->words, l->n_words, l->max_words, n))
		return language_no_room(l);
	memcpy(l->words + start, l->parts, n * sizeof *l->words);
	l->n_words += n;
	bool any_empty = false, all_empty = true, plain = kind == KIND_EITHER;
	for (size_t i = 0; i < n; i++) {
		const struct term *part = &l->terms[l->parts[i]];
		any_empty |= part->has_empty;
		all_empty &= part->has_empty;
		plain &= part->plain;
	}
	return language_intern(l, (struct term){.kind = (uint8_t)kind,
	                                        .has_empty = kind == KIND_EITHER ? any_empty : all_empty,
	                                        .plain = plain,
	                                        .a = (uint32_t)start,
	                                        .b = (uint32_t)n});
}

uint32_t language_either_of(struct languages *l, const uint32_t *terms, size_t n_terms)
{
	l->n_parts = 0;
	for (size_t i = 0; i < n_terms; i++)
		if (!push_parts(l, KIND_EITHER, terms[i]))
			return LANGUAGE_NONE;
	return finish_parts(l, KIND_EITHER);
}

uint32_t language_either(struct languages *l, uint32_t first, uint32_t second)
{
	return language_either_of(l, (uint32_t[]){first, second}, 2);
}

uint32_t language_both(struct languages *l, uint32_t first, uint32_t second)
{
	if (first == LANGUAGE_NONE || second == LANGUAGE_NONE)
		return LANGUAGE_NONE;
	if (first == LANGUAGE_EMPTY || second == LANGUAGE_EMPTY)
		return l->terms[first].has_empty && l->terms[second].has_empty ? LANGUAGE_EMPTY : LANGUAGE_NONE;
	l->n_parts = 0;
	if (!push_parts(l, KIND_BOTH, first) || !push_parts(l, KIND_BOTH, second))
		return LANGUAGE_NONE;
	return finish_parts(l, KIND_BOTH);
}

uint32_t language_not(struct languages *l, uint32_t term)
{
	if (term == LANGUAGE_NONE)
		return LANGUAGE_ALL;
	if (term == LANGUAGE_ALL)
		return LANGUAGE_NONE;
	if (l->terms[term].kind == KIND_NOT)
		return l->terms[term].a;
	return language_intern(l, (struct term){.kind = KIND_NOT, .has_empty = !l->terms[term].has_empty, .a = term});
}

static int by_text(const void *a, const void *b)
{
	const struct language_string *x = a, *y = b;
	size_t n = x->n_bytes < y->n_bytes ? x->n_bytes : y->n_bytes;
	int order = n ? memcmp(x->text, y->text, n) : 0;
	return order ? order : (x->n_bytes > y->n_bytes) - (x->n_bytes < y->n_bytes);
}

/* Where strings part that agree in their first `depth` bytes: what was found to follow those. */
struct branch {
	size_t depth, first_part; /* in `parts` */
};

/* A tree of sorted strings on its way: the branches from its root to the string that came last. */
struct tree {
	struct languages *l;
	struct branch *branches;
	size_t n_branches, max_branches;
	uint32_t *parts;
	size_t n_parts, max_parts;
};

/* Bytes of the characters with which both begin. */
static size_t shared_bytes(const struct language_string *a, const struct language_string *b)
{
	size_t n = a->n_bytes < b->n_bytes ? a->n_bytes : b->n_bytes, shared = 0;
	while (shared < n && a->text[shared] == b->text[shared])
		shared++;
	while (shared > 0 && shared < b->n_bytes && ((unsigned char)b->text[shared] & 0xC0) == 0x80)
		shared--;
	return shared;
}

static bool add_part(struct tree *t, size_t depth, uint32_t part)
{
	bool opens = t->n_branches == 0 || t->branches[t->n_branches - 1].depth < depth;
	if (!TABLE_RESERVE(t->branches, t->n_branches, t->max_branches, 1) ||
	    !TABLE_RESERVE(t->parts, t->n_parts, t->max_parts, 1)) {
		language_no_room(t->l);
		return false;
	}
	if (opens)
		t->branches[t->n_branches++] = (struct branch){depth, t->n_parts};
	t->parts[t->n_parts++] = part;
	return !t->l->failed;
}

/* The last branch is whole. */
static uint32_t close_branch(struct tree *t)
{
	struct branch last = t->branches[--t->n_branches];
	uint32_t either = language_either_of(t->l, t->parts + last.first_part, t->n_parts - last.first_part);
	t->n_parts = last.first_part;
	return either;
}

/* A string, whose first `shared` bytes the next one has, too: branches beyond that will get no more. */
static bool add_string(struct tree *t, const struct language_string *string, size_t shared)
{
	uint32_t term = LANGUAGE_EMPTY;
	size_t depth = string->n_bytes;
	while (t->n_branches > 0 && t->branches[t->n_branches - 1].depth > shared) {
		size_t at = t->branches[t->n_branches - 1].depth;
		if (!add_part(t, at, behind_text(t->l, string->text + at, depth - at, term)))
			return false;
		term = close_branch(t);
		depth = at;
	}
	return add_part(t, shared, behind_text(t->l, string->text + shared, depth - shared, term));
}

uint32_t language_one_of(struct languages *l, struct language_string *strings, size_t n_strings)
{
	struct tree tree = {.l = l};
	size_t kept = 0;
	if (n_strings > 0)
		qsort(strings, n_strings, sizeof *strings, by_text);
	for (size_t i = 0; i < n_strings; i++)
		if (kept == 0 || by_text(&strings[kept - 1], &strings[i]) != 0)
			strings[kept++] = strings[i];
	for (size_t i = 0; i < kept; i++)
		if (!add_string(&tree, &strings[i], i + 1 < kept ? shared_bytes(&strings[i], &strings[i + 1]) : 0))
			break;
	uint32_t term = kept > 0 && !l->failed ? close_branch(&tree) : LANGUAGE_NONE;
	free(tree.branches);
	free(tree.parts);
	return term;
}

/* A term without one of the alternatives that it was made of, but another. */
static uint32_t exchange(struct languages *l, uint32_t term, uint32_t old, uint32_t made)
{
	l->n_parts = 0;
	if (!push_parts(l, KIND_EITHER, term))
		return LANGUAGE_NONE;
	size_t kept = 0;
	for (size_t i = 0; i < l->n_parts; i++)
		if (l->parts[i] != old)
			l->parts[kept++] = l->parts[i];
	l->n_parts = kept;
	return push_parts(l, KIND_EITHER, made) ? finish_parts(l, KIND_EITHER) : LANGUAGE_NONE;
}

uint32_t language_with_text(struct languages *l, uint32_t set, const char *text, size_t n_bytes, uint32_t tail)
{
	struct step {
		uint32_t set, character;
	} *way = malloc((n_bytes + 1) * sizeof *way);
	size_t n = 0, at = 0, length;
	if (!way)
		return language_no_room(l);
	for (; at < n_bytes && set != LANGUAGE_NONE; at += length) {
		uint32_t code = char_decode(text + at, &length);
		way[n++] = (struct step){set, language_char(l, code, code)};
		set = language_after(l, set, code);
	}
	uint32_t made = language_either(l, set, language_sequence(l, language_text(l, text + at, n_bytes - at), tail));
	while (n-- > 0) {
		uint32_t old = language_sequence(l, way[n].character, set);
		made = exchange(l, way[n].set, old, language_sequence(l, way[n].character, made));
		set = way[n].set;
	}
	free(way);
	return l->failed ? LANGUAGE_NONE : made;
}
