/* From source to tokens. Where text ends and tags begin, and what white space goes with them, is as Jinja's lexer has it
 * with trim_blocks and lstrip_blocks: a tag of statements takes the newline behind it and the blanks before it on its
 * line; `-` takes all white space on its side, `+` none. */
#include <string.h>

#include "text/template.h"
#include "text/template/characters.h"
#include "text/template/syntax.h"
#include "text/unicode.h"

struct lexer {
	struct arena *arena;
	const char *source;
	size_t n_bytes, at;
	size_t n_counted; /* bytes whose newlines are in `line` */
	uint32_t line;
	struct token *tokens;
	size_t n_tokens, capacity;
	bool failed; /* no memory */
	bool ended;  /* an error token is out */
};

char *source_normalise(struct arena *arena, const char *source, size_t n_bytes, size_t *n_out)
{
	char *out = arena_alloc(arena, n_bytes + 1);
	size_t n = 0;
	for (size_t i = 0; out && i < n_bytes; i++) {
		if (source[i] == '\r' && i + 1 < n_bytes && source[i + 1] == '\n')
			continue;
		out[n++] = source[i];
		if (source[i] == '\r')
			out[n - 1] = '\n';
	}
	if (n > 0 && out[n - 1] == '\n')
		n--;
	*n_out = n;
	return out;
}

static void push(struct lexer *l, enum token_type type, size_t offset, const char *text, size_t n_text)
{
	if (l->n_tokens == l->capacity) {
		size_t capacity = l->capacity ? l->capacity * 2 : 256;
		struct token *grown = arena_array(l->arena, capacity, sizeof *grown);
		if (!grown) {
			l->failed = l->ended = true;
			return;
		}
		if (l->n_tokens)
			memcpy(grown, l->tokens, l->n_tokens * sizeof *grown);
		l->tokens = grown;
		l->capacity = capacity;
	}
	for (; l->n_counted < offset; l->n_counted++)
		l->line += l->source[l->n_counted] == '\n';
	l->tokens[l->n_tokens++] = (struct token){type, (uint32_t)offset, l->line, text, n_text};
}

static void fail(struct lexer *l, size_t offset, const char *message)
{
	push(l, TOKEN_ERROR, offset, message, strlen(message));
	l->ended = true;
}

static bool starts_with(const struct lexer *l, size_t at, const char *text)
{
	size_t n = strlen(text);
	return l->n_bytes - at >= n && memcmp(l->source + at, text, n) == 0;
}

static size_t skip_space(const struct lexer *l, size_t at)
{
	size_t n;
	while (at < l->n_bytes && char_is_python_space(char_decode(l->source + at, &n)))
		at += n;
	return at;
}

/* The end of a tag that stands at `at`: with its sign, and with the white space that it takes. 0: there is none. */
static size_t tag_end(const struct lexer *l, size_t at, const char *mark, bool may_keep, bool trims)
{
	size_t n = strlen(mark);
	if (l->source[at] == '-' && starts_with(l, at + 1, mark))
		return skip_space(l, at + 1 + n);
	if (may_keep && l->source[at] == '+' && starts_with(l, at + 1, mark))
		return at + 1 + n;
	if (!starts_with(l, at, mark))
		return 0;
	at += n;
	return trims && at < l->n_bytes && l->source[at] == '\n' ? at + 1 : at;
}

/* `{%`, a sign, the word alone: where its tag's end is looked for; 0 when it is not there. */
static size_t raw_tag(const struct lexer *l, size_t at, const char *word)
{
	if (!starts_with(l, at, "{%"))
		return 0;
	at += 2;
	if (at < l->n_bytes && (l->source[at] == '-' || l->source[at] == '+'))
		at++;
	at = skip_space(l, at);
	if (!starts_with(l, at, word))
		return 0;
	return skip_space(l, at + strlen(word));
}

static bool ends_raw_begin(const struct lexer *l, size_t at, size_t *end)
{
	*end = at && at < l->n_bytes ? tag_end(l, at, "%}", false, false) : 0;
	return *end != 0;
}

