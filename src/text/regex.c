/* Running translated expressions with PCRE2 (JIT where it can be had), within limits.
 *
 * Limits: PCRE2's match limit bounds the backtracking at one place of the text, linear in the text since a run of n
 * spaces may take n steps. The search goes forward in windows, and between two calls the thread's own CPU time is
 * looked at, so that an expression that is slow at every place (quadratic in the text) ends in an error too, and a
 * busy machine does not cause one.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/regex.h"

#include <pcre2.h>
#include <stdlib.h>
#include <time.h>

#include "base/utf8.h"
#include "text/unicode.h"

enum {
	MAX_PATTERN_BYTES = 1 << 16,
	FIRST_WINDOW_BYTES = 32,
	MAX_WINDOW_BYTES = 1 << 16,
	JIT_STACK_BYTES = 64 << 20, /* reserved, not used, until an expression needs it */
	HEAP_LIMIT_KIB = 64 << 10,
	CALLS_PER_CLOCK = 256,
};
static const int64_t BUDGET_NS = 4000000000, BUDGET_NS_PER_BYTE = 2000;

struct regex {
	pcre2_code *code;
};

struct regex_scratch {
	pcre2_match_data *data;
	pcre2_match_context *context;
	pcre2_jit_stack *stack; /* only once 32 KiB of the machine's stack were not enough */
	struct regex_clock *clock, own_clock;
	struct bytes known; /* a text with stand-ins */
};

struct regex *regex_compile(const char *pattern, size_t n_bytes, struct error *error)
{
	if (n_bytes > MAX_PATTERN_BYTES) {
		error_set(error, ERROR_MODEL, "regular expression of %zu bytes, at most %d are taken", n_bytes,
		          MAX_PATTERN_BYTES);
		return NULL;
	}
	struct bytes translated = {0};
	struct regex *regex = NULL;
	pcre2_compile_context *context = pcre2_compile_context_create(NULL);
	if (!context)
		error_set(error, ERROR_MEMORY, "not enough memory for a regular expression");
	else if (regex_translate(pattern, n_bytes, &translated, error)) {
		int code = 0;
		PCRE2_SIZE offset = 0;
		pcre2_set_newline(context, PCRE2_NEWLINE_LF);
		uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NO_AUTO_CAPTURE | PCRE2_NEVER_BACKSLASH_C |
		                   PCRE2_USE_OFFSET_LIMIT;
		pcre2_code *compiled =
		    pcre2_compile((PCRE2_SPTR)translated.data, translated.n_bytes, options, &code, &offset, context);
		if (!compiled) {
			char message[128];
			pcre2_get_error_message(code, (PCRE2_UCHAR *)message, sizeof message);
			error_set(error, ERROR_MODEL, "regular expression: %s", message);
		} else if (!(regex = malloc(sizeof *regex))) {
			pcre2_code_free(compiled);
			error_set(error, ERROR_MEMORY, "not enough memory for a regular expression");
		} else {
			regex->code = compiled;
			/* Without JIT (forbidden, or no such machine) PCRE2 interprets: slower, same matches. */
			pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE);
		}
	}
	pcre2_compile_context_free(context);
	bytes_free(&translated);
	return regex;
}

void regex_destroy(struct regex *regex)
{
	if (!regex)
		return;
	pcre2_code_free(regex->code);
	free(regex);
}

size_t regex_bytes(const struct regex *regex)
{
	size_t code = 0, jit = 0;
	pcre2_pattern_info(regex->code, PCRE2_INFO_SIZE, &code);
	pcre2_pattern_info(regex->code, PCRE2_INFO_JITSIZE, &jit);
	return sizeof *regex + code + jit;
}

struct regex_scratch *regex_scratch_create(struct regex_clock *clock, struct error *error)
{
	struct regex_scratch *scratch = calloc(1, sizeof *scratch);
	if (scratch) {
		scratch->clock = clock ? clock : &scratch->own_clock;
		scratch->data = pcre2_match_data_create(1, NULL);
		scratch->context = pcre2_match_context_create(NULL);
		if (scratch->data && scratch->context) {
			pcre2_set_heap_limit(scratch->context, HEAP_LIMIT_KIB);
			return scratch;
		}
	}
	regex_scratch_destroy(scratch);
	error_set(error, ERROR_MEMORY, "not enough memory to match a regular expression");
	return NULL;
}

void regex_scratch_destroy(struct regex_scratch *scratch)
{
	if (!scratch)
		return;
	pcre2_match_data_free(scratch->data);
	pcre2_match_context_free(scratch->context);
	pcre2_jit_stack_free(scratch->stack);
	bytes_free(&scratch->known);
	free(scratch);
}

static int64_t thread_cpu_ns(void)
{
	struct timespec now;
	return clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) == 0 ? (int64_t)now.tv_sec * 1000000000 + now.tv_nsec : 0;
}

void regex_scratch_pause(struct regex_scratch *scratch)
{
	struct regex_clock *clock = scratch->clock;
	if (clock->start_ns)
		clock->spent_ns += thread_cpu_ns() - clock->start_ns;
	clock->start_ns = 0;
}

