/* Changes JSON by its values, for targets whose inputs are documents: a byte changed at random ends nearly every one of
 * them in the parser, and what is behind it is what shall be tried.
 *
 * Values are found wherever they are in an input, so what is not whole JSON (a first letter, a second part) is in nobody's
 * way. Half of the changes are libFuzzer's own.
 */
#include <string.h>

#include "fuzz.h"

enum { MAX_VALUES = 512, MAX_DEPTH = 64 };

struct value {
	size_t begin, end; /* end is 0 while it is open */
	bool is_key;
};

struct values {
	struct value at[MAX_VALUES];
	size_t n;
};

static size_t end_of_string(const uint8_t *text, size_t n_bytes, size_t at)
{
	for (at++; at < n_bytes && text[at] != '"'; at++)
		at += text[at] == '\\';
	return at < n_bytes ? at + 1 : n_bytes;
}

static size_t end_of_word(const uint8_t *text, size_t n_bytes, size_t at)
{
	while (at < n_bytes && text[at] > ' ' && !strchr(",:[]{}\"", text[at]))
		at++;
	return at;
}

/* Values that are closed, in the order of their begins, as many as there is room for. */
static void find_values(const uint8_t *text, size_t n_bytes, struct values *values)
{
	size_t open[MAX_DEPTH], depth = 0, at = 0, n = 0;
	while (at < n_bytes && n < MAX_VALUES) {
		uint8_t c = text[at];
		struct value *value = &values->at[n];
		*value = (struct value){.begin = at};
		if (c <= ' ' || c == ',' || c == ':') {
			at++;
			continue;
		}
		if (c == '}' || c == ']') {
			at++;
			if (depth > 0)
				values->at[open[--depth]].end = at;
			continue;
		}
		if (c == '{' || c == '[') {
			at++;
			if (depth < MAX_DEPTH)
				open[depth++] = n++;
			continue;
		}
		at = c == '"' ? end_of_string(text, n_bytes, at) : end_of_word(text, n_bytes, at);
		value->end = at;
		value->is_key = c == '"' && at < n_bytes && text[at] == ':';
		n++;
	}
	values->n = 0;
	for (size_t i = 0; i < n; i++)
		if (values->at[i].end > 0)
			values->at[values->n++] = values->at[i];
}

static uint32_t draw(uint32_t *state, size_t n)
{
	*state = *state * 1664525u + 1013904223u;
	return (uint32_t)((*state >> 8) % n);
}

/* One that is a key or not, as asked; NULL when the few draws found none. */
static const struct value *choose(const struct values *values, bool is_key, uint32_t *state)
{
	for (int i = 0; values->n > 0 && i < 16; i++) {
		const struct value *value = &values->at[draw(state, values->n)];
		if (value->is_key == is_key)
			return value;
	}
	return NULL;
}

struct piece {
	const void *data;
	size_t n_bytes;
};

static struct piece piece(const uint8_t *text, const struct value *value)
{
	return (struct piece){text + value->begin, value->end - value->begin};
}

/* text[0, begin), the pieces, text[end, n_bytes) into `out`; 0 when that is too long. */
static size_t splice(const uint8_t *text, size_t n_bytes, size_t begin, size_t end, const struct piece *pieces,
                     size_t n_pieces, uint8_t *out, size_t max_bytes)
{
	size_t n = begin + (n_bytes - end);
	for (size_t i = 0; i < n_pieces; i++)
		n += pieces[i].n_bytes;
	if (n > max_bytes)
		return 0;
	memcpy(out, text, begin);
	out += begin;
	for (size_t i = 0; i < n_pieces; i++) {
		memcpy(out, pieces[i].data, pieces[i].n_bytes);
		out += pieces[i].n_bytes;
	}
	memcpy(out, text + end, n_bytes - end);
	return n;
}

#define LITERAL(text)                                                                                                  \
	{                                                                                                                  \
		text, sizeof(text) - 1                                                                                         \
	}

