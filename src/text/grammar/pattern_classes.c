#include "text/grammar/pattern_classes.h"

#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

#include "text/grammar/language_private.h"
#include "text/unicode.h"

static const struct char_range digits[] = {{'0', '9'}};
static const struct char_range words[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
/* WhiteSpace and LineTerminator of ECMA-262. */
static const struct char_range spaces[] = {{0x09, 0x0D},     {0x20, 0x20},     {0xA0, 0xA0},     {0x1680, 0x1680},
                                           {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F},
                                           {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
static const struct char_range line_ends[] = {{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}};

/* What a class is made of. */
struct ranges {
	struct char_range *list;
	size_t n, max;
	uint32_t categories; /* bit k: utf8proc's category k; not in the list until all of the class was read */
};

static void lack_room(struct class_reader *r)
{
	languages_note_no_memory(r->l);
	r->why = languages_lack_memory(r->l) ? "no memory" : "the pattern is too large";
}

static bool add_range(struct class_reader *r, struct ranges *ranges, uint32_t first, uint32_t last)
{
	if (!TABLE_RESERVE(ranges->list, ranges->n, ranges->max, 1)) {
		lack_room(r);
		return false;
	}
	ranges->list[ranges->n++] = (struct char_range){first, last};
	return true;
}

static int by_first(const void *a, const void *b)
{
	const struct char_range *x = a, *y = b;
	return (x->first > y->first) - (x->first < y->first);
}

/* Everything that none of the n ranges has. */
static void add_complement(struct class_reader *r, struct ranges *out, struct char_range *ranges, size_t n)
{
	uint32_t next = 0;
	if (n > 0)
		qsort(ranges, n, sizeof *ranges, by_first);
	for (size_t i = 0; i < n; i++) {
		if (ranges[i].first > next)
			add_range(r, out, next, ranges[i].first - 1);
		next = ranges[i].last + 1 > next ? ranges[i].last + 1 : next;
	}
	if (next <= LANGUAGE_MAX_CODE)
		add_range(r, out, next, LANGUAGE_MAX_CODE);
}

static void add_known(struct class_reader *r, struct ranges *out, const struct char_range *ranges, size_t n,
                      bool complement)
{
	struct char_range copy[sizeof spaces / sizeof *spaces];
	memcpy(copy, ranges, n * sizeof *ranges);
	if (complement)
		add_complement(r, out, copy, n);
	for (size_t i = 0; i < n && !complement; i++)
		add_range(r, out, copy[i].first, copy[i].last);
}

uint32_t class_dot(struct languages *l)
{
	struct class_reader r = {.l = l};
	struct ranges ranges = {0};
	add_known(&r, &ranges, line_ends, sizeof line_ends / sizeof *line_ends, true);
	uint32_t language = r.why ? LANGUAGE_NONE : language_class(l, ranges.list, ranges.n);
	free(ranges.list);
	return language;
}

/* ---- \p{...} ---- */

/* General categories in utf8proc's order, with their long names; one of a letter is the union of those it begins. */
static const char *const categories[][2] = {{"Cn", "Unassigned"},
                                            {"Lu", "Uppercase_Letter"},
                                            {"Ll", "Lowercase_Letter"},
                                            {"Lt", "Titlecase_Letter"},
                                            {"Lm", "Modifier_Letter"},
                                            {"Lo", "Other_Letter"},
                                            {"Mn", "Nonspacing_Mark"},
                                            {"Mc", "Spacing_Mark"},
                                            {"Me", "Enclosing_Mark"},
                                            {"Nd", "Decimal_Number"},
                                            {"Nl", "Letter_Number"},
                                            {"No", "Other_Number"},
                                            {"Pc", "Connector_Punctuation"},
                                            {"Pd", "Dash_Punctuation"},
                                            {"Ps", "Open_Punctuation"},
                                            {"Pe", "Close_Punctuation"},
                                            {"Pi", "Initial_Punctuation"},
                                            {"Pf", "Final_Punctuation"},
                                            {"Po", "Other_Punctuation"},
                                            {"Sm", "Math_Symbol"},
                                            {"Sc", "Currency_Symbol"},
                                            {"Sk", "Modifier_Symbol"},
                                            {"So", "Other_Symbol"},
                                            {"Zs", "Space_Separator"},
                                            {"Zl", "Line_Separator"},
                                            {"Zp", "Paragraph_Separator"},
                                            {"Cc", "Control"},
                                            {"Cf", "Format"},
                                            {"Cs", "Surrogate"},
                                            {"Co", "Private_Use"}};
static const char *const groups[][2] = {{"L", "Letter"}, {"M", "Mark"},      {"N", "Number"}, {"P", "Punctuation"},
                                        {"S", "Symbol"}, {"Z", "Separator"}, {"C", "Other"},  {"P", "punct"}};
enum { N_CATEGORIES = sizeof categories / sizeof *categories, N_GROUPS = sizeof groups / sizeof *groups };

static bool is_name(const char *name, size_t n, const char *known)
{
	return strlen(known) == n && memcmp(name, known, n) == 0;
}

/* Bit k: utf8proc's category k; 0 for a name that is none. */
static uint32_t categories_named(const char *name, size_t n)
{
	uint32_t set = 0;
	for (int i = 0; i < N_CATEGORIES; i++)
		if (is_name(name, n, categories[i][0]) || is_name(name, n, categories[i][1]))
			set = 1U << i;
	for (int g = 0; g < N_GROUPS; g++)
		if (is_name(name, n, groups[g][0]) || is_name(name, n, groups[g][1]))
			for (int i = 0; i < N_CATEGORIES; i++)
				set |= categories[i][0][0] == groups[g][0][0] ? 1U << i : 0;
	return set;
}

static void add_property(struct class_reader *r, struct ranges *out, bool complement)
{
	if (r->at >= r->n || r->text[r->at] != '{') {
		r->why = "\\p without {name}";
		return;
	}
	const char *name = r->text + r->at + 1, *end = memchr(name, '}', r->n - r->at - 1);
	if (!end) {
		r->why = "\\p without {name}";
		return;
	}
	r->at = (size_t)(end + 1 - r->text);
	const char *equals = memchr(name, '=', (size_t)(end - name));
	if (equals &&
	    (is_name(name, (size_t)(equals - name), "gc") || is_name(name, (size_t)(equals - name), "General_Category")))
		name = equals + 1;
	uint32_t set = categories_named(name, (size_t)(end - name));
	if (is_name(name, (size_t)(end - name), "ASCII")) {
		add_known(r, out, (struct char_range[]){{0, 0x7F}}, 1, complement);
		return;
	}
	if (!set) {
		r->why = "\\p of other than a general category is not supported";
		return;
	}
	out->categories |= complement ? ~set : set;
}

/* Looking at all characters takes milliseconds, so that is done once. */
static bool find_categories(struct class_reader *r)
{
	struct languages *l = r->l;
	for (uint32_t code = l->n_categories == 0 ? 0 : LANGUAGE_MAX_CODE + 1; code <= LANGUAGE_MAX_CODE; code++) {
		uint8_t category = (uint8_t)utf8proc_category((utf8proc_int32_t)code);
		if (l->n_categories > 0 && l->categories[l->n_categories - 1].category == category)
			continue;
		if (!TABLE_GROW(l->account, l->categories, l->n_categories, l->max_categories, 1)) {
			l->n_categories = 0;
			lack_room(r);
			return false;
		}
		l->categories[l->n_categories++] = (struct category_run){code, category};
	}
	return true;
}

/* Those of all categories that the class names; each range is a step. */
static void add_categories(struct class_reader *r, struct ranges *out)
{
	const struct languages *l = r->l;
	size_t before = out->n;
	if (!out->categories || !find_categories(r))
		return;
	for (size_t i = 0; i < l->n_categories; i++) {
		size_t start = i;
		while (i < l->n_categories && out->categories >> l->categories[i].category & 1)
			i++;
		if (i > start)
			add_range(r, out, l->categories[start].first,
			          i < l->n_categories ? l->categories[i].first - 1 : LANGUAGE_MAX_CODE);
	}
	if (!language_take_steps(r->l, out->n - before))
		r->why = "the pattern is too large";
}

/* ---- escapes ---- */

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_hex(struct class_reader *r, int n_digits, uint32_t *code)
{
	*code = 0;
	for (int i = 0; i < n_digits; i++) {
		int value = r->at + (size_t)i < r->n ? hex_value(r->text[r->at + (size_t)i]) : -1;
		if (value < 0)
			return false;
		*code = *code * 16 + (uint32_t)value;
	}
	r->at += (size_t)n_digits;
	return true;
}

/* After \u: HHHH, a pair of surrogates, or {H...}. */
static bool read_unicode(struct class_reader *r, uint32_t *code)
{
	if (r->at < r->n && r->text[r->at] == '{') {
		size_t start = ++r->at;
		*code = 0;
		for (; r->at < r->n && hex_value(r->text[r->at]) >= 0 && *code <= LANGUAGE_MAX_CODE; r->at++)
			*code = *code * 16 + (uint32_t)hex_value(r->text[r->at]);
		bool whole = r->at > start && r->at < r->n && r->text[r->at] == '}' && *code <= LANGUAGE_MAX_CODE;
		r->at += whole; /* never beyond the end */
		return whole;
	}
	if (!read_hex(r, 4, code))
		return false;
	size_t after = r->at;
	uint32_t low;
	if (*code >= 0xD800 && *code < 0xDC00 && r->n - r->at >= 6 && memcmp(r->text + r->at, "\\u", 2) == 0) {
		r->at += 2;
		if (read_hex(r, 4, &low) && low >= 0xDC00 && low < 0xE000)
			*code = 0x10000 + ((*code - 0xD800) << 10) + (low - 0xDC00);
		else
			r->at = after;
	}
	return true;
}

/* An escape that is one character, after its backslash and letter. */
static bool read_char_escape(struct class_reader *r, char letter, uint32_t *code)
{
	static const char names[] = "tnvfr0", values[] = "\t\n\v\f\r\0";
	const char *name = letter ? strchr(names, letter) : NULL;
	if (name) {
		*code = (unsigned char)values[name - names];
		bool octal = letter == '0' && r->at < r->n && r->text[r->at] >= '0' && r->text[r->at] <= '9';
		return !octal;
	}
	if (letter == 'x')
		return read_hex(r, 2, code);
	if (letter == 'u')
		return read_unicode(r, code);
	if (letter == 'c' && r->at < r->n) {
		char control = r->text[r->at++];
		*code = (uint32_t)control & 0x1F;
		return (control | 0x20) >= 'a' && (control | 0x20) <= 'z';
	}
	*code = (unsigned char)letter;
	bool is_alnum =
	    (letter >= '0' && letter <= '9') || (letter >= 'A' && letter <= 'Z') || (letter >= 'a' && letter <= 'z');
	return letter > 0 && !is_alnum && letter != '_';
}

/* At a backslash. True for one character, in *code; false for a class, added to `out`, or what is refused. */
static bool read_escape(struct class_reader *r, struct ranges *out, uint32_t *code)
{
	if (r->n - r->at < 2) {
		r->why = "a backslash at the end";
		return false;
	}
	char letter = r->text[r->at + 1];
	r->at += 2;
	switch (letter) {
	case 'd':
	case 'D':
		add_known(r, out, digits, sizeof digits / sizeof *digits, letter == 'D');
		return false;
	case 'w':
	case 'W':
		add_known(r, out, words, sizeof words / sizeof *words, letter == 'W');
		return false;
	case 's':
	case 'S':
		add_known(r, out, spaces, sizeof spaces / sizeof *spaces, letter == 'S');
		return false;
	case 'p':
	case 'P':
		add_property(r, out, letter == 'P');
		return false;
	default:
		break;
	}
	if (read_char_escape(r, letter, code))
		return true;
	r->why = letter >= '1' && letter <= '9'   ? "back references are not supported"
	         : letter == 'b' || letter == 'B' ? "\\b and \\B are not supported"
	                                          : "this escape is not supported";
	return false;
}

/* One character of a class; false for a set, or what is refused. */
static bool read_member(struct class_reader *r, struct ranges *out, uint32_t *code)
{
	if (r->text[r->at] == '\\') {
		if (r->n - r->at >= 2 && r->text[r->at + 1] == 'b') {
			r->at += 2;
			*code = '\b';
			return true;
		}
		return read_escape(r, out, code);
	}
	size_t length;
	*code = char_decode(r->text + r->at, &length);
	r->at += length;
	return true;
}

static void read_brackets(struct class_reader *r, struct ranges *out)
{
	while (!r->why && r->at < r->n && r->text[r->at] != ']') {
		uint32_t first, last;
		bool single = read_member(r, out, &first);
		bool range = !r->why && r->n - r->at >= 2 && r->text[r->at] == '-' && r->text[r->at + 1] != ']';
		if (!single || r->why || !range) {
			if (single && !r->why)
				add_range(r, out, first, first);
			continue;
		}
		r->at++;
		if (!read_member(r, out, &last)) {
			r->why = r->why ? r->why : "a class as the end of a range";
		} else if (first > last) {
			r->why = "a range of characters is out of order";
		} else {
			add_range(r, out, first, last);
		}
	}
	if (!r->why && r->at >= r->n)
		r->why = "a class has no end";
	r->at++;
}

uint32_t class_read_atom(struct class_reader *r)
{
	struct ranges ranges = {0}, others = {0};
	uint32_t code;
	bool complement = false;
	if (r->text[r->at] == '[') {
		complement = r->n - r->at >= 2 && r->text[r->at + 1] == '^';
		r->at += complement ? 2 : 1;
		read_brackets(r, &ranges);
	} else if (r->text[r->at] == '\\') {
		if (read_escape(r, &ranges, &code))
			add_range(r, &ranges, code, code);
	} else {
		size_t length;
		code = char_decode(r->text + r->at, &length);
		r->at += length;
		add_range(r, &ranges, code, code);
	}
	if (!r->why)
		add_categories(r, &ranges);
	if (!r->why && complement)
		add_complement(r, &others, ranges.list, ranges.n);
	struct ranges *result = complement ? &others : &ranges;
	uint32_t language = r->why ? LANGUAGE_NONE : language_class(r->l, result->list, result->n);
	free(ranges.list);
	free(others.list);
	return language;
}