static bool within_budget(struct regex_clock *clock)
{
	int64_t now = thread_cpu_ns();
	if (clock->start_ns == 0)
		clock->start_ns = now;
	return clock->spent_ns + now - clock->start_ns <= BUDGET_NS + (int64_t)clock->n_text_bytes * BUDGET_NS_PER_BYTE;
}

/* The text itself where PCRE2 knows all of it; NULL when memory is short. Characters of one or two bytes are all old. */
static const char *with_stand_ins(struct bytes *known, const char *text, size_t n_bytes)
{
	bool copied = false;
	for (size_t at = 0, length; at < n_bytes; at++) {
		if ((unsigned char)text[at] < 0xE0)
			continue;
		uint32_t code = char_decode(text + at, &length), stand_in = unicode_stand_in(code);
		if (stand_in == code)
			continue;
		if (!copied) {
			bytes_clear(known);
			bytes_append(known, text, n_bytes);
			if (known->failed)
				return NULL;
			copied = true;
		}
		utf8_encode(stand_in, known->data + at);
	}
	return copied ? known->data : text;
}

struct regex_matches regex_matches(const struct regex *regex, struct regex_scratch *scratch, const char *text,
                                   size_t n_bytes)
{
	scratch->clock->n_text_bytes += n_bytes;
	uint64_t limit = 1000000 + 2 * (uint64_t)n_bytes;
	pcre2_set_match_limit(scratch->context, limit > UINT32_MAX ? UINT32_MAX : (uint32_t)limit);
	return (struct regex_matches){.regex = regex,
	                              .scratch = scratch,
	                              .text = with_stand_ins(&scratch->known, text, n_bytes),
	                              .n_bytes = n_bytes,
	                              .last_end = SIZE_MAX};
}

/* One call of the library; start positions up to `last_start`. */
static int match_once(struct regex_matches *matches, size_t last_start)
{
	struct regex_scratch *scratch = matches->scratch;
	pcre2_set_offset_limit(scratch->context, last_start);
	for (;;) {
		int rc = pcre2_match(matches->regex->code, (PCRE2_SPTR)matches->text, matches->n_bytes, matches->at,
		                     PCRE2_NO_UTF_CHECK, scratch->data, scratch->context);
		if (rc != PCRE2_ERROR_JIT_STACKLIMIT || scratch->stack)
			return rc;
		scratch->stack = pcre2_jit_stack_create(32 << 10, JIT_STACK_BYTES, NULL);
		if (!scratch->stack)
			return PCRE2_ERROR_NOMEMORY;
		pcre2_jit_stack_assign(scratch->context, NULL, scratch->stack);
	}
}

static bool match_failed(int rc, struct error *error)
{
	char message[128] = "";
	pcre2_get_error_message(rc, (PCRE2_UCHAR *)message, sizeof message);
	return error_set(error, ERROR_INVALID_REQUEST, "the tokenizer's regular expression gives up on this text: %s",
	                 message);
}

static bool too_slow(struct error *error)
{
	return error_set(error, ERROR_INVALID_REQUEST, "the tokenizer's regular expression takes too long on this text");
}

/* Searches from matches->at on; *found, and the match in the scratch's data. */
static bool search(struct regex_matches *matches, bool *found, struct error *error)
{
	struct regex_scratch *scratch = matches->scratch;
	for (size_t window = FIRST_WINDOW_BYTES;; window = window < MAX_WINDOW_BYTES ? window * 2 : window) {
		size_t left = matches->n_bytes - matches->at;
		size_t last_start = window < left ? matches->at + window : matches->n_bytes;
		int rc = match_once(matches, last_start);
		if (rc < 0 && rc != PCRE2_ERROR_NOMATCH)
			return match_failed(rc, error);
		*found = rc >= 0;
		bool done = *found || last_start == matches->n_bytes;
		if ((!done || ++scratch->clock->n_calls % CALLS_PER_CLOCK == 0) && !within_budget(scratch->clock))
			return too_slow(error);
		if (done)
			return true;
		matches->at = last_start + 1;
		while (matches->at < matches->n_bytes && ((unsigned char)matches->text[matches->at] & 0xC0) == 0x80)
			matches->at++;
	}
}

bool regex_next(struct regex_matches *matches, bool *found, size_t *start, size_t *end, struct error *error)
{
	*found = false;
	if (!matches->text)
		return error_set(error, ERROR_MEMORY, "not enough memory to match a regular expression");
	while (matches->at <= matches->n_bytes) {
		if (!search(matches, found, error))
			return false;
		if (!*found)
			break;
		const PCRE2_SIZE *ovector = pcre2_get_ovector_pointer(matches->scratch->data);
		size_t match_start = ovector[0], match_end = ovector[1];
		if (match_start < match_end || matches->last_end != match_end) {
			*start = match_start;
			*end = matches->at = matches->last_end = match_end;
			return true;
		}
		/* An empty match where the last one ended: go on one character later. */
		*found = false;
		matches->at =
		    match_end + (match_end < matches->n_bytes ? char_length((unsigned char)matches->text[match_end]) : 1);
	}
	matches->at = matches->n_bytes + 1;
	return true;
}
