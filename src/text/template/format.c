/* "..." % values, and dates. */
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "text/template/format_spec.h"

/* ---- "%s" % x ---- */

struct percent {
	struct render *r;
	const struct string *format;
	bool escapes;
	size_t at;
	const struct value *arguments; /* a tuple, a dict, or the only value */
	size_t next;                   /* of the tuple */
	struct builder out;
};

static bool fail_format(struct percent *p, const char *message)
{
	return render_fail(p->r, "TypeError", "%s", message);
}

static bool take_value(struct percent *p, struct value *out)
{
	const struct value *arguments = p->arguments;
	size_t n = arguments->kind == VALUE_TUPLE ? arguments->list->n_items : 1;
	if (p->next >= n)
		return fail_format(p, "not enough arguments for format string");
	*out = arguments->kind == VALUE_TUPLE ? arguments->list->items[p->next] : *arguments;
	p->next++;
	return true;
}

/* What (name) may be looked up in, and what need not be used up: whatever has items and is neither tuple nor text. */
static bool is_mapping(const struct value *value)
{
	return value->kind == VALUE_DICT || value->kind == VALUE_LIST || value->kind == VALUE_RANGE ||
	       value->kind == VALUE_UNDEFINED;
}

/* (name) */
static bool take_key(struct percent *p, struct value *out)
{
	const struct string *s = p->format;
	size_t start = ++p->at;
	int depth = 1;
	for (; p->at < s->n_bytes && depth > 0; p->at++)
		depth += (s->bytes[p->at] == '(') - (s->bytes[p->at] == ')');
	if (depth > 0)
		return render_fail(p->r, "ValueError", "incomplete format key");
	if (!is_mapping(p->arguments))
		return fail_format(p, "format requires a mapping");
	if (p->arguments->kind == VALUE_UNDEFINED)
		return value_undefined_fail(p->r, p->arguments);
	if (p->arguments->kind != VALUE_DICT)
		return fail_format(p, "indices must be integers or slices, not str");
	const struct value *found;
	if (!dict_find_text(p->r, p->arguments->dict, s->bytes + start, p->at - 1 - start, &found))
		return false;
	if (!found)
		return render_fail(p->r, "KeyError", "'%.*s'", (int)(p->at - 1 - start > 80 ? 80 : p->at - 1 - start),
		                   s->bytes + start);
	*out = *found;
	p->next = 1; /* the dict itself is no value any more */
	return true;
}

static bool read_number(struct percent *p, int64_t *out)
{
	struct value value = {.kind = VALUE_MISSING};
	if (p->at < p->format->n_bytes && p->format->bytes[p->at] == '*') {
		p->at++;
		if (!take_value(p, &value))
			return false;
		if (!value_integral(&value, out) || *out > FORMAT_MAX_WIDTH || *out < -FORMAT_MAX_WIDTH)
			return fail_format(p, "* wants int");
		return true;
	}
	return format_read_int(p->format, &p->at, out) || render_fail(p->r, "ValueError", "width too big");
}

static bool read_percent_spec(struct percent *p, struct format_spec *spec, struct value *keyed)
{
	const struct string *s = p->format;
	*spec = (struct format_spec){.precision = -1};
	*keyed = (struct value){.kind = VALUE_MISSING};
	if (p->at < s->n_bytes && s->bytes[p->at] == '(' && !take_key(p, keyed))
		return false;
	bool left = false;
	for (; p->at < s->n_bytes && strchr("-+ #0", s->bytes[p->at]) && s->bytes[p->at]; p->at++) {
		char flag = s->bytes[p->at];
		left |= flag == '-';
		spec->zero |= flag == '0';
		spec->alternate |= flag == '#';
		if (flag == '+' || (flag == ' ' && !spec->sign))
			spec->sign = flag;
	}
	if (!read_number(p, &spec->width))
		return false;
	if (spec->width < 0) {
		left = true;
		spec->width = -spec->width;
	}
	if (p->at < s->n_bytes && s->bytes[p->at] == '.') {
		p->at++;
		if (!read_number(p, &spec->precision))
			return false;
		spec->precision = spec->precision < 0 ? 0 : spec->precision;
	}
	while (p->at < s->n_bytes && strchr("hlL", s->bytes[p->at]) && s->bytes[p->at])
		p->at++;
	if (p->at >= s->n_bytes)
		return render_fail(p->r, "ValueError", "incomplete format");
	spec->type = s->bytes[p->at++];
	spec->align = left ? '<' : '>';
	return true;
}

static bool percent_text(struct percent *p, struct format_spec *spec, const struct value *value, struct value *out)
{
	bool ok = spec->type == 's'   ? value_str(p->r, value, out)
	          : spec->type == 'r' ? value_repr(p->r, value, out)
	                              : value_ascii(p->r, value, out);
	if (!ok)
		return false;
	if (p->escapes && !(spec->type == 's' && value_is_safe(value))) {
		struct value plain = *out;
		if (!string_escape(p->r, plain.string, out))
			return false;
	}
	if (spec->precision >= 0 && spec->precision < string_chars(out->string)) {
		struct value whole = *out;
		return string_slice(p->r, whole.string, 0, string_offset(whole.string, spec->precision), out);
	}
	return true;
}

