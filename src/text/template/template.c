/* Compiling and rendering (include/text/template.h): the template's arena, a rendering's variables, limits and output. */
#include "text/template.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "text/template/calls.h"
#include "text/template/from_json.h"
#include "text/unicode.h"

enum { COMPILE_MAX_BYTES = 512 << 20 };

static const struct template_limits default_limits = {
    .max_steps = 50000000, .max_output_bytes = 64 << 20, .max_memory_bytes = 512 << 20, .max_depth = 500};

/* ---- compiling ---- */

struct template *template_compile(const char *source, size_t n_bytes, struct error *error)
{
	size_t n_source, n_tokens, valid = unicode_valid_prefix(source, n_bytes);
	error->code = ERROR_NONE;
	if (n_bytes > TEMPLATE_MAX_BYTES)
		error_set(error, ERROR_MODEL, "chat template: %zu bytes, at most %d are read", n_bytes, TEMPLATE_MAX_BYTES);
	else if (valid != n_bytes)
		error_set(error, ERROR_MODEL, "chat template: byte %zu is no valid UTF-8", valid);
	struct template *template = error->code ? NULL : calloc(1, sizeof *template);
	struct arena scratch = {.max_bytes = COMPILE_MAX_BYTES};
	if (!template) {
		if (!error->code)
			error_set(error, ERROR_MEMORY, "no memory for the chat template");
		return NULL;
	}
	template->arena.max_bytes = COMPILE_MAX_BYTES;
	template->source = source_normalise(&template->arena, source, n_bytes, &n_source);
	struct token *tokens = template->source ? lexer_run(&scratch, template->source, n_source, &n_tokens) : NULL;
	bool parsed = tokens && parser_run(template, template->source, tokens, error);
	bool ok = parsed && find_late_names(template, &scratch);
	if (!tokens || (parsed && !ok))
		error_set(error, ERROR_MEMORY, "no memory for the chat template");
	arena_free(&scratch);
	if (ok)
		return template;
	template_destroy(template);
	return NULL;
}

void template_destroy(struct template *template)
{
	if (template)
		arena_free(&template->arena);
	free(template);
}

/* ---- time ---- */

struct template_time template_time_now(void)
{
	struct timespec now;
	struct tm local;
	clock_gettime(CLOCK_REALTIME, &now);
	localtime_r(&now.tv_sec, &local);
	return (struct template_time){
	    local.tm_year + 1900, local.tm_mon + 1,         local.tm_mday, local.tm_hour, local.tm_min,
	    local.tm_sec,         (int)(now.tv_nsec / 1000)};
}

static bool read_digits(const char **text, int n, int min, int max, int *out)
{
	int value = 0;
	for (int i = 0; i < n; i++, ++*text) {
		if (**text < '0' || **text > '9')
			return false;
		value = value * 10 + (**text - '0');
	}
	*out = value;
	return value >= min && value <= max;
}

static bool read_char(const char **text, const char *one_of)
{
	bool there = **text && strchr(one_of, **text);
	*text += there;
	return there;
}

static bool read_offset(const char **text)
{
	int hours, minutes;
	if (!**text || read_char(text, "Zz"))
		return true;
	return read_char(text, "+-") && read_digits(text, 2, 0, 23, &hours) && read_char(text, ":") &&
	       read_digits(text, 2, 0, 59, &minutes);
}

static int days_of(int year, int month)
{
	static const unsigned char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
	return days[month - 1] + (month == 2 && leap);
}

bool template_time_parse(const char *text, struct template_time *out)
{
	struct template_time t = {0};
	if (!read_digits(&text, 4, 1, 9999, &t.year) || !read_char(&text, "-") || !read_digits(&text, 2, 1, 12, &t.month) ||
	    !read_char(&text, "-") || !read_digits(&text, 2, 1, days_of(t.year, t.month), &t.day) ||
	    !read_char(&text, "Tt ") || !read_digits(&text, 2, 0, 23, &t.hour) || !read_char(&text, ":") ||
	    !read_digits(&text, 2, 0, 59, &t.minute) || !read_char(&text, ":") || !read_digits(&text, 2, 0, 60, &t.second))
		return false;
	if (read_char(&text, ".")) {
		int scale = 100000, digit;
		while (*text >= '0' && *text <= '9' && read_digits(&text, 1, 0, 9, &digit)) {
			t.microsecond += digit * scale;
			scale /= 10;
		}
	}
	if (!read_offset(&text) || *text)
		return false;
	*out = t;
	return true;
}

/* ---- failing ---- */

static unsigned line_of(const struct render *r)
{
	unsigned line = 1;
	for (uint32_t i = 0; r->at && i < r->at->offset; i++)
		line += r->template->source[i] == '\n';
	return line;
}

