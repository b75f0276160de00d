/* Oniguruma (Ruby syntax) to PCRE2. What follows was measured on Oniguruma as Hugging Face's tokenizers use it.
 *
 *   \s \S            White_Space; PCRE2's also has U+180E
 *   \w \b [:word:]   Alphabetic, M, Nd, Nl and Pc, PCRE2's lacks marks; outside of classes the Latin-1 ones of No, too
 *   (?i)ss           matches ß, too, and (?i)ß ss; PCRE2 takes one character for one, so it is refused
 *   (?i)[\p{Lu}]     the other cases of its members, too; refused where that matters
 *   [:punct:]        P and S; \p{Punct} is P alone
 *   \h               a hexadecimal digit
 *   \v               U+000B only
 *   \p{Han}          the script; PCRE2 would take Script_Extensions
 *   (?m)             dot matches newline, PCRE2's (?s); ^ and $ are always by line (PCRE2_MULTILINE)
 *   x{,n}            x{0,n}
 *   x{n,m}+  x**     a repeat of a repeat, not possessive: (?:x{n,m})+
 *   {                a literal where it opens no repeat
 *
 * Groups capture nothing (PCRE2_NO_AUTO_CAPTURE); back references and whatever else has no equal are refused by name.
 */
#include <stdio.h>
#include <string.h>

#include "text/regex.h"
#include "text/unicode.h"

#define SPACES                                                                                                         \
	"\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"
#define NO_SPACES                                                                                                      \
	"\\x{0}-\\x{8}\\x{e}-\\x{1f}\\x{21}-\\x{84}\\x{86}-\\x{9f}\\x{a1}-\\x{167f}\\x{1681}-\\x{1fff}"                    \
	"\\x{200b}-\\x{2027}\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}\\x{3001}-\\x{d7ff}"                  \
	"\\x{e000}-\\x{10ffff}"
#define WORDS_IN_CLASS                                                                                                 \
	"\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{24b6}-\\x{24e9}\\x{1f130}-\\x{1f149}\\x{1f150}-\\x{1f169}"                   \
	"\\x{1f170}-\\x{1f189}"
#define WORDS WORDS_IN_CLASS "\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}"

enum { MAX_NESTING = 200, MAX_WRAPS = 8 };

struct translation {
	const char *pattern;
	size_t n_bytes, at;
	struct bytes *out;
	struct error *error;
	size_t atom;      /* in out: where the item starts that a quantifier would repeat; SIZE_MAX: none */
	bool repeated;    /* that item carries a quantifier already */
	int n_wraps;      /* put around that item */
	bool group_start; /* nothing but options since the group or the pattern began */
	struct {
		size_t start;      /* in out */
		bool caseless;     /* what holds again behind it */
	} groups[MAX_NESTING]; /* the open ones */
	int n_groups;
	bool caseless;          /* (?i) holds */
	bool in_class, negated; /* inside a class, and that is [^...] */
	bool range;             /* what comes ends a range that begins with the last literal */
	uint32_t literal;       /* the last character that stands for itself */
	size_t literal_end;     /* in out */
};

static bool refuse(struct translation *t, const char *what)
{
	return error_set(t->error, ERROR_MODEL, "regular expression: %s at byte %zu is not supported", what, t->at);
}

static int peek(const struct translation *t, size_t ahead)
{
	return t->n_bytes - t->at > ahead ? (unsigned char)t->pattern[t->at + ahead] : -1;
}

static void emit(struct translation *t, const char *text)
{
	bytes_append_text(t->out, text);
}

static void push_group(struct translation *t, size_t start, bool caseless_outside)
{
	t->groups[t->n_groups].start = start;
	t->groups[t->n_groups++].caseless = caseless_outside;
	t->group_start = true;
	t->atom = SIZE_MAX;
}

static void begin_atom(struct translation *t)
{
	t->atom = t->out->n_bytes;
	t->repeated = false;
	t->n_wraps = 0;
	t->group_start = false;
}