static bool percent_number(struct percent *p, struct format_spec *spec, const struct value *value, struct value *out)
{
	struct builder digits = {.r = p->r};
	struct value number = *value;
	bool to_integer = strchr("diu", spec->type);
	if (spec->type == 'c' && value->kind == VALUE_STRING && !p->escapes) {
		*out = *value;
		return string_chars(value->string) == 1 || fail_format(p, "%c requires int or char");
	}
	if (value->kind == VALUE_UNDEFINED && !strchr("oxXc", spec->type))
		return value_undefined_fail(p->r, value);
	if (!value_is_number(value) || ((value->kind == VALUE_FLOAT || p->escapes) && strchr("oxXc", spec->type)))
		return render_fail(p->r, "TypeError", "%%%c format: %s is required, not %s", spec->type,
		                   strchr("oxX", spec->type) ? "an integer" : "a real number", value_type_name(value));
	if (to_integer && value->kind == VALUE_FLOAT) {
		if (isnan(value->number))
			return render_fail(p->r, "ValueError", "cannot convert float NaN to integer");
		if (!(value->number > -9e18 && value->number < 9e18))
			return render_fail(p->r, "OverflowError", "cannot convert float to integer");
		number = value_int((int64_t)value->number);
		number.from_data = value->from_data;
	}
	if (to_integer)
		spec->type = 'd';
	if (spec->zero && spec->type != 'c' && spec->align != '<') {
		spec->align = '=';
		spec->fill = (struct string){.bytes = "0", .n_bytes = 1, .n_chars = 1};
	}
	return format_number(p->r, spec, &number, &digits) && builder_finish(&digits, out);
}

static bool percent_field(struct percent *p)
{
	struct format_spec spec;
	struct value value, text = {.kind = VALUE_MISSING};
	if (p->at < p->format->n_bytes && p->format->bytes[p->at] == '%') {
		builder_add_string(&p->out, p->format, p->at, p->at + 1);
		p->at++;
		return true;
	}
	if (!read_percent_spec(p, &spec, &value) || (value.kind == VALUE_MISSING && !take_value(p, &value)))
		return false;
	if (!spec.type || !strchr("sradiuoxXeEfFgGc", spec.type))
		return render_fail(p->r, "ValueError", "unsupported format character '%c'", spec.type);
	bool is_text = spec.type == 's' || spec.type == 'r' || spec.type == 'a';
	if (!(is_text ? percent_text(p, &spec, &value, &text) : percent_number(p, &spec, &value, &text)))
		return false;
	format_pad(&p->out, &spec, text.string, true);
	return !p->out.failed;
}

bool format_percent(struct render *r, const struct value *text, const struct value *arguments, struct value *out)
{
	const struct string *format = text->string;
	struct percent p = {.r = r, .format = format, .escapes = text->safe, .arguments = arguments, .out.r = r};
	while (p.at < format->n_bytes) {
		const char *mark = memchr(format->bytes + p.at, '%', format->n_bytes - p.at);
		size_t end = mark ? (size_t)(mark - format->bytes) : format->n_bytes;
		builder_add_string(&p.out, format, p.at, end);
		p.at = end + 1;
		if (mark && (!render_step(r, 1) || !percent_field(&p)))
			return false;
	}
	size_t n = arguments->kind == VALUE_TUPLE ? arguments->list->n_items : 1;
	if (p.next < n && !is_mapping(arguments))
		return fail_format(&p, "not all arguments converted during string formatting");
	if (!builder_finish(&p.out, out))
		return false;
	out->safe = text->safe;
	return true;
}

/* ---- strftime ---- */

static pthread_once_t c_locale_once = PTHREAD_ONCE_INIT;
static locale_t c_locale;

static void make_c_locale(void)
{
	c_locale = newlocale(LC_ALL_MASK, "C", NULL);
}

static struct tm broken_down(const struct template_time *now)
{
	struct tm tm = {.tm_year = now->year - 1900,
	                .tm_mon = now->month - 1,
	                .tm_mday = now->day,
	                .tm_hour = now->hour,
	                .tm_min = now->minute,
	                .tm_sec = now->second,
	                .tm_isdst = -1};
	struct tm day = {.tm_year = tm.tm_year, .tm_mon = tm.tm_mon, .tm_mday = tm.tm_mday, .tm_hour = 12};
	timegm(&day); /* fills in the day of the week and of the year */
	tm.tm_wday = day.tm_wday;
	tm.tm_yday = day.tm_yday;
	return tm;
}

/* One directive, "%-d" say; its length, 0 when it is none. */
static size_t directive_length(const struct string *s, size_t at)
{
	size_t n = 1;
	while (at + n < s->n_bytes && s->bytes[at + n] && strchr("-_0^#", s->bytes[at + n]))
		n++;
	return at + n < s->n_bytes && s->bytes[at + n] &&
	               strchr("aAwdbBmyYHIpMSfzZjUWcxX%GuVCDeFghklnPrRsTt", s->bytes[at + n])
	           ? n + 1
	           : 0;
}

bool format_time(struct render *r, const struct string *format, struct value *out)
{
	struct builder b = {.r = r};
	struct tm tm = broken_down(&r->now);
	pthread_once(&c_locale_once, make_c_locale);
	for (size_t at = 0; at < format->n_bytes && !b.failed;) {
		size_t n = format->bytes[at] == '%' ? directive_length(format, at) : 0;
		char pattern[16] = "", text[128] = "";
		if (!render_step(r, 1))
			return false;
		if (n == 0 || n >= sizeof pattern) {
			builder_add_string(&b, format, at, at + 1);
			at++;
			continue;
		}
		memcpy(pattern, format->bytes + at, n);
		char last = pattern[n - 1];
		if (last == 'f')
			snprintf(text, sizeof text, "%06d", r->now.microsecond % 1000000);
		else if (last != 'z' && last != 'Z' && c_locale) /* a time without a zone has no name of one */
			strftime_l(text, sizeof text, pattern, &tm, c_locale);
		builder_add(&b, text, strlen(text), string_byte_from_data(format, at));
		at += n;
	}
	return builder_finish(&b, out);
}
