/* Calls whose arguments are tags around plain text: each becomes a member of an object. A value is a string where the tool's
 * schema says so, else what it can be read as.
 */
#include <string.h>

#include "text/answer/call.h"
#include "text/answer/python_value.h"

enum place { BETWEEN, KEY, KEY_END, FIRST_BYTE, VALUE };

/* Copies a text that is one JSON value and nothing else; otherwise `out` is as it was. */
static bool copy_json(const char *text, size_t n_bytes, struct bytes *out)
{
	struct json_bytes json = {0};
	size_t before = out->n_bytes, i = 0;
	enum json_step step = JSON_MORE;
	while (n_bytes > 0 && json_is_space(text[n_bytes - 1]))
		n_bytes--;
	for (; i < n_bytes && step == JSON_MORE; i++) {
		if (json_bytes_in_string(&json) && (unsigned char)text[i] < 0x20) {
			arguments_escape(text + i, 1, out);
			continue;
		}
		step = json_bytes_push(&json, text[i]);
		bytes_append(out, text + i, 1);
	}
	if (i == n_bytes && step == JSON_MORE) { /* a number has no end of its own */
		step = json_bytes_push(&json, ' ');
		step = step == JSON_BEFORE ? JSON_DONE : JSON_BAD;
	}
	if (i == n_bytes && step == JSON_DONE)
		return true;
	if (out->data)
		out->n_bytes = before;
	return false;
}

/* The same of a value as Python spells it; a string of its own would have no quotes. */
static bool copy_python(const char *text, size_t n_bytes, struct bytes *out)
{
	struct bytes json = {0};
	if (n_bytes == 0 || !strchr("[{TFN", text[0]))
		return false;
	python_value_to_json(text, n_bytes, &json);
	bool good = !json.failed && json.n_bytes > 0 && copy_json(json.data, json.n_bytes, out);
	bytes_free_part(&json, out);
	return good;
}

static void write_value(const char *text, size_t n_bytes, struct bytes *out)
{
	if (copy_json(text, n_bytes, out) || copy_python(text, n_bytes, out))
		return;
	bytes_append_text(out, "\"");
	arguments_escape(text, n_bytes, out);
	bytes_append_text(out, "\"");
}

/* Bytes at the end that may begin the closing tag, with a line end before it where that is layout. */
static size_t held_bytes(const struct tool_format *format, const char *text, size_t n_bytes)
{
	size_t n = strlen(format->value_close) - 1;
	n = n < n_bytes ? n : n_bytes;
	while (n > 0 && memcmp(text + n_bytes - n, format->value_close, n) != 0)
		n--;
	return n + (format->values_on_lines && n < n_bytes && text[n_bytes - n - 1] == '\n');
}

/* A string goes out as it comes. */
static void show(struct call_machine *machine, const struct bytes *raw, size_t end, struct bytes *out)
{
	arguments_escape(raw->data + machine->text_shown, end - machine->text_shown, out);
	machine->text_shown = end;
}

static void push_value(struct call_machine *machine, const struct bytes *raw, struct bytes *out)
{
	const char *text = raw->data + machine->text_start;
	size_t n_bytes = raw->n_bytes - machine->text_start, n_hidden = raw->n_bytes - machine->text_shown;
	const struct tool_format *format = machine->format;
	size_t n_close = strlen(format->value_close);
	if (n_bytes < n_close || memcmp(text + n_bytes - n_close, format->value_close, n_close) != 0) {
		if (machine->is_string)
			show(machine, raw, raw->n_bytes - held_bytes(format, raw->data + machine->text_shown, n_hidden), out);
		return;
	}
	n_bytes -= n_close;
	if (format->values_on_lines && n_bytes > 0 && text[n_bytes - 1] == '\n')
		n_bytes--;
	if (machine->is_string) {
		show(machine, raw, machine->text_start + n_bytes, out);
		bytes_append_text(out, "\"");
	} else {
		write_value(text, n_bytes, out);
	}
	machine->place = BETWEEN;
}

static void begin_value(struct call_machine *machine, struct bytes *out)
{
	machine->is_string = answer_tools_is_string(machine->offered, machine->name, machine->n_name, machine->parameter,
	                                            machine->n_parameter);
	bytes_append_text(out, machine->n_parameters++ > 0 ? ", \"" : "\"");
	arguments_escape(machine->parameter, machine->n_parameter, out);
	bytes_append_text(out, machine->is_string ? "\": \"" : "\": ");
	machine->place = FIRST_BYTE;
}

static unsigned push_key_end(struct call_machine *machine, char byte, struct bytes *out)
{
	enum word_step step = word_place_push(&machine->words, byte);
	if (step == WORDS_DONE)
		begin_value(machine, out);
	return step == WORDS_BAD ? CALL_DEAD : 0;
}

static unsigned push_key(struct call_machine *machine, char byte, struct bytes *out)
{
	const char *const *close = machine->format->key_close;
	if (byte == close[0][0] && machine->n_parameter > 0) {
		machine->place = KEY_END;
		machine->words = (struct word_place){.words = close};
		return push_key_end(machine, byte, out);
	}
	if (byte == close[0][0] || machine->n_parameter == sizeof machine->parameter)
		return CALL_DEAD;
	machine->parameter[machine->n_parameter++] = byte;
	return 0;
}

/* A parameter, or the end. They differ in their second byte. */
static unsigned push_tag(struct call_machine *machine, char byte, struct bytes *out)
{
	const char *end = machine->format->call_close[0];
	if (machine->n_tag == 0 && json_is_space(byte))
		return 0;
	if (machine->n_tag == 1)
		machine->at_end_tag = byte == end[1];
	const char *tag = machine->n_tag > 0 && machine->at_end_tag ? end : machine->format->key_open;
	if (tag[machine->n_tag] != byte)
		return CALL_DEAD;
	if (tag[++machine->n_tag])
		return 0;
	unsigned did = machine->begun ? 0 : call_begin(machine);
	if (did & CALL_BEGUN)
		bytes_append_text(out, "{");
	machine->n_tag = machine->n_parameter = 0;
	machine->place = KEY;
	if (tag != end)
		return did;
	bytes_append_text(out, "}");
	return did | CALL_ENDED;
}

unsigned parameters_push(struct call_machine *machine, const struct bytes *raw, struct bytes *out)
{
	char byte = raw->data[raw->n_bytes - 1];
	bool layout;
	switch (machine->place) {
	case BETWEEN:
		return push_tag(machine, byte, out);
	case KEY:
		return push_key(machine, byte, out);
	case KEY_END:
		return push_key_end(machine, byte, out);
	case FIRST_BYTE:
		layout = machine->format->values_on_lines && byte == '\n';
		machine->text_start = machine->text_shown = layout ? raw->n_bytes : raw->n_bytes - 1;
		machine->place = VALUE;
		if (layout)
			return 0;
		break;
	default:
		break;
	}
	push_value(machine, raw, out);
	return 0;
}
