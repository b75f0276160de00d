/* Filters that make numbers, and how Python reads and rounds them. */
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/template/calls.h"
#include "text/template/characters.h"
#include "text/unicode.h"

/* ---- text to numbers ---- */

enum { MAX_DIGITS = 400 };

/* What an underscore may stand between: decimal digits, and in an integer the digits of any base and its prefix. */
static bool beside_underscore(char c, bool is_float)
{
	return (c >= '0' && c <= '9') || (c & 0x80) || (!is_float && (c | 32) >= 'a' && (c | 32) <= 'z');
}

/* Without white space around it and underscores between digits, which Python allows; false when it is too long or an
 * underscore stands elsewhere. */
static bool plain_number(const char *text, size_t n, bool is_float, char out[MAX_DIGITS])
{
	size_t length, kept = 0, end = n, start = 0;
	while (start < end && char_is_python_space(char_decode(text + start, &length)))
		start += length;
	while (end > start) {
		size_t last = char_before(text, end);
		if (!char_is_python_space(char_decode(text + last, &length)))
			break;
		end = last;
	}
	for (size_t i = start; i < end; i += length) {
		uint32_t code = char_decode(text + i, &length);
		if (text[i] == '_') {
			bool between = i > start && i + 1 < end && beside_underscore(text[i - 1], is_float) &&
			               beside_underscore(text[i + 1], is_float);
			if (!between)
				return false;
			continue;
		}
		if (kept == MAX_DIGITS - 1 || code == 0 || (code >= 0x80 && !char_is_decimal(code)))
			return false;
		out[kept++] = code < 0x80 ? text[i] : (char)('0' + char_decimal(code));
	}
	out[kept] = 0;
	return kept > 0;
}

static int digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return (c | 32) >= 'a' && (c | 32) <= 'z' ? (c | 32) - 'a' + 10 : 99;
}

/* The base that a prefix names; 0: none. */
static int prefix_base(const char *text)
{
	if (text[0] != '0' || !text[1])
		return 0;
	return (text[1] | 32) == 'x' ? 16 : (text[1] | 32) == 'o' ? 8 : (text[1] | 32) == 'b' ? 2 : 0;
}

bool text_to_int(const char *text, size_t n_bytes, int base, int64_t *out, bool *too_large)
{
	char digits[MAX_DIGITS];
	if (!plain_number(text, n_bytes, false, digits))
		return false;
	const char *at = digits;
	bool negative = *at == '-';
	at += *at == '-' || *at == '+';
	int named = prefix_base(at);
	if (named && (base == 0 || base == named))
		at += 2;
	if (base == 0)
		base = named ? named : 10;
	uint64_t value = 0;
	if (!*at)
		return false;
	for (; *at; at++) {
		int digit = digit_of(*at);
		if (digit >= base)
			return false;
		if (__builtin_mul_overflow(value, (uint64_t)base, &value) ||
		    __builtin_add_overflow(value, (uint64_t)digit, &value) || value > (uint64_t)INT64_MAX) {
			*too_large = true;
			return false;
		}
	}
	*out = negative ? -(int64_t)value : (int64_t)value;
	return true;
}

static pthread_once_t c_locale_once = PTHREAD_ONCE_INIT;
static locale_t c_locale;

static void make_c_locale(void)
{
	c_locale = newlocale(LC_ALL_MASK, "C", NULL);
}

bool text_to_float(const char *text, size_t n_bytes, double *out)
{
	static const char *const words[] = {"inf", "infinity", "nan"};
	char digits[MAX_DIGITS], *end;
	if (!plain_number(text, n_bytes, true, digits))
		return false;
	const char *at = digits + (*digits == '-' || *digits == '+');
	bool word = false;
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		word |= strcasecmp(at, words[i]) == 0;
	if (!word && strspn(at, "0123456789.eE+-") != strlen(at))
		return false; /* hexadecimal, say */
	pthread_once(&c_locale_once, make_c_locale);
	*out = c_locale ? strtod_l(digits, &end, c_locale) : strtod(digits, &end);
	return *end == 0 && end != digits;
}

/* ---- rounding ---- */

enum { MAX_PLACES = 323 }; /* no double has a digit behind them that says how it is rounded */