/* ---- characters without regard to case ---- */

/* Does one of these characters fold into several, as ß does into ss? In the blocks of Greek with accents and of
 * ligatures nearly all do. */
static bool folds_apart(uint32_t first, uint32_t last)
{
	static const struct {
		uint32_t first, last;
	} rows[] = {{0xDF, 0xDF},   {0x130, 0x130}, {0x149, 0x149},   {0x1F0, 0x1F0},   {0x390, 0x390},
	            {0x3B0, 0x3B0}, {0x587, 0x587}, {0x1E96, 0x1E9E}, {0x1F50, 0x1FFC}, {0xFB00, 0xFB17}};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (first <= rows[i].last && last >= rows[i].first)
			return true;
	return false;
}

/* Do two characters begin what one folds into? Those that do so with others than ASCII are told by the second alone. */
static bool folds_together(uint32_t first, uint32_t second)
{
	static const char *const pairs[] = {"ss", "ff", "fi", "fl", "st"};
	static const uint32_t seconds[] = {0x2BE, 0x307, 0x308, 0x30A, 0x30C, 0x313, 0x331,
	                                   0x342, 0x3B9, 0x565, 0x56B, 0x56D, 0x576, 0x582};
	for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
		if ((first | 0x20) == (uint32_t)pairs[i][0] && (second | 0x20) == (uint32_t)pairs[i][1])
			return true;
	for (size_t i = 0; i < sizeof seconds / sizeof *seconds; i++)
		if (second == seconds[i])
			return true;
	return first == 0x2BC;
}

/* Notes a character that stands for itself and has been written from `start` on. */
static bool note_literal(struct translation *t, uint32_t code, size_t start)
{
	uint32_t first = t->range && t->literal < code ? t->literal : code;
	bool together = !t->in_class && t->literal_end == start && folds_together(t->literal, code);
	/* Of a character that is several [^...] takes none. */
	if (t->caseless && !t->negated && (together || folds_apart(first, code)))
		return refuse(t, "a character that is several without regard to case");
	t->literal = code;
	t->literal_end = t->out->n_bytes;
	return true;
}

/* ---- properties ---- */

struct property {
	const char *name;   /* lower case, without space, '_' and '-' */
	const char *inside; /* what stands for it inside a PCRE2 class */
};

/* What later versions of Unicode than PCRE2's may be have added to characters that there were. */
#define ALPHABETIC "\\p{Alphabetic}\\x{363}-\\x{36f}\\x{c04}\\x{f82}\\x{f83}\\x{1dd3}-\\x{1de6}\\x{11080}\\x{11081}"
#define LOWERCASE  "\\p{Lowercase}\\x{10fc}\\x{a7f2}-\\x{a7f4}\\x{ab69}"

/* General categories by their long names, POSIX classes, and the binary properties that both sides know. All other
 * names are scripts. */
