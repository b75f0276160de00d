/* Formats of the specification, as patterns of whole strings, after the RFCs that it names. Where a format is no regular
 * language, or its tables are not at hand, it is refused (schema.h). */
#include <stdio.h>
#include <string.h>

#include "text/grammar/pattern.h"
#include "text/grammar/schema.h"

#define YEAR "(000[1-9]|00[1-9][0-9]|0[1-9][0-9]{2}|[1-9][0-9]{3})"
#define LEAP "([0-9]{2}(0[48]|[2468][048]|[13579][26])|(0[48]|[2468][048]|[13579][26])00)"
#define DATE                                                                                                           \
	"(" YEAR                                                                                                           \
	"-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))"         \
	"|" LEAP "-02-29)"
#define HOUR   "([01][0-9]|2[0-3])"
#define MINUTE "[0-5][0-9]"
#define TIME   HOUR ":" MINUTE ":" MINUTE "(\\.[0-9]+)?([zZ]|[+-]" HOUR ":" MINUTE ")"
#define IPV4   "((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(\\.(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])){3})"
#define H16    "[0-9A-Fa-f]{1,4}"
#define LS32   "(" H16 ":" H16 "|" IPV4 ")"
#define IPV6                                                                                                           \
	"((" H16 ":){6}" LS32 "|::(" H16 ":){5}" LS32 "|(" H16 ")?::(" H16 ":){4}" LS32 "|((" H16 ":){0,1}" H16            \
	")?::(" H16 ":){3}" LS32 "|((" H16 ":){0,2}" H16 ")?::(" H16 ":){2}" LS32 "|((" H16 ":){0,3}" H16 ")?::" H16       \
	":" LS32 "|((" H16 ":){0,4}" H16 ")?::" LS32 "|((" H16 ":){0,5}" H16 ")?::" H16 "|((" H16 ":){0,6}" H16 ")?::)"
#define LABEL  "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
#define DOMAIN "(" LABEL "(\\." LABEL ")*)"
#define ATOM   "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
/* Of at most 64 bytes, RFC 5321, 4.5.3.1.1; who reads addresses holds to that. */
#define DOTTED "(?=[^@]{1,64}@)" ATOM "(\\." ATOM ")*"
#define PCT    "%[0-9A-Fa-f]{2}"
#define UCS                                                                                                            \
	"\\u{A0}-\\u{D7FF}\\u{F900}-\\u{FDCF}\\u{FDF0}-\\u{FFEF}\\u{10000}-\\u{1FFFD}\\u{20000}-\\u{2FFFD}"                \
	"\\u{30000}-\\u{3FFFD}\\u{40000}-\\u{4FFFD}\\u{50000}-\\u{5FFFD}\\u{60000}-\\u{6FFFD}\\u{70000}-\\u{7FFFD}"        \
	"\\u{80000}-\\u{8FFFD}\\u{90000}-\\u{9FFFD}\\u{A0000}-\\u{AFFFD}\\u{B0000}-\\u{BFFFD}\\u{C0000}-\\u{CFFFD}"        \
	"\\u{D0000}-\\u{DFFFD}\\u{E1000}-\\u{EFFFD}"
/* RFC 3986 and, with the characters of UCS, RFC 3987. */
#define UNRES(u)   "A-Za-z0-9._~" u "!$&'()*+,;="
#define SEG(u)     "([" UNRES(u) ":@-]|" PCT ")"
#define HOST(u)    "(\\[(" IPV6 "|[vV][0-9A-Fa-f]+\\.[" UNRES("") ":-]+)\\]|([" UNRES(u) "-]|" PCT ")*)"
#define AUTH(u)    "(([" UNRES(u) ":-]|" PCT ")*@)?" HOST(u) "(:[0-9]*)?"
#define PATHS(u)   "(/" SEG(u) "*)*"
#define PRIVATE    "\\u{E000}-\\u{F8FF}\\u{F0000}-\\u{FFFFD}\\u{100000}-\\u{10FFFD}"
#define TAIL(u, p) "(\\?(" SEG(u) "|[/?" p "])*)?(#(" SEG(u) "|[/?])*)?"
#define URI(u, p)                                                                                                      \
	"[A-Za-z][A-Za-z0-9+.-]*:(//" AUTH(u) PATHS(u) "|/(" SEG(u) "+" PATHS(u) ")?|" SEG(u) "+" PATHS(u) "|)" TAIL(u, p)
#define RELATIVE(u, p)                                                                                                 \
	"(//" AUTH(u) PATHS(u) "|/(" SEG(u) "+" PATHS(u) ")?|([" UNRES(u) "@-]|" PCT ")+" PATHS(u) "|)" TAIL(u, p)