double double_round(double number, int digits)
{
	char text[400];
	double rounded;
	if (!isfinite(number) || digits > MAX_PLACES || (digits >= 0 && fabs(number) >= 0x1p52))
		return number; /* there is nothing behind the point */
	if (digits < -308)
		return copysign(0, number);
	if (digits < 0) {
		double scale = pow(10, -digits);
		return rint(number / scale) * scale; /* rint: ties to even */
	}
	/* printf rounds the exact binary value, ties to even: what Python's round does. */
	snprintf(text, sizeof text, "%.*f", digits, number);
	return text_to_float(text, strlen(text), &rounded) ? rounded : number;
}

/* To a multiple of 10 ** n_zeros, ties to even ones, as Python rounds integers. */
static bool integer_round(struct render *r, int64_t number, int64_t n_zeros, int64_t *out)
{
	uint64_t unit = 1, magnitude = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
	for (int64_t i = 0; i < n_zeros; i++)
		if (__builtin_mul_overflow(unit, 10, &unit)) {
			*out = 0; /* half of it is more than any integer */
			return true;
		}
	uint64_t rest = magnitude % unit, low = magnitude - rest, half = unit / 2;
	bool up = n_zeros > 0 && (rest > half || (rest == half && low / unit % 2 == 1));
	if (up && unit > (uint64_t)INT64_MAX - low)
		return render_overflow(r);
	low += up ? unit : 0;
	*out = number < 0 ? (int64_t)(0 - low) : (int64_t)low;
	return true;
}

static bool fail_number(struct render *r, const struct call *call, const char *what)
{
	return render_fail(r, "TypeError", "%s: '%s' is no number", what, value_type_name(&call->input));
}

static bool filter_round(struct render *r, const struct call *call, struct value *out)
{
	int64_t precision = 0;
	const struct value *method = &call->slot[1];
	bool common = !slot_given(call, 1) || value_is_text(method, "common", 6);
	bool up = !common && value_is_text(method, "ceil", 4);
	if (!common && !up && !value_is_text(method, "floor", 5))
		return render_fail(r, "FilterArgumentError", "method must be common, ceil or floor");
	if (!slot_int(r, call, 0, &precision))
		return false;
	if (!value_is_number(&call->input))
		return fail_number(r, call, "round");
	double number = value_as_double(&call->input);
	if (!float_steps(r, number))
		return false;
	precision = precision > 400 ? 400 : precision < -400 ? -400 : precision;
	if (precision > 0 && !render_step(r, (uint64_t)precision / 8))
		return false;
	if (common && call->input.kind != VALUE_FLOAT) {
		int64_t integer = 0;
		value_integral(&call->input, &integer);
		if (precision < 0 && !integer_round(r, integer, -precision, &integer))
			return false;
		*out = value_int(integer);
	} else if (common) {
		*out = value_float(double_round(number, (int)precision));
	} else {
		double scale = pow(10, (double)precision), scaled = number * scale;
		if (isinf(scale))
			return render_fail(r, "OverflowError", "int too large to convert to float");
		if (scale == 0)
			return render_fail(r, "ZeroDivisionError", "float division by zero");
		if (!isfinite(scaled))
			return render_fail(r, isnan(scaled) ? "ValueError" : "OverflowError", "cannot convert float %s to integer",
			                   isnan(scaled) ? "NaN" : "infinity");
		*out = value_float(((up ? ceil(scaled) : floor(scaled)) + 0.0) / scale); /* an integer, no -0.0 */
	}
	out->from_data = call->input.from_data;
	return true;
}

static bool float_to_int(struct render *r, double number, const struct value *fallback, struct value *out)
{
	if (!isfinite(number)) {
		*out = *fallback;
		return true;
	}
	if (!(number > -9.2e18 && number < 9.2e18))
		return render_overflow(r);
	*out = value_int((int64_t)number);
	return true;
}