static const struct property properties[] = {
    {"letter", "\\p{L}"},
    {"uppercaseletter", "\\p{Lu}"},
    {"lowercaseletter", "\\p{Ll}"},
    {"titlecaseletter", "\\p{Lt}"},
    {"modifierletter", "\\p{Lm}"},
    {"otherletter", "\\p{Lo}"},
    {"mark", "\\p{M}"},
    {"nonspacingmark", "\\p{Mn}"},
    {"spacingmark", "\\p{Mc}"},
    {"enclosingmark", "\\p{Me}"},
    {"number", "\\p{N}"},
    {"decimalnumber", "\\p{Nd}"},
    {"letternumber", "\\p{Nl}"},
    {"othernumber", "\\p{No}"},
    {"punctuation", "\\p{P}"},
    {"connectorpunctuation", "\\p{Pc}"},
    {"dashpunctuation", "\\p{Pd}"},
    {"openpunctuation", "\\p{Ps}"},
    {"closepunctuation", "\\p{Pe}"},
    {"initialpunctuation", "\\p{Pi}"},
    {"finalpunctuation", "\\p{Pf}"},
    {"otherpunctuation", "\\p{Po}"},
    {"symbol", "\\p{S}"},
    {"mathsymbol", "\\p{Sm}"},
    {"currencysymbol", "\\p{Sc}"},
    {"modifiersymbol", "\\p{Sk}"},
    {"othersymbol", "\\p{So}"},
    {"separator", "\\p{Z}"},
    {"spaceseparator", "\\p{Zs}"},
    {"lineseparator", "\\p{Zl}"},
    {"paragraphseparator", "\\p{Zp}"},
    {"other", "\\p{C}"},
    {"control", "\\p{Cc}"},
    {"format", "\\p{Cf}"},
    {"unassigned", "\\p{Cn}"},
    {"privateuse", "\\p{Co}"},
    {"any", "\\x{0}-\\x{10ffff}"},
    {"ascii", "\\x{0}-\\x{7f}"},
    {"alpha", ALPHABETIC},
    {"alphabetic", ALPHABETIC},
    {"upper", "\\p{Uppercase}"},
    {"uppercase", "\\p{Uppercase}"},
    {"lower", LOWERCASE},
    {"lowercase", LOWERCASE},
    {"digit", "\\p{Nd}"},
    {"alnum", ALPHABETIC "\\p{Nd}"},
    {"space", SPACES},
    {"whitespace", SPACES},
    {"blank", "\\x{9}\\p{Zs}"},
    {"cntrl", "\\p{Cc}"},
    {"punct", "\\p{P}"},
    {"xdigit", "0-9A-Fa-f"},
    {"word", WORDS_IN_CLASS},
    {"ideographic", "\\p{Ideographic}"},
    {"emoji", "\\p{Emoji}"},
    {"emojipresentation", "\\p{Emoji_Presentation}"},
    {"emojimodifier", "\\p{Emoji_Modifier}"},
    {"emojimodifierbase", "\\p{Emoji_Modifier_Base}"},
    {"extendedpictographic", "\\p{Extended_Pictographic}"},
};

/* Where a property stands: \p{...} alone or inside a class, or [:...:]. */
enum place { ALONE, IN_CLASS, POSIX };

static const char *property_inside(const char *name, enum place place)
{
	if (place == POSIX && !strcmp(name, "punct"))
		return "\\p{P}\\p{S}";
	if (place == ALONE && !strcmp(name, "word"))
		return WORDS;
	for (size_t i = 0; i < sizeof properties / sizeof *properties; i++)
		if (!strcmp(properties[i].name, name))
			return properties[i].inside;
	return NULL;
}

static bool is_general_category(const char *name)
{
	static const char known[] =
	    " l lu ll lt lm lo m mn mc me n nd nl no p pc pd ps pe pi pf po s sm sc sk so z zs zl zp "
	    "c cc cf cn co ";
	char spaced[8] = " ";
	size_t n = strlen(name);
	if (n < 1 || n > 2)
		return false;
	memcpy(spaced + 1, name, n);
	spaced[n + 1] = ' ';
	return strstr(known, spaced) != NULL;
}

/* Has it members whose other cases are none? In a caseless class Oniguruma takes those in, too, PCRE2 does not. Alone no
 * property is widened, but PCRE2 widens what is spelled out. */
static bool case_matters(const char *name, enum place place)
{
	static const char known[] =
	    " lu ll lt m mn uppercaseletter lowercaseletter titlecaseletter mark nonspacingmark upper uppercase lower "
	    "lowercase greek grek common zyyy inherited zinh qaai emoji ";
	char spaced[48];
	snprintf(spaced, sizeof spaced, " %s ", name);
	return place == ALONE ? !strcmp(name, "ascii") : strstr(known, spaced) != NULL;
}

