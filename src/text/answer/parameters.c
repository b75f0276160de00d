/* Calls whose arguments are tags around plain text: each becomes a member of an object. A value is a string where the tool's
 * schema says so, else what it can be read as. One line end after its tag and one before the
 * closing one are layout.
 */
#include <string.h>

#include "text/answer/call.h"

enum place { BETWEEN, KEY, FIRST_BYTE, VALUE };

static const char key_tag[] = "<parameter=";
static const char end_tag[] = "\n</parameter>"; /* or without its line end */
enum { N_END_TAG = sizeof end_tag - 1, N_PLAIN_END_TAG = N_END_TAG - 1 };

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

static bool text_is(const char *text, size_t n_bytes, const char *word)
{
	return strlen(word) == n_bytes && memcmp(text, word, n_bytes) == 0;
}

static void write_value(const char *text, size_t n_bytes, struct bytes *out)
{
	if (copy_json(text, n_bytes, out))
		return;
	/* Templates write them as Python spells them. */
	static const char *const words[][2] = {{"True", "true"}, {"False", "false"}, {"None", "null"}};
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (text_is(text, n_bytes, words[i][0])) {
			bytes_append_text(out, words[i][1]);
			return;
		}
	bytes_append_text(out, "\"");
	arguments_escape(text, n_bytes, out);
	bytes_append_text(out, "\"");
}

/* Bytes at the end that may begin the closing tag. */
static size_t held_bytes(const char *text, size_t n_bytes)
{
	for (size_t n = n_bytes < N_END_TAG - 1 ? n_bytes : N_END_TAG - 1; n > 0; n--) {
		const char *tail = text + n_bytes - n;
		if (memcmp(tail, end_tag, n) == 0 || memcmp(tail, end_tag + 1, n) == 0)
			return n;
	}
	return 0;
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
	size_t n_bytes = raw->n_bytes - machine->text_start;
	if (n_bytes < N_PLAIN_END_TAG || memcmp(text + n_bytes - N_PLAIN_END_TAG, end_tag + 1, N_PLAIN_END_TAG) != 0) {
		if (machine->is_string)
			show(machine, raw,
			     raw->n_bytes - held_bytes(raw->data + machine->text_shown, raw->n_bytes - machine->text_shown), out);
		return;
	}
	n_bytes -= N_PLAIN_END_TAG;
	if (n_bytes > 0 && text[n_bytes - 1] == '\n')
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

static unsigned push_key(struct call_machine *machine, char byte, struct bytes *out)
{
	if (byte == '>' && machine->n_parameter > 0) {
		begin_value(machine, out);
		return 0;
	}
	if (byte == '>' || machine->n_parameter == sizeof machine->parameter)
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
	const char *tag = machine->n_tag > 0 && machine->at_end_tag ? end : key_tag;
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
	switch (machine->place) {
	case BETWEEN:
		return push_tag(machine, byte, out);
	case KEY:
		return push_key(machine, byte, out);
	case FIRST_BYTE:
		machine->text_start = machine->text_shown = byte == '\n' ? raw->n_bytes : raw->n_bytes - 1;
		machine->place = VALUE;
		if (byte == '\n')
			return 0;
		break;
	default:
		break;
	}
	push_value(machine, raw, out);
	return 0;
}