/* RFC 6570 with its erratum 6937, which allows the apostrophe. */
#define VARCHAR     "([A-Za-z0-9_]|" PCT ")"
#define VARSPEC     VARCHAR "(\\.?" VARCHAR ")*(:[1-9][0-9]{0,3}|\\*)?"
#define EXPRESSION  "\\{[+#./;?&=,!@|]?" VARSPEC "(," VARSPEC ")*\\}"
#define TEMPLATE    "([!#$&'(-;=?-\\[\\]_a-z~" UCS PRIVATE "]|" PCT "|" EXPRESSION ")*"
#define POINTER     "(/([^~/]|~[01])*)*"
#define SECONDS     "[0-9]+S"
#define MINUTES     "[0-9]+M(" SECONDS ")?"
#define SPAN_TIME   "T([0-9]+H(" MINUTES ")?|" MINUTES "|" SECONDS ")"
#define SPAN_MONTHS "[0-9]+M([0-9]+D)?"
#define SPAN_DATE   "([0-9]+D|" SPAN_MONTHS "|[0-9]+Y(" SPAN_MONTHS ")?)"

static const struct {
	const char *name, *pattern; /* NULL: refused */
	bool leaps;                 /* and with leap seconds */
	bool counts;                /* with numbers of any length */
} formats[] = {
    {"date", DATE, false, false},
    {"time", TIME, true, true},
    {"date-time", DATE "[tT]" TIME, true, true},
    {"duration", "P(" SPAN_DATE "(" SPAN_TIME ")?|" SPAN_TIME "|[0-9]+W)", false, true},
    {"email", "(" DOTTED "|\"([ !#-\\[\\]-~]|\\\\[ -~])*\")@(" DOMAIN "|\\[(" IPV4 "|[iI][pP][vV]6:" IPV6 ")\\])",
     false, false},
    {"hostname", NULL, false, false},
    {"idn-email", NULL, false, false},
    {"idn-hostname", NULL, false, false},
    {"ipv4", IPV4, false, false},
    {"ipv6", IPV6, false, false},
    {"uri", URI("", ""), false, false},
    {"uri-reference", URI("", "") "|" RELATIVE("", ""), false, false},
    {"iri", URI(UCS, PRIVATE), false, false},
    {"iri-reference", URI(UCS, PRIVATE) "|" RELATIVE(UCS, PRIVATE), false, false},
    {"uri-template", TEMPLATE, false, false},
    {"uuid", "[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}", false, false},
    {"json-pointer", POINTER, false, false},
    {"relative-json-pointer", "(0|[1-9][0-9]*)(#|" POINTER ")", false, false},
    {"regex", NULL, false, false},
};

static uint32_t from_pattern(struct schema *s, const char *pattern)
{
	struct pattern_fault fault;
	uint32_t language = pattern_compile(s->l, pattern, strlen(pattern), true, &fault);
	if (fault.why)
		schema_too_large(s);
	return language;
}

/* hh:mm:60 with the offset that makes it 23:59:60 UTC. */
static uint32_t leap_seconds(struct schema *s)
{
	enum { DAY = 24 * 60, LAST = DAY - 1 };
	struct languages *l = s->l;
	uint32_t hours[24], fraction = from_pattern(s, "(\\.[0-9]+)?");
	for (int hour = 0; hour < 24; hour++) {
		uint32_t minutes[60];
		for (int minute = 0; minute < 60; minute++) {
			int east = (hour * 60 + minute - LAST + DAY) % DAY, west = (LAST - hour * 60 - minute) % DAY;
			char text[2][16], start[16];
			snprintf(text[0], sizeof text[0], "+%02d:%02d", east / 60 % 24, east % 60);
			snprintf(text[1], sizeof text[1], "-%02d:%02d", west / 60 % 24, west % 60);
			snprintf(start, sizeof start, "%02d:60", minute % 60);
			uint32_t zone = language_either(l, language_text(l, text[0], 6), language_text(l, text[1], 6));
			if (east == 0)
				zone = language_either(l, zone, from_pattern(s, "[zZ]"));
			minutes[minute] = language_sequence(l, language_text(l, start, 5), language_sequence(l, fraction, zone));
		}
		char text[16];
		snprintf(text, sizeof text, "%02d:", hour);
		hours[hour] = language_sequence(l, language_text(l, text, 3), language_either_of(l, minutes, 60));
	}
	return language_either_of(l, hours, 24);
}

uint32_t schema_format_written(struct schema *s, const char *name, uint32_t language)
{
	for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
		if (formats[i].counts && strcmp(formats[i].name, name) == 0)
			return language_both(s->l, language, from_pattern(s, "(?!.*[0-9]{10}).*"));
	return language;
}

bool schema_format(struct schema *s, const struct json *place, const char *name, uint32_t *language)
{
	size_t i = 0, n = sizeof formats / sizeof *formats;
	while (i < n && strcmp(formats[i].name, name) != 0)
		i++;
	if (i == n)
		return false;
	*language = LANGUAGE_NONE;
	if (!formats[i].pattern) {
		schema_refuse(s, place, "the format \"%s\" is not supported", name);
		return true;
	}
	struct schema_fact fact = {.kind = FACT_FORMAT, .a = (uint32_t)i};
	const struct schema_fact *known = schema_fact(s, fact);
	if (known) {
		*language = known->value;
		return true;
	}
	*language = from_pattern(s, formats[i].pattern);
	if (formats[i].leaps) {
		uint32_t leaps = leap_seconds(s);
		if (strcmp(name, "date-time") == 0)
			leaps = language_sequence(s->l, from_pattern(s, DATE "[tT]"), leaps);
		*language = language_either(s->l, *language, leaps);
	}
	fact.value = *language;
	schema_learn(s, fact);
	return true;
}