/* Writes a property, negated or not; inside a class a negated one must be a single \p item. */
static bool emit_property(struct translation *t, const char *name, bool negated, enum place place)
{
	char item[64];
	const char *inside = property_inside(name, place);
	bool letter = !strcmp(name, "l") || !strcmp(name, "letter");
	if (t->caseless && (case_matters(name, place) || (letter && negated && place != ALONE)))
		return refuse(t, "a property like this without regard to case");
	if (t->caseless && letter && place != ALONE)
		inside = "\\p{L}\\x{345}"; /* a mark whose upper case is a letter */
	if (!inside) {
		if (strncmp(name, "in", 2) == 0 && strcmp(name, "inherited") != 0 && strncmp(name, "inscriptional", 13) != 0)
			return refuse(t, "a property of Unicode blocks");
		bool general = is_general_category(name);
		/* Category names are case-sensitive in PCRE2. */
		char first = general ? (char)(name[0] - 'a' + 'A') : name[0];
		strcpy(item, general ? "\\p{" : "\\p{sc:");
		size_t n = strlen(item), length = strlen(name);
		item[n] = first;
		memcpy(item + n + 1, name + 1, length - 1);
		memcpy(item + n + length, "}", 2);
		inside = item;
	}
	bool single = inside[0] == '\\' && inside[1] == 'p' && strchr(inside, '}')[1] == 0;
	if (single) {
		emit(t, negated ? "\\P" : "\\p");
		emit(t, inside + 2);
	} else if (place != ALONE) {
		if (negated)
			return refuse(t, "this negated property inside a character class");
		emit(t, inside);
	} else {
		emit(t, negated ? "[^" : "[");
		emit(t, inside);
		emit(t, "]");
	}
	return true;
}

/* Reads a name up to `end` into lower case without separators. */
static bool read_name(struct translation *t, const char *end, char name[static 40])
{
	size_t n = 0, n_end = strlen(end);
	for (;; t->at++) {
		if (t->at >= t->n_bytes || n == 39)
			return refuse(t, "a property name that does not end");
		if (t->n_bytes - t->at >= n_end && !memcmp(t->pattern + t->at, end, n_end))
			break;
		char c = t->pattern[t->at];
		if (c == ' ' || c == '_' || c == '-')
			continue;
		c = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9'))
			return refuse(t, "a property name of this kind");
		name[n++] = c;
	}
	t->at += n_end;
	name[n] = 0;
	return n > 0 || refuse(t, "an empty property name");
}

/* \p{Name}, \P{Name}, \p{^Name}; at stands behind the p. */
static bool property_escape(struct translation *t, bool negated, bool in_class)
{
	char name[40] = "";
	if (peek(t, 0) != '{')
		return refuse(t, "\\p without braces");
	t->at++;
	if (peek(t, 0) == '^') {
		t->at++;
		negated = !negated;
	}
	return read_name(t, "}", name) && emit_property(t, name, negated, in_class ? IN_CLASS : ALONE);
}

/* ---- escapes ---- */

static int hex_value(int c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
	                              : -1;
}

/* \xHH, \x{H...} and \uHHHH; at stands behind the letter. */
static bool code_escape(struct translation *t, char letter)
{
	bool braces = letter == 'x' && peek(t, 0) == '{';
	size_t max_digits = braces ? 8 : letter == 'x' ? 2 : 4, n = 0;
	uint32_t code = 0;
	t->at += braces;
	for (; n < max_digits && hex_value(peek(t, 0)) >= 0; n++, t->at++)
		code = code * 16 + (uint32_t)hex_value(peek(t, 0));
	bool closed = !braces || peek(t, 0) == '}';
	t->at += braces && closed;
	if (!closed || n == 0 || (letter == 'u' && n < 4))
		return refuse(t, "an incomplete code point");
	/* \x80 and up are single bytes to Oniguruma. */
	if (code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF) || (letter == 'x' && !braces && code > 0x7F))
		return refuse(t, "this code point");
	size_t start = t->out->n_bytes;
	bytes_append_format(t->out, "\\x{%x}", code);
	return note_literal(t, code, start);
}