bool render_fail(struct render *r, const char *type, const char *format, ...)
{
	char message[400];
	va_list arguments;
	if (r->error->code)
		return false;
	va_start(arguments, format);
	vsnprintf(message, sizeof message, format, arguments);
	va_end(arguments);
	/* What was cut off may be half a character. */
	message[unicode_valid_prefix(message, strlen(message))] = 0;
	if (!type)
		return error_set(r->error, ERROR_TEMPLATE, "%s", message);
	return error_set(r->error, ERROR_TEMPLATE, "%s: %s (chat template, line %u)", type, message, line_of(r));
}

bool render_limit(struct render *r, const char *what, uint64_t limit)
{
	if (r->error->code)
		return false;
	return error_set(r->error, ERROR_TEMPLATE, "the chat template takes more than %llu %s (line %u)",
	                 (unsigned long long)limit, what, line_of(r));
}

void *render_alloc(struct render *r, size_t n_bytes)
{
	void *memory = arena_alloc(&r->arena, n_bytes);
	if (memory)
		return memory;
	size_t left = r->arena.max_bytes - r->arena.used_bytes;
	if (n_bytes > left || left - n_bytes < 16)
		render_limit(r, "bytes of memory", r->limits.max_memory_bytes);
	else if (!r->error->code)
		error_set(r->error, ERROR_MEMORY, "no memory to render the chat template");
	return NULL;
}

void *render_array(struct render *r, size_t n_items, size_t item_bytes)
{
	size_t n_bytes = SIZE_MAX;
	if (__builtin_mul_overflow(n_items, item_bytes, &n_bytes))
		n_bytes = SIZE_MAX;
	return render_alloc(r, n_bytes);
}

/* ---- output ---- */

/* Runs outlive the arena, but are of the same memory. */
static bool grow_runs(struct render *r)
{
	size_t capacity = r->run_capacity ? r->run_capacity * 2 : 32;
	size_t more = (capacity - r->run_capacity) * sizeof *r->runs;
	if (r->arena.max_bytes - r->arena.used_bytes <= more) /* 0 would be no limit */
		return render_limit(r, "bytes of memory", r->limits.max_memory_bytes);
	struct template_run *grown = realloc(r->runs, capacity * sizeof *grown);
	if (!grown)
		return error_set(r->error, ERROR_MEMORY, "no memory for a rendering's origins");
	r->arena.max_bytes -= more;
	r->runs = grown;
	r->run_capacity = capacity;
	return true;
}

static bool add_run(struct render *r, size_t end, bool from_data)
{
	struct template_run *last = r->n_runs ? &r->runs[r->n_runs - 1] : NULL;
	size_t start = last ? last->end : 0;
	if (last && last->from_data == from_data) {
		last->end = end;
		return true;
	}
	if (r->n_runs == r->run_capacity && !grow_runs(r))
		return false;
	assert(r->runs);
	r->runs[r->n_runs++] = (struct template_run){start, end, from_data};
	return true;
}

bool render_output_bytes(struct render *r, const char *bytes, size_t n_bytes, const unsigned char *marks,
                         bool from_data)
{
	if (n_bytes == 0)
		return true;
	if (!render_step(r, n_bytes / 64))
		return false;
	if (r->capture) {
		builder_add_marked(r->capture, bytes, n_bytes, marks, from_data);
		return !r->capture->failed;
	}
	size_t start = r->text.n_bytes;
	bytes_append(&r->text, bytes, n_bytes);
	if (r->text.full)
		return render_limit(r, "bytes of output", r->limits.max_output_bytes);
	if (r->text.failed)
		return error_set(r->error, ERROR_MEMORY, "no memory for a rendering of %zu bytes", start + n_bytes);
	if (!marks)
		return add_run(r, start + n_bytes, from_data);
	for (size_t i = 0; i < n_bytes; i++)
		if ((i + 1 == n_bytes || marks[i + 1] != marks[i]) && !add_run(r, start + i + 1, marks[i]))
			return false;
	return true;
}

bool render_output(struct render *r, const struct string *text)
{
	return render_output_bytes(r, text->bytes, text->n_bytes, text->marks, text->from_data);
}

/* ---- variables ---- */

static bool set_variable(struct render *r, const char *name, size_t n_name, const struct value *value)
{
	uint32_t known = template_find_name(r->template, name, n_name);
	if (known != NAME_UNKNOWN) /* nobody asks for the others */
		r->root[known] = *value;
	return render_step(r, 1 + n_name / 32);
}

static bool set_json(struct render *r, const char *name, size_t n_name, const struct json *json)
{
	struct value value;
	bool messages = n_name == 8 && memcmp(name, "messages", 8) == 0;
	return (messages ? messages_from_json(r, json, &value) : value_from_json(r, json, &value)) &&
	       set_variable(r, name, n_name, &value);
}