/* Text before a tag, without what the tag takes of it. */
static void push_text(struct lexer *l, size_t start, size_t end, char sign, bool strips)
{
	const char *text = l->source + start;
	size_t n = end - start;
	if (sign == '-') {
		while (n > 0) {
			size_t length, last = char_before(text, n);
			if (!char_is_python_space(char_decode(text + last, &length)))
				break;
			n = last;
		}
	} else if (sign != '+' && strips) {
		const char *newline = memrchr(text, '\n', n);
		size_t line = newline ? (size_t)(newline - text) + 1 : 0;
		bool whole_line = line > 0 || start == 0 || l->source[start - 1] == '\n';
		if (whole_line && skip_space(l, start + line) >= end)
			n = line;
	}
	if (n > 0)
		push(l, TOKEN_DATA, start, text, n);
}

static char sign_at(const struct lexer *l, size_t at)
{
	return at < l->n_bytes && (l->source[at] == '-' || l->source[at] == '+') ? l->source[at] : 0;
}

/* ---- inside a tag ---- */

static size_t digits(const struct lexer *l, size_t at, const char *set)
{
	size_t start = at;
	while (at < l->n_bytes) {
		bool between = l->source[at] == '_' && at > start && at + 1 < l->n_bytes && l->source[at + 1] &&
		               strchr(set, l->source[at + 1]);
		if (!between && !(l->source[at] && strchr(set, l->source[at])))
			break;
		at++;
	}
	return at;
}

#define DECIMAL "0123456789"

/* The end of a float at `at`, or `at`. */
static size_t float_end(const struct lexer *l, size_t at)
{
	size_t whole = digits(l, at, DECIMAL), end = whole;
	if (whole == at || (at > 0 && l->source[at - 1] == '.'))
		return at;
	if (end < l->n_bytes && l->source[end] == '.' && digits(l, end + 1, DECIMAL) > end + 1)
		end = digits(l, end + 1, DECIMAL);
	if (end < l->n_bytes && (l->source[end] | 32) == 'e') {
		size_t power = end + 1;
		power += sign_at(l, power) != 0;
		if (digits(l, power, DECIMAL) > power)
			return digits(l, power, DECIMAL);
	}
	return end > whole ? end : at;
}

static size_t integer_end(const struct lexer *l, size_t at)
{
	static const struct {
		char letter;
		const char *set;
	} bases[] = {{'b', "01"}, {'o', "01234567"}, {'x', "0123456789abcdefABCDEF"}};
	if (l->source[at] == '0' && at + 1 < l->n_bytes) {
		for (size_t i = 0; i < sizeof bases / sizeof *bases; i++) {
			size_t start = at + 2 + (at + 2 < l->n_bytes && l->source[at + 2] == '_');
			if ((l->source[at + 1] | 32) == bases[i].letter && digits(l, start, bases[i].set) > start)
				return digits(l, start, bases[i].set);
		}
	}
	return digits(l, at, l->source[at] == '0' ? "0" : DECIMAL);
}

/* The end of a name at `at`, or `at`. */
static size_t name_end(const struct lexer *l, size_t at)
{
	size_t end = at, length;
	for (; end < l->n_bytes; end += length) {
		uint32_t code = char_decode(l->source + end, &length);
		if (!(end == at ? char_starts_name(code) : char_in_name(code)))
			break;
	}
	return end;
}

static size_t string_end(const struct lexer *l, size_t at)
{
	char quote = l->source[at++];
	for (; at < l->n_bytes; at++) {
		if (l->source[at] == '\\')
			at++;
		else if (l->source[at] == quote)
			return at + 1;
	}
	return 0;
}

static size_t operator_length(const struct lexer *l, size_t at)
{
	static const char *const two[] = {"//", "**", "==", "!=", ">=", "<="};
	for (size_t i = 0; i < sizeof two / sizeof *two; i++)
		if (starts_with(l, at, two[i]))
			return 2;
	return l->source[at] && strchr("+-/*%~[](){}><=.:|,;", l->source[at]) ? 1 : 0;
}

/* Brackets are paired while reading, because the end of a tag is none inside them. */
static bool balance(struct lexer *l, char *open, size_t *depth, size_t at)
{
	static const char opening[] = "([{", closing[] = ")]}";
	const char *which = strchr(opening, l->source[at]);
	if (which && *which) {
		if (*depth == TEMPLATE_MAX_NESTING) {
			fail(l, at, "brackets are nested too deep");
			return false;
		}
		open[(*depth)++] = closing[which - opening];
		return true;
	}
	which = strchr(closing, l->source[at]);
	if (!which || !*which)
		return true;
	if (*depth == 0 || open[*depth - 1] != l->source[at]) {
		fail(l, at, "a closing bracket that was not opened");
		return false;
	}
	--*depth;
	return true;
}