static bool class_escape(struct translation *t, char letter, bool in_class)
{
	const char *inside = letter == 's' || letter == 'S'   ? SPACES
	                     : letter == 'w' && in_class      ? WORDS_IN_CLASS
	                     : letter == 'w' || letter == 'W' ? WORDS
	                     : letter == 'h' || letter == 'H' ? "0-9A-Fa-f"
	                                                      : "\\p{Nd}";
	bool negated = letter < 'a';
	if (in_class && negated) {
		if (letter == 'W' || letter == 'H')
			return refuse(t, letter == 'W' ? "\\W inside a character class" : "\\H inside a character class");
		emit(t, letter == 'S' ? NO_SPACES : "\\P{Nd}");
	} else if (in_class) {
		emit(t, inside);
	} else if (letter == 'd' || letter == 'D') {
		emit(t, negated ? "\\P{Nd}" : inside);
	} else {
		emit(t, negated ? "[^" : "[");
		emit(t, inside);
		emit(t, "]");
	}
	return true;
}

/* at stands on the backslash. */
static bool escape(struct translation *t, bool in_class)
{
	static const char simple[] = "nrtfae";
	int letter = peek(t, 1);
	if (letter < 0)
		return refuse(t, "a backslash at the end");
	t->at += 2;
	if (letter >= 0x80) {
		t->at--;
		return true; /* an escaped literal; the character itself follows */
	}
	if (strchr("sSwWhHdD", letter))
		return class_escape(t, (char)letter, in_class);
	if (letter == 'p' || letter == 'P')
		return property_escape(t, letter == 'P', in_class);
	if (letter == 'x' || letter == 'u')
		return code_escape(t, (char)letter);
	if (strchr(simple, letter)) {
		emit(t, (const char[]){'\\', (char)letter, 0});
		return true;
	}
	if (letter == 'v') {
		emit(t, "\\x{b}");
		return true;
	}
	bool alphanumeric =
	    (letter >= '0' && letter <= '9') || (letter >= 'A' && letter <= 'Z') || (letter >= 'a' && letter <= 'z');
	if (!alphanumeric) {
		emit(t, (const char[]){'\\', (char)letter, 0});
		return true;
	}
	if (in_class && letter == 'b') {
		emit(t, "\\x{8}");
		return true;
	}
	if (!in_class && letter == 'b') {
		emit(t, "(?:(?<=[" WORDS "])(?![" WORDS "])|(?<![" WORDS "])(?=[" WORDS "]))");
		return true;
	}
	if (!in_class && letter == 'B') {
		emit(t, "(?:(?<=[" WORDS "])(?=[" WORDS "])|(?<![" WORDS "])(?![" WORDS "]))");
		return true;
	}
	if (!in_class && (letter == 'A' || letter == 'z' || letter == 'Z')) {
		emit(t, (const char[]){'\\', (char)letter, 0});
		return true;
	}
	t->at -= 2;
	char what[] = "escape \\?";
	what[8] = (char)letter;
	return refuse(t, what);
}

/* ---- character classes ---- */

/* [:name:] and [:^name:]; at stands on the '['. */
static bool posix_class(struct translation *t)
{
	char name[40] = "";
	t->at += 2;
	bool negated = peek(t, 0) == '^';
	t->at += negated;
	if (!read_name(t, ":]", name))
		return false;
	if (!property_inside(name, POSIX) || is_general_category(name))
		return refuse(t, "this POSIX class");
	return emit_property(t, name, negated, POSIX);
}

/* A character that stands for itself, in a class or outside. */
static bool literal(struct translation *t)
{
	size_t length, start = t->out->n_bytes;
	uint32_t code = char_decode(t->pattern + t->at, &length);
	if (code == 0)
		emit(t, "\\x{0}");
	else if (code == ']')
		emit(t, "\\]");
	else
		bytes_append(t->out, t->pattern + t->at, length);
	t->at += length;
	return note_literal(t, code, start);
}