static bool set_conversation(struct render *r, const struct json *conversation)
{
	static const struct {
		const char *name;
		struct value fallback;
	} variables[] = {
	    {"messages", {.kind = VALUE_MISSING}},         {"tools", {.kind = VALUE_NONE}},
	    {"documents", {.kind = VALUE_NONE}},           {"add_generation_prompt", {.kind = VALUE_BOOL, .truth = true}},
	    {"tool_choice", {.kind = VALUE_MISSING}},      {"enable_thinking", {.kind = VALUE_MISSING}},
	    {"reasoning_effort", {.kind = VALUE_MISSING}},
	};
	const struct json *extra = json_get(conversation, "chat_template_kwargs");
	for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) {
		const char *name = variables[i].name;
		const struct json *json = json_get(conversation, name);
		if (json ? !set_json(r, name, strlen(name), json)
		         : !set_variable(r, name, strlen(name), &variables[i].fallback))
			return false;
	}
	bool continues = false; /* the last message: no other is begun */
	if (json_bool(json_get(conversation, "continue_final_message"), &continues) && continues &&
	    !set_variable(r, "add_generation_prompt", 21, &(struct value){.kind = VALUE_BOOL}))
		return false;
	for (const struct json *member = json_first(extra); member; member = json_next(member)) {
		size_t n_key = 0;
		const char *key = json_key(member, &n_key);
		if (key && !(n_key == 8 && memcmp(key, "messages", 8) == 0) && !set_json(r, key, n_key, member))
			return false;
	}
	return true;
}

static bool set_variables(struct render *r, const struct template_input *input)
{
	for (size_t i = 0; i < input->n_constants; i++) {
		const struct template_constant *constant = &input->constants[i];
		struct value value;
		if (!value_text(r, constant->text, constant->n_bytes, false, &value) ||
		    !set_variable(r, constant->name, strlen(constant->name), &value))
			return false;
	}
	return set_conversation(r, input->conversation);
}

static bool check_conversation(const struct json *conversation, struct error *error)
{
	const struct json *messages = json_get(conversation, "messages");
	const struct json *extra = json_get(conversation, "chat_template_kwargs");
	if (!conversation || json_type(conversation) != JSON_OBJECT)
		return error_set(error, ERROR_INVALID_REQUEST, "the conversation is no object with messages");
	if (!messages || json_type(messages) != JSON_ARRAY)
		return error_set(error, ERROR_INVALID_REQUEST, "messages: expected an array, got %s",
		                 messages ? json_type_name(json_type(messages)) : "nothing");
	if (extra && json_type(extra) != JSON_OBJECT && json_type(extra) != JSON_NULL)
		return error_set(error, ERROR_INVALID_REQUEST, "chat_template_kwargs: expected an object, got %s",
		                 json_type_name(json_type(extra)));
	return true;
}

/* ---- rendering ---- */

static struct template_limits limits_of(const struct template_input *input)
{
	struct template_limits limits = input->limits;
	if (!limits.max_steps)
		limits.max_steps = default_limits.max_steps;
	if (!limits.max_output_bytes)
		limits.max_output_bytes = default_limits.max_output_bytes;
	if (!limits.max_memory_bytes)
		limits.max_memory_bytes = default_limits.max_memory_bytes;
	if (!limits.max_depth)
		limits.max_depth = default_limits.max_depth;
	return limits;
}

bool template_render(const struct template *template, const struct template_input *input, struct rendering *out,
                     struct error *error)
{
	struct template_limits limits = limits_of(input);
	struct render r = {.template = template,
	                   .limits = limits,
	                   .now = input->now,
	                   .arena.max_bytes = limits.max_memory_bytes,
	                   .steps_left = limits.max_steps,
	                   .depth_left = limits.max_depth,
	                   .stack = __builtin_frame_address(0),
	                   .text.max_bytes = limits.max_output_bytes,
	                   .error = error};
	error->code = ERROR_NONE;
	if (!check_conversation(input->conversation, error))
		return false;
	r.root = render_array(&r, template->n_names, sizeof *r.root);
	r.assigned = render_array(&r, template->n_names, sizeof *r.assigned);
	bool ok = r.root && r.assigned && set_variables(&r, input) && execute(&r, template->body);
	if (ok && !r.text.data && !bytes_reserve(&r.text, 1))
		ok = error_set(error, ERROR_MEMORY, "no memory for a rendering");
	arena_free(&r.arena);
	if (!ok) {
		bytes_free(&r.text);
		free(r.runs);
		return false;
	}
	r.text.data[r.text.n_bytes] = 0; /* there is room for it */
	*out = (struct rendering){r.text.data, r.text.n_bytes, r.runs, r.n_runs};
	return true;
}

void rendering_free(struct rendering *rendering)
{
	free(rendering->text);
	free(rendering->runs);
	*rendering = (struct rendering){0};
}