/* One token inside a tag; its end. 0: an error is out. */
static size_t lex_inner(struct lexer *l, size_t at)
{
	unsigned char c = (unsigned char)l->source[at];
	size_t end = at;
	enum token_type type = TOKEN_OPERATOR;
	if (c >= '0' && c <= '9') {
		type = TOKEN_FLOAT;
		end = float_end(l, at);
		if (end == at) {
			type = TOKEN_INTEGER;
			end = integer_end(l, at);
		}
	} else if ((end = name_end(l, at)) > at) {
		type = TOKEN_NAME;
	} else if (c == '"' || c == '\'') {
		type = TOKEN_STRING;
		end = string_end(l, at);
	} else {
		end = at + operator_length(l, at);
	}
	if (end == 0 || end == at) {
		fail(l, at, end == 0 ? "a string that does not end" : "an unexpected character");
		return 0;
	}
	if (type == TOKEN_STRING)
		push(l, type, at, l->source + at + 1, end - at - 2);
	else
		push(l, type, at, l->source + at, end - at);
	return end;
}

static void lex_tag(struct lexer *l, size_t at, bool block)
{
	char open[TEMPLATE_MAX_NESTING];
	size_t depth = 0;
	while (!l->ended) {
		at = skip_space(l, at);
		if (at >= l->n_bytes)
			break; /* the parser misses the end */
		size_t end = depth ? 0 : tag_end(l, at, block ? "%}" : "}}", block, block);
		if (end) {
			push(l, block ? TOKEN_BLOCK_END : TOKEN_VARIABLE_END, at, l->source + at, 2);
			l->at = end;
			return;
		}
		size_t next = lex_inner(l, at);
		if (!next || (next == at + 1 && !balance(l, open, &depth, at)))
			return;
		at = next;
	}
	l->at = l->n_bytes;
}

/* ---- outside ---- */

static void lex_comment(struct lexer *l, size_t start)
{
	for (size_t at = start; at < l->n_bytes; at++) {
		size_t end = tag_end(l, at, "#}", true, true);
		if (end) {
			l->at = end;
			return;
		}
	}
	if (start == l->n_bytes) /* nothing follows: Jinja lets it pass */
		l->at = start;
	else
		fail(l, start, "missing end of comment tag");
}

static void lex_raw(struct lexer *l, size_t start)
{
	for (size_t at = start; at < l->n_bytes; at++) {
		size_t inside = l->source[at] == '{' ? raw_tag(l, at, "endraw") : 0;
		size_t end = inside && inside < l->n_bytes ? tag_end(l, inside, "%}", true, true) : 0;
		if (end) {
			push_text(l, start, at, sign_at(l, at + 2), true);
			l->at = end;
			return;
		}
	}
	if (start == l->n_bytes)
		l->at = start;
	else
		fail(l, start, "missing end of raw directive");
}

static void lex_root(struct lexer *l)
{
	size_t start = l->at, at = start;
	for (; at + 1 < l->n_bytes; at++)
		if (l->source[at] == '{' && strchr("%{#", l->source[at + 1]) && l->source[at + 1])
			break;
	if (at + 1 >= l->n_bytes) {
		push_text(l, start, l->n_bytes, '+', false);
		l->at = l->n_bytes;
		return;
	}
	char kind = l->source[at + 1], sign = sign_at(l, at + 2);
	size_t inside = at + 2 + (sign != 0), raw_end;
	push_text(l, start, at, sign, kind != '{');
	if (kind == '#') {
		lex_comment(l, inside);
	} else if (kind == '%' && ends_raw_begin(l, raw_tag(l, at, "raw"), &raw_end)) {
		lex_raw(l, raw_end);
	} else {
		push(l, kind == '%' ? TOKEN_BLOCK_BEGIN : TOKEN_VARIABLE_BEGIN, at, l->source + at, 2);
		lex_tag(l, inside, kind == '%');
	}
}

struct token *lexer_run(struct arena *arena, const char *source, size_t n_bytes, size_t *n_tokens)
{
	struct lexer l = {.arena = arena, .source = source, .n_bytes = n_bytes, .line = 1};
	while (!l.ended && l.at < l.n_bytes)
		lex_root(&l);
	if (!l.ended)
		push(&l, TOKEN_END, n_bytes, source + n_bytes, 0);
	*n_tokens = l.n_tokens;
	return l.failed ? NULL : l.tokens;
}
