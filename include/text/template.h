/* Chat templates: a bounded Jinja that renders what publishers ship as transformers' apply_chat_template does (Jinja2 3.1,
 * its immutable sandbox, trim_blocks, lstrip_blocks, loop controls, the `generation` tag, tojson without HTML escapes,
 * raise_exception, strftime_now).
 *
 *     struct template *template = template_compile(source, n_source, &error);
 *     struct template_input input = {.conversation = json, .constants = tokens, .n_constants = 2, .now = now};
 *     struct rendering rendering = {0};
 *     if (template_render(template, &input, &rendering, &error)) ... rendering.text, rendering.runs
 *     rendering_free(&rendering);
 *     template_destroy(template);
 *
 * A template is as untrusted as the file that it comes from: it cannot reach anything but its values, and steps, depth,
 * output and memory of a rendering are bounded. A compiled template is immutable; any number of threads may render it.
 *
 * Where text comes from: each byte of a rendering knows whether the template (its literals, constants and numbers of its
 * own making) or the conversation wrote it. What is derived from a conversation's value - a slice, another case, an
 * escape, a number's digits - is the conversation's, too. A `role` that is system, developer, user, assistant or tool is
 * the template's: some build control tokens of it. So is the content of a message with `"parse_special": true`, a member
 * that templates do not see: its sender wrote the control tokens in it.
 */
#ifndef TALLOW_TEXT_TEMPLATE_H
#define TALLOW_TEXT_TEMPLATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/json.h"

struct template;

enum { TEMPLATE_MAX_BYTES = 1 << 20, TEMPLATE_MAX_NESTING = 100 };

/* n_bytes of UTF-8, at most TEMPLATE_MAX_BYTES; tags and parentheses nest to TEMPLATE_MAX_NESTING. ERROR_MODEL says what
 * is wrong at which line and column (in bytes): syntax, unknown tags, and filters and tests that do not exist (where one
 * stands in a branch, Jinja leaves that to the rendering that reaches it, and so does this). */
struct template *template_compile(const char *source, size_t n_bytes, struct error *error) MUST_USE;
void template_destroy(struct template *template); /* NULL is harmless */

/* A name with a text that counts as the template's own: bos_token, eos_token, ... */
struct template_constant {
	const char *name; /* NUL-terminated */
	const char *text; /* [n_bytes], UTF-8 */
	size_t n_bytes;
};

/* What a rendering may use; 0 is the default in brackets. Each has an error of its own. */
struct template_limits {
	uint64_t max_steps;      /* nodes evaluated, values compared, and 64 bytes or 8 items copied (50 million) */
	size_t max_output_bytes; /* (64 MiB) */
	size_t max_memory_bytes; /* of all values made on the way, and of the runs (512 MiB) */
	int max_depth; /* nested evaluations: a call of a macro takes some five (500). All take 160 KiB of stack */
};

/* The civil time that strftime_now formats. */
struct template_time {
	int year, month, day; /* 2026, 1..12, 1..31 */
	int hour, minute, second, microsecond;
};
/* The wall clock's, in the machine's time zone. */
struct template_time template_time_now(void);
/* "2026-01-31T12:30:01[.5][Z|+01:00]", as it reads: the offset is not applied. */
bool template_time_parse(const char *text, struct template_time *out);

struct template_input {
	/* An object. `messages`, `tools`, `tool_choice`, `documents`, `add_generation_prompt`, `enable_thinking` and
	 * `reasoning_effort` become variables, and so does every member of `chat_template_kwargs`, which goes before constants;
	 * other members are ignored. tools and documents are none when absent, add_generation_prompt is true, but false
	 * where `continue_final_message` is true. */
	const struct json *conversation;
	const struct template_constant *constants;
	size_t n_constants;
	struct template_time now;
	struct template_limits limits;
};

struct template_run {
	size_t start, end; /* bytes of the text, start < end */
	bool from_data;    /* the conversation's; else the template's */
};

struct rendering {
	char *text; /* [n_bytes], NUL behind it; NULL only before a rendering */
	size_t n_bytes;
	struct template_run *runs; /* [n_runs], in order, without gaps, neighbours differ */
	size_t n_runs;
};

/* Fills `out` (zeroed), which the caller frees. ERROR_TEMPLATE is the template's refusal: the message of its
 * raise_exception as it stands, or what Python would raise ("UndefinedError: 'x' is undefined") with the line, or the
 * limit that it passed; ERROR_INVALID_REQUEST a conversation that is none; ERROR_MEMORY. */
bool template_render(const struct template *template, const struct template_input *input, struct rendering *out,
                     struct error *error) MUST_USE;
void rendering_free(struct rendering *rendering); /* leaves a zeroed struct */

#endif