/* Behind the "[" or "[^". */
static bool class_items(struct translation *t)
{
	bool dash = false;
	for (bool first = true;; first = false) {
		int c = peek(t, 0);
		t->range = dash;
		dash = false;
		if (c < 0)
			return refuse(t, "a character class without its end");
		if (c == ']' && !first)
			break;
		if (c == '\\') {
			if (!escape(t, true))
				return false;
		} else if (c == '[' && peek(t, 1) == ':') {
			if (!posix_class(t))
				return false;
		} else if (c == '[') {
			return refuse(t, "a character class inside another");
		} else if (c == '&' && peek(t, 1) == '&') {
			return refuse(t, "an intersection of character classes");
		} else if (c == '-' && t->literal_end == t->out->n_bytes) {
			emit(t, "-");
			t->at++;
			dash = true;
		} else if (!literal(t)) {
			return false;
		}
	}
	t->at++;
	emit(t, "]");
	return true;
}

/* at stands on the '['. */
static bool character_class(struct translation *t)
{
	begin_atom(t);
	t->at++;
	emit(t, "[");
	t->in_class = true;
	t->negated = peek(t, 0) == '^';
	if (t->negated) {
		emit(t, "^");
		t->at++;
	}
	bool ok = class_items(t);
	t->in_class = t->negated = t->range = false;
	return ok;
}

/* ---- groups ---- */

/* (?im-im) and (?im-im:; at stands behind the "(?". */
static bool options_group(struct translation *t, size_t start, bool was_start)
{
	bool outside = t->caseless, on = true;
	emit(t, "(?");
	for (;; t->at++) {
		int c = peek(t, 0);
		on = on && c != '-';
		t->caseless = c == 'i' ? on : t->caseless;
		if (c == 'i' || c == '-')
			emit(t, c == 'i' ? "i" : "-");
		else if (c == 'm')
			emit(t, "s");
		else if (c == ':' || c == ')')
			break;
		else
			return refuse(t, "this kind of group or option");
	}
	bool isolated = peek(t, 0) == ')';
	t->at++;
	emit(t, isolated ? ")" : ":");
	if (!isolated) {
		push_group(t, start, outside);
		return true;
	}
	/* In the middle Oniguruma reads a(?i)b|c as a(?i:b|c). */
	if (!was_start)
		return refuse(t, "an option that does not open its group");
	t->group_start = true;
	t->atom = SIZE_MAX;
	return true;
}

static bool skip_past(struct translation *t, char end)
{
	while (peek(t, 0) >= 0 && peek(t, 0) != end)
		t->at++;
	if (peek(t, 0) < 0)
		return refuse(t, "a group without its end");
	t->at++;
	return true;
}

/* at stands on the '('. */
static bool open_group(struct translation *t)
{
	static const char *const kinds[] = {"?:", "?=", "?!", "?>", "?<=", "?<!"};
	bool was_start = t->group_start;
	size_t start = t->out->n_bytes;
	if (t->n_groups == MAX_NESTING)
		return refuse(t, "nesting this deep");
	t->at++;
	if (peek(t, 0) == '*')
		return refuse(t, "a verb or callout");
	if (peek(t, 0) == '?' && peek(t, 1) == '#')
		return skip_past(t, ')');
	const char *kind = NULL;
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		if (t->n_bytes - t->at >= strlen(kinds[i]) && !memcmp(t->pattern + t->at, kinds[i], strlen(kinds[i])))
			kind = kinds[i];
	if (kind) {
		t->at += strlen(kind);
		emit(t, "(");
		emit(t, kind);
	} else if (peek(t, 0) == '?' && peek(t, 1) == '<') {
		if (!skip_past(t, '>'))
			return false;
		emit(t, "(?:");
	} else if (peek(t, 0) == '?') {
		t->at++;
		return options_group(t, start, was_start);
	} else {
		emit(t, "(?:");
	}
	push_group(t, start, t->caseless);
	return true;
}

static bool close_group(struct translation *t)
{
	if (t->n_groups == 0)
		return refuse(t, "a ')' without '('");
	t->at++;
	emit(t, ")");
	t->atom = t->groups[--t->n_groups].start;
	t->caseless = t->groups[t->n_groups].caseless;
	t->repeated = false;
	t->n_wraps = 0;
	t->group_start = false;
	return true;
}