static const struct piece odd_values[] = {
    LITERAL("null"),
    LITERAL("true"),
    LITERAL("false"),
    LITERAL("0"),
    LITERAL("-1"),
    LITERAL("1"),
    LITERAL("2"),
    LITERAL("0.1"),
    LITERAL("-0.0"),
    LITERAL("1e400"),
    LITERAL("1e-320"),
    LITERAL("2147483648"),
    LITERAL("9007199254740993"),
    LITERAL("18446744073709551616"),
    LITERAL("\"\""),
    LITERAL("\"a\""),
    LITERAL("\"\\u0000\""),
    LITERAL("\"\\ud83d\\ude00\""),
    LITERAL("\"\\ud83d\""),
    LITERAL("\"#\""),
    LITERAL("[]"),
    LITERAL("{}"),
    LITERAL("[[]]"),
};
enum { N_ODD_VALUES = sizeof odd_values / sizeof *odd_values };

/* A value or key of `second` takes the place of one of `first`, or comes in before or around it. */
static size_t combine(const uint8_t *first, size_t n_first, const uint8_t *second, size_t n_second, uint8_t *out,
                      size_t max_bytes, uint32_t *state)
{
	static struct values ours, theirs;
	static const struct piece comma = LITERAL(","), colon = LITERAL(":"), brace = LITERAL("{"), close = LITERAL("}"),
	                          bracket = LITERAL("["), end = LITERAL("]");
	find_values(first, n_first, &ours);
	find_values(second, n_second, &theirs);
	bool is_key = draw(state, 3) == 0;
	const struct value *at = choose(&ours, is_key, state), *value = choose(&theirs, false, state),
	                   *key = choose(&theirs, true, state);
	if (!at || !value || !key)
		return 0;
	struct piece here = piece(first, at), other = piece(second, value), name = piece(second, key);
	if (draw(state, 4) == 0)
		other = odd_values[draw(state, N_ODD_VALUES)];
	if (is_key && draw(state, 2))
		return splice(first, n_first, at->begin, at->end, &name, 1, out, max_bytes);
	if (is_key) {
		const struct piece member[] = {name, colon, other, comma};
		return splice(first, n_first, at->begin, at->begin, member, 4, out, max_bytes);
	}
	const struct piece element[] = {other, comma}, object[] = {brace, name, colon, here, close},
	                   array[] = {bracket, here, end};
	switch (draw(state, 6)) {
	case 0:
		return splice(first, n_first, at->begin, at->begin, element, 2, out, max_bytes);
	case 1:
		return splice(first, n_first, at->begin, at->end, object, 5, out, max_bytes);
	case 2:
		return splice(first, n_first, at->begin, at->end, array, 3, out, max_bytes);
	default:
		return splice(first, n_first, at->begin, at->end, &other, 1, out, max_bytes);
	}
}

/* A value, with the comma behind it and the key before it, goes. */
static size_t take_out(const uint8_t *text, size_t n_bytes, uint8_t *out, size_t max_bytes, uint32_t *state)
{
	static struct values values;
	find_values(text, n_bytes, &values);
	if (values.n == 0)
		return 0;
	const struct value *value = &values.at[draw(state, values.n)];
	size_t begin = value->begin, end = value->end;
	if (value > values.at && value[-1].is_key && value[-1].end + 1 == begin)
		begin = value[-1].begin;
	if (end < n_bytes && text[end] == ',')
		end++;
	else if (begin > 0 && text[begin - 1] == ',')
		begin--;
	return splice(text, n_bytes, begin, end, NULL, 0, out, max_bytes);
}

size_t LLVMFuzzerCustomCrossOver(const uint8_t *first, size_t n_first, const uint8_t *second, size_t n_second,
                                 uint8_t *out, size_t max_bytes, unsigned seed)
{
	uint32_t state = seed;
	return combine(first, n_first, second, n_second, out, max_bytes, &state);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n_bytes, size_t max_bytes, unsigned seed)
{
	uint32_t state = seed;
	size_t n = 0;
	if (draw(&state, 2))
		return LLVMFuzzerMutate(data, n_bytes, max_bytes);
	uint8_t *copy = malloc(n_bytes + 1);
	REQUIRE(copy);
	memcpy(copy, data, n_bytes);
	if (draw(&state, 4) == 0)
		n = take_out(copy, n_bytes, data, max_bytes, &state);
	else
		n = combine(copy, n_bytes, copy, n_bytes, data, max_bytes, &state);
	free(copy);
	return n > 0 ? n : LLVMFuzzerMutate(data, n_bytes, max_bytes);
}