static bool filter_int(struct render *r, const struct call *call, struct value *out)
{
	struct value fallback = slot_given(call, 0) ? call->slot[0] : value_int(0);
	const struct value *input = &call->input;
	int64_t base = 10, integer = 0;
	double number;
	bool too_large = false, ok = true, known = !slot_given(call, 1) || value_integral(&call->slot[1], &base);
	if (input->kind == VALUE_UNDEFINED)
		return value_undefined_fail(r, input);
	if (input->kind == VALUE_STRING) {
		const struct string *s = input->string;
		if (!render_step(r, s->n_bytes / 16))
			return false;
		known &= base == 0 || (base >= 2 && base <= 36); /* else the text may still be a float */
		if (known && text_to_int(s->bytes, s->n_bytes, (int)base, &integer, &too_large))
			*out = value_int(integer);
		else if (too_large)
			return render_overflow(r);
		else if (text_to_float(s->bytes, s->n_bytes, &number))
			ok = float_to_int(r, number, &fallback, out);
		else
			*out = fallback;
		out->from_data = s->from_data || s->marks;
		return ok;
	}
	if (input->kind == VALUE_FLOAT && isinf(input->number))
		return render_fail(r, "OverflowError", "cannot convert float infinity to integer");
	if (input->kind == VALUE_FLOAT)
		ok = float_to_int(r, input->number, &fallback, out);
	else if (value_integral(input, &integer))
		*out = value_int(integer);
	else
		*out = input->kind == VALUE_BIG ? *input : fallback;
	if (ok)
		out->from_data |= input->from_data;
	return ok;
}

/* Whose a number is that is read in a text. */
static bool number_from_data(const struct value *value)
{
	return value->from_data || (value->kind == VALUE_STRING && (value->string->from_data || value->string->marks));
}

static bool filter_float(struct render *r, const struct call *call, struct value *out)
{
	const struct value *input = &call->input;
	bool is_text = input->kind == VALUE_STRING || input->kind == VALUE_BIG;
	double number;
	if (input->kind == VALUE_UNDEFINED)
		return value_undefined_fail(r, input);
	if (is_text && !render_step(r, input->string->n_bytes / 16))
		return false;
	if (value_is_number(input))
		*out = value_float(value_as_double(input));
	else if (is_text && text_to_float(input->string->bytes, input->string->n_bytes, &number))
		*out = value_float(number);
	else
		*out = slot_given(call, 0) ? call->slot[0] : value_float(0);
	out->from_data |= number_from_data(input);
	return true;
}

static bool filter_abs(struct render *r, const struct call *call, struct value *out)
{
	int64_t integer;
	if (call->input.kind == VALUE_FLOAT)
		*out = value_float(fabs(call->input.number));
	else if (!value_integral(&call->input, &integer))
		return fail_number(r, call, "abs");
	else if (integer == INT64_MIN)
		return render_overflow(r);
	else
		*out = value_int(integer < 0 ? -integer : integer);
	out->from_data = call->input.from_data;
	return true;
}

static bool filter_filesizeformat(struct render *r, const struct call *call, struct value *out)
{
	static const char *const names[] = {"k", "M", "G", "T", "P", "E", "Z", "Y"};
	const struct value *input = &call->input;
	struct builder b = {.r = r};
	char text[64];
	bool binary = slot_true(call, 0), is_text = input->kind == VALUE_STRING || input->kind == VALUE_BIG;
	double bytes = value_is_number(input) ? value_as_double(input) : 0, base = binary ? 1024 : 1000, unit;
	if (input->kind == VALUE_UNDEFINED)
		return value_undefined_fail(r, input);
	if (!value_is_number(input) && !is_text)
		return fail_number(r, call, "filesizeformat");
	if (is_text && !render_step(r, input->string->n_bytes / 16))
		return false;
	if (is_text && !text_to_float(input->string->bytes, input->string->n_bytes, &bytes))
		return render_fail(r, "ValueError", "could not convert string to float");
	if (!float_steps(r, bytes))
		return false;
	bool from_data = number_from_data(input);
	if (bytes == 1)
		return value_text(r, "1 Byte", 6, from_data, out);
	if (bytes < base) {
		snprintf(text, sizeof text, "%.0f Bytes", trunc(bytes));
	} else {
		int i = 0;
		for (unit = base * base; bytes >= unit && i < 7; i++)
			unit *= base;
		snprintf(text, sizeof text, "%.1f %s%sB", base * bytes / unit, i == 0 && binary ? "K" : names[i],
		         binary ? "i" : "");
	}
	builder_add(&b, text, strlen(text), from_data);
	return builder_finish(&b, out);
}

const struct row number_filters[] = {
    {"round", "precision method", 0, filter_round, NULL},
    {"int", "default base", 0, filter_int, NULL},
    {"float", "default", 0, filter_float, NULL},
    {"abs", "", 0, filter_abs, NULL},
    {"filesizeformat", "binary", 0, filter_filesizeformat, NULL},
    {NULL, NULL, 0, NULL, NULL},
};
