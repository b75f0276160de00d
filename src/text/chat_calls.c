/* Trying a template: a conversation in which a tool is called, its arguments once as an object and once as text, shows what
 * comes out as the JSON that the model is to write. */
#include "text/chat_calls.h"

#include <stdio.h>
#include <string.h>

/* Nine letters: some templates insist on that many in the id of a call. */
#define CALL(arguments)                                                                                                \
	"{\"id\":\"abcdefghi\",\"type\":\"function\",\"function\":{\"name\":\"tried_tool\",\"arguments\":" arguments "}}"
#define TOOL                                                                                                           \
	"{\"type\":\"function\",\"function\":{\"name\":\"tried_tool\",\"description\":\"d\",\"parameters\":{"              \
	"\"type\":\"object\",\"properties\":{\"p\":{\"type\":\"string\",\"description\":\"d\"}},\"required\":[\"p\"]}}}"
#define SYSTEM(tools) "{\"role\":\"system\",\"content\":\"s\"" tools "},"

static const char object_call[] = CALL("{\"tried_argument\":\"v\"}");
static const char text_call[] = CALL("\"{\\\"tried_argument\\\": \\\"v\\\"}\"");
static const char odd_call[] = CALL("\"{\\\"tried_argument\\\": \"");

struct trial {
	const struct template *template;
	const struct template_constant *constants;
	size_t n_constants;
	bool *no_memory; /* set where that is why something was not rendered */
};

/* The rendering of a conversation; false when it is refused. Caller frees. */
static bool render(const struct trial *trial, const char *conversation, struct rendering *out)
{
	struct error error;
	struct json *document = json_parse(conversation, strlen(conversation), &(struct json_limits){0}, &error);
	struct template_input input = {
	    .conversation = document,
	    .constants = trial->constants,
	    .n_constants = trial->n_constants,
	    .now = {.year = 2026, .month = 1, .day = 1},
	    .limits = {.max_steps = 100000, .max_output_bytes = 1 << 20, .max_memory_bytes = 16 << 20},
	};
	bool ok = document && template_render(trial->template, &input, out, &error);
	*trial->no_memory |= !ok && error.code == ERROR_MEMORY;
	json_destroy(document);
	return ok;
}

/* How a message with these calls is rendered. */
static bool render_calls(const struct trial *trial, const char *content, const char *calls, struct rendering *out)
{
	struct bytes text = {0};
	bytes_append_format(
	    &text,
	    "{\"messages\":[{\"role\":\"user\",\"content\":\"u\"},{\"role\":\"assistant\",\"content\":%s,"
	    "\"tool_calls\":[%s]},{\"role\":\"tool\",\"name\":\"tried_tool\",\"tool_call_id\":\"abcdefghi\","
	    "\"content\":\"r\"}],\"tools\":[" TOOL "],\"add_generation_prompt\":false}",
	    content, calls);
	bool ok = !text.failed && render(trial, text.data, out);
	*trial->no_memory |= text.failed;
	bytes_free(&text);
	return ok;
}

/* The argument's name is there, as a key of JSON or in a form of the template's own, not within quotes that were escaped or
 * are Python's. */
static bool shows_argument(const struct rendering *rendering)
{
	const char *found = memmem(rendering->text, rendering->n_bytes, "tried_argument", 14);
	if (!found || found == rendering->text)
		return false;
	bool escaped = found[-1] == '"' && found - rendering->text >= 2 && found[-2] == '\\';
	return !escaped && found[-1] != '\'';
}

static bool writes_arguments(const struct trial *trial, const char *content, const char *call)
{
	struct rendering rendering = {0};
	bool ok = render_calls(trial, content, call, &rendering) && shows_argument(&rendering);
	rendering_free(&rendering);
	return ok;
}

static bool renders(const struct trial *trial, const char *content, const char *calls)
{
	struct rendering rendering = {0};
	bool ok = render_calls(trial, content, calls, &rendering);
	rendering_free(&rendering);
	return ok;
}

static bool writes_tools(const struct trial *trial, const char *system, const char *tools)
{
	struct rendering rendering = {0};
	struct bytes text = {0};
	bytes_append_format(&text, "{\"messages\":[%s{\"role\":\"user\",\"content\":\"u\"}]%s}", system, tools);
	bool ok = !text.failed && render(trial, text.data, &rendering) &&
	          memmem(rendering.text, rendering.n_bytes, "tried_tool", 10) != NULL;
	*trial->no_memory |= text.failed;
	bytes_free(&text);
	rendering_free(&rendering);
	return ok;
}

bool chat_calls_try(const struct template *template, const struct template_constant *constants, size_t n_constants,
                    struct chat_calls *out, struct error *error)
{
	bool no_memory = false;
	struct trial trial = {template, constants, n_constants, &no_memory};
	static const char *const contents[] = {"\"\"", "null"};
	struct chat_calls calls = {0};
	int content = 0;
	for (int i = 0; i < 2 && !calls.as_text && !calls.as_object; i++) {
		content = i;
		calls.as_text = writes_arguments(&trial, contents[i], text_call);
		calls.as_object = writes_arguments(&trial, contents[i], object_call);
	}
	calls.null_content = (calls.as_text || calls.as_object) && content == 1;
	calls.odd_text = renders(&trial, contents[content], odd_call);
	char two[2 * sizeof object_call + 2 * sizeof text_call];
	const char *one = calls.as_object ? object_call : text_call;
	snprintf(two, sizeof two, "%s,%s", one, one);
	calls.several = renders(&trial, contents[content], two) || !renders(&trial, contents[content], one);
	static const char given[] = ",\"tools\":[" TOOL "]";
	bool writes_given = writes_tools(&trial, SYSTEM(""), given) || writes_tools(&trial, "", given);
	calls.system_tools =
	    !writes_given && writes_tools(&trial, SYSTEM(",\"tools\":\"[{\\\"name\\\": \\\"tried_tool\\\"}]\""), "");
	calls.tools = writes_given || calls.system_tools;
	*out = calls;
	return !no_memory || error_set(error, ERROR_MEMORY, "no memory to try the chat template");
}
