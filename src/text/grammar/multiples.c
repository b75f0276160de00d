/* Numbers that are multiples (language.h), and what several of them at once come to: of 4 and 6 those of 12, of 6 but not of 3
 * none. Without that each state of theirs would be a combination of residues. */
#include "text/grammar/language_private.h"

#include <string.h>

enum { MAX_SCALE = 60 };
#define MAX_STEP (UINT64_C(1) << 40)

/* How far a number was read: nothing, a sign, digits before the point, or this and the digits after it. */
enum { READ_NOTHING, READ_SIGN, READ_DIGITS, READ_POINT };

static uint64_t times_power(uint64_t value, uint32_t power, uint64_t step)
{
	for (uint32_t i = 0; i < power; i++)
		value = value * 10 % step;
	return value;
}

static uint32_t multiples_at(struct languages *l, uint32_t which, uint32_t read, uint64_t residue)
{
	const struct multiples *m = &l->multiples[which];
	uint32_t decimals = read > READ_POINT ? read - READ_POINT : 0;
	bool whole = read == READ_DIGITS || decimals > 0;
	uint32_t missing = decimals < m->scale ? m->scale - decimals : 0;
	return language_intern(l, (struct term){.kind = KIND_MULTIPLES,
	                                        .has_empty = whole && times_power(residue, missing, m->step) == 0,
	                                        .a = (uint32_t)residue,
	                                        .b = (uint32_t)(residue >> 32),
	                                        .min = read,
	                                        .max = which});
}

uint32_t language_multiples(struct languages *l, uint64_t step, uint32_t scale)
{
	for (; scale > 0 && step % 10 == 0; scale--)
		step /= 10;
	for (size_t i = 0; i < l->n_multiples; i++)
		if (l->multiples[i].step == step && l->multiples[i].scale == scale)
			return multiples_at(l, (uint32_t)i, READ_NOTHING, 0);
	if (!TABLE_GROW(l->account, l->multiples, l->n_multiples, l->max_multiples, 1))
		return language_no_room(l);
	l->multiples[l->n_multiples] = (struct multiples){step, scale};
	return multiples_at(l, (uint32_t)l->n_multiples++, READ_NOTHING, 0);
}

uint32_t language_multiples_after(struct languages *l, const struct term *t, uint32_t code)
{
	const struct multiples *m = &l->multiples[t->max];
	uint64_t residue = (uint64_t)t->b << 32 | t->a;
	if (code == '-')
		return t->min == READ_NOTHING ? multiples_at(l, t->max, READ_SIGN, 0) : LANGUAGE_NONE;
	if (code == '.')
		return t->min == READ_DIGITS ? multiples_at(l, t->max, READ_POINT, residue) : LANGUAGE_NONE;
	uint32_t digit = code - '0';
	if (t->min < READ_POINT)
		return multiples_at(l, t->max, READ_DIGITS, (residue * 10 + digit) % m->step);
	if (t->min - READ_POINT < m->scale)
		return multiples_at(l, t->max, t->min + 1, (residue * 10 + digit) % m->step);
	/* Beyond the scale only zeros change nothing; the first of them still counts as a digit. */
	return digit == 0 ? multiples_at(l, t->max, m->scale == 0 ? READ_POINT + 1 : t->min, residue) : LANGUAGE_NONE;
}

/* ---- several at once ---- */

/* A number's step where nothing of it was read yet; `term` or, with `negated`, what it denies. */
static const struct multiples *whole_multiples(const struct languages *l, uint32_t term, bool negated)
{
	const struct term *t = &l->terms[term];
	if (negated != (t->kind == KIND_NOT))
		return NULL;
	t = negated ? &l->terms[t->a] : t;
	return t->kind == KIND_MULTIPLES && t->min == READ_NOTHING ? &l->multiples[t->max] : NULL;
}

/* Both steps as integers of one scale, which is returned; false where they are too large. */
static bool same_scale(const struct multiples *a, const struct multiples *b, uint64_t steps[2], uint32_t *scale)
{
	*scale = a->scale > b->scale ? a->scale : b->scale;
	steps[0] = a->step;
	steps[1] = b->step;
	for (uint32_t i = a->scale; i < *scale; i++)
		if (__builtin_mul_overflow(steps[0], 10, &steps[0]))
			return false;
	for (uint32_t i = b->scale; i < *scale; i++)
		if (__builtin_mul_overflow(steps[1], 10, &steps[1]))
			return false;
	return true;
}

static bool divides(const struct multiples *divisor, const struct multiples *multiple)
{
	uint64_t steps[2];
	uint32_t scale;
	return same_scale(divisor, multiple, steps, &scale) && steps[1] % steps[0] == 0;
}

/* Makes `a` the least common multiple; false where that is too large, and nothing has changed. */
static bool join(struct multiples *a, const struct multiples *b)
{
	uint64_t steps[2], least;
	uint32_t scale;
	if (!same_scale(a, b, steps, &scale) || scale > MAX_SCALE)
		return false;
	uint64_t divisor = steps[0];
	for (uint64_t rest = steps[1]; rest != 0;) {
		uint64_t next = divisor % rest;
		divisor = rest;
		rest = next;
	}
	if (__builtin_mul_overflow(steps[0] / divisor, steps[1], &least) || least > MAX_STEP)
		return false;
	*a = (struct multiples){least, scale};
	return true;
}

/* Another part than `but` says that no multiple of such may be. */
static bool is_denied(const struct languages *l, const struct multiples *what, uint32_t but)
{
	for (size_t i = 0; i < l->n_parts; i++) {
		const struct multiples *denied = whole_multiples(l, l->parts[i], true);
		if (denied && l->parts[i] != but && divides(denied, what))
			return true;
	}
	return false;
}

bool language_join_multiples(struct languages *l)
{
	struct multiples all = {1, 0};
	size_t n_joined = 0, kept = 0;
	for (size_t i = 0; i < l->n_parts; i++) {
		const struct multiples *one = whole_multiples(l, l->parts[i], false);
		if (one && (n_joined == 0 || join(&all, one))) {
			all = n_joined++ == 0 ? *one : all;
			continue;
		}
		l->parts[kept++] = l->parts[i];
	}
	l->n_parts = kept;
	kept = 0;
	for (size_t i = 0; i < l->n_parts; i++) {
		const struct multiples *denied = whole_multiples(l, l->parts[i], true);
		if (!denied || !is_denied(l, denied, l->parts[i])) /* who denies it may go himself, but not who denies him */
			l->parts[kept++] = l->parts[i];
	}
	l->n_parts = kept;
	if (n_joined == 0)
		return true;
	if (is_denied(l, &all, LANGUAGE_NONE)) {
		l->parts[l->n_parts++] = LANGUAGE_NONE;
		return true;
	}
	l->parts[l->n_parts++] = language_multiples(l, all.step, all.scale);
	return !l->failed;
}