/* ---- quantifiers ---- */

/* Puts (?:...) around the last item. */
static void wrap_atom(struct translation *t)
{
	size_t start = t->atom, n = t->out->n_bytes - start;
	bytes_append(t->out, "(?:)", 4);
	if (t->out->failed)
		return;
	memmove(t->out->data + start + 3, t->out->data + start, n);
	memcpy(t->out->data + start, "(?:", 3);
	t->out->data[start + 3 + n] = ')';
}

static bool begin_quantifier(struct translation *t)
{
	if (t->atom == SIZE_MAX)
		return refuse(t, "a repeat of nothing");
	if (t->repeated && t->n_wraps++ == MAX_WRAPS)
		return refuse(t, "a repeat of this many repeats");
	if (t->repeated)
		wrap_atom(t);
	t->repeated = true;
	return true;
}

static size_t digits_at(const struct translation *t, size_t ahead)
{
	size_t n = 0;
	while (peek(t, ahead + n) >= '0' && peek(t, ahead + n) <= '9')
		n++;
	return n;
}

/* at stands on the '{'. */
static bool braces(struct translation *t)
{
	size_t n_low = digits_at(t, 1), n_high = 0, after = 1 + n_low;
	bool comma = peek(t, after) == ',';
	if (comma) {
		n_high = digits_at(t, after + 1);
		after += 1 + n_high;
	}
	if (peek(t, after) != '}' || n_low + n_high == 0) {
		begin_atom(t);
		emit(t, "\\{");
		t->at++;
		return true;
	}
	if (!begin_quantifier(t))
		return false;
	emit(t, n_low ? "{" : "{0");
	bytes_append(t->out, t->pattern + t->at + 1, after);
	t->at += after + 1;
	if (peek(t, 0) != '?')
		return true;
	if (!comma)
		return refuse(t, "{n}?");
	emit(t, "?");
	t->at++;
	return true;
}

static bool quantifier(struct translation *t)
{
	if (!begin_quantifier(t))
		return false;
	emit(t, (const char[]){(char)peek(t, 0), 0});
	t->at++;
	if (peek(t, 0) == '?' || peek(t, 0) == '+') {
		emit(t, (const char[]){(char)peek(t, 0), 0});
		t->at++;
	}
	return true;
}

static bool translate_item(struct translation *t)
{
	switch (t->pattern[t->at]) {
	case '\\':
		begin_atom(t);
		if (!escape(t, false))
			return false;
		/* What was escaped stands for itself. */
		return t->out->n_bytes > t->atom || t->out->failed || literal(t);
	case '[':
		return character_class(t);
	case '(':
		return open_group(t);
	case ')':
		return close_group(t);
	case '*':
	case '+':
	case '?':
		return quantifier(t);
	case '{':
		return braces(t);
	case '|':
		emit(t, "|");
		t->at++;
		t->atom = SIZE_MAX;
		t->group_start = false;
		return true;
	default:
		begin_atom(t);
		return literal(t);
	}
}

bool regex_translate(const char *pattern, size_t n_bytes, struct bytes *out, struct error *error)
{
	struct translation t = {
	    .pattern = pattern, .n_bytes = n_bytes, .out = out, .error = error, .atom = SIZE_MAX, .group_start = true};
	if (unicode_valid_prefix(pattern, n_bytes) < n_bytes)
		return error_set(error, ERROR_MODEL, "regular expression: not valid UTF-8");
	emit(&t, "");
	bool ok = true;
	while (ok && !out->failed && t.at < n_bytes)
		ok = translate_item(&t);
	if (out->failed)
		return error_set(error, ERROR_MEMORY, "not enough memory for a regular expression");
	if (ok && t.n_groups > 0)
		return error_set(error, ERROR_MODEL, "regular expression: a '(' without ')'");
	return ok;
}
