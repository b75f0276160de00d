/* The forms in which models write calls and reasoning (include/text/tool_format.h), each as its publisher's chat template
 * writes what the model is to write itself. */
#include "text/tool_format.h"

#include <string.h>

/* DeepSeek's, with the fullwidth bar and the lower one-eighth block of its tokenizer. */
#define DEEPSEEK(words) "<｜tool▁" words "｜>"

#define PARAMETER_TAGS .key_open = "<parameter=", .key_close = {">"}, .value_close = "</parameter>"

static const struct tool_format formats[] = {
    {.name = "glm",
     .signs = {"<tool_call>", "<arg_key>"},
     .call_open = {"<tool_call>"},
     .kind = TOOL_PARAMETERS,
     .key_open = "<arg_key>",
     .key_close = {"</arg_key>", "<arg_value>"},
     .value_close = "</arg_value>",
     .call_close = {"</tool_call>"}},
    {.name = "qwen3-coder",
     .signs = {"<tool_call>", "<parameter="},
     .call_open = {"<tool_call>", "<function="},
     .kind = TOOL_PARAMETERS,
     .name_end = {">"},
     PARAMETER_TAGS,
     .values_on_lines = true,
     .call_close = {"</function>", "</tool_call>"}},
    {.name = "qwen3-coder", /* the outer tag forgotten */
     .call_open = {"<function="},
     .kind = TOOL_PARAMETERS,
     .name_end = {">"},
     PARAMETER_TAGS,
     .values_on_lines = true,
     .call_close = {"</function>", "</tool_call>"}},
    {.name = "seed-oss",
     .signs = {"<seed:tool_call>"},
     .call_open = {"<seed:tool_call>", "<function="},
     .kind = TOOL_PARAMETERS,
     .name_end = {">"},
     PARAMETER_TAGS,
     .call_close = {"</function>", "</seed:tool_call>"}},
    {.name = "nemotron",
     .signs = {"<TOOLCALL>"},
     .open = {"<TOOLCALL>", "["},
     .kind = TOOL_OBJECT,
     .name_key = "name",
     .arguments_key = "arguments",
     .separator = {","},
     .close = {"]", "</TOOLCALL>"}},
    {.name = "hermes",
     .signs = {"<tool_call>"},
     .call_open = {"<tool_call>"},
     .kind = TOOL_OBJECT,
     .name_key = "name",
     .arguments_key = "arguments",
     .call_close = {"</tool_call>"}},
    {.name = "mistral", /* with ids */
     .signs = {"[TOOL_CALLS]", "[CALL_ID]"},
     .call_open = {"[TOOL_CALLS]"},
     .kind = TOOL_NAMED,
     .name_end = {"[CALL_ID]", "*", "[ARGS]"},
     .id_characters = 9},
    {.name = "mistral",
     .signs = {"[TOOL_CALLS]", "[ARGS]"},
     .call_open = {"[TOOL_CALLS]"},
     .kind = TOOL_NAMED,
     .name_end = {"[ARGS]"},
     .id_characters = 9},
    {.name = "mistral", /* until 2024 */
     .signs = {"[TOOL_CALLS]"},
     .open = {"[TOOL_CALLS]", "["},
     .kind = TOOL_OBJECT,
     .name_key = "name",
     .arguments_key = "arguments",
     .separator = {","},
     .close = {"]"},
     .id_characters = 9},
    {.name = "mistral", /* the marks between forgotten */
     .call_open = {"[TOOL_CALLS]"},
     .kind = TOOL_NAMED,
     .id_characters = 9},
    {.name = "deepseek", /* V3 and R1 */
     .signs = {DEEPSEEK("calls▁begin"), "```json"},
     .open = {DEEPSEEK("calls▁begin")},
     .call_open = {DEEPSEEK("call▁begin"), "function", DEEPSEEK("sep")},
     .kind = TOOL_NAMED,
     .name_end = {"```json"},
     .call_close = {"```", DEEPSEEK("call▁end")},
     .close = {DEEPSEEK("calls▁end")}},
    {.name = "deepseek", /* V3.1 */
     .signs = {DEEPSEEK("calls▁begin")},
     .open = {DEEPSEEK("calls▁begin")},
     .call_open = {DEEPSEEK("call▁begin")},
     .kind = TOOL_NAMED,
     .name_end = {DEEPSEEK("sep")},
     .call_close = {DEEPSEEK("call▁end")},
     .close = {DEEPSEEK("calls▁end")}},
    {.name = "kimi",
     .signs = {"<|tool_calls_section_begin|>"},
     .open = {"<|tool_calls_section_begin|>"},
     .call_open = {"<|tool_call_begin|>"},
     .kind = TOOL_NAMED,
     .id_prefix = "functions.",
     .name_end = {"<|tool_call_argument_begin|>"},
     .call_close = {"<|tool_call_end|>"},
     .close = {"<|tool_calls_section_end|>"}},
    {.name = "minimax",
     .signs = {"<minimax:tool_call>"},
     .open = {"<minimax:tool_call>"},
     .call_open = {"<invoke name=\""},
     .kind = TOOL_PARAMETERS,
     .name_end = {"\">"},
     .key_open = "<parameter name=\"",
     .key_close = {"\">"},
     .value_close = "</parameter>",
     .call_close = {"</invoke>"},
     .close = {"</minimax:tool_call>"}},
    {.name = "functionary-v3.2",
     .signs = {">>>all"},
     .call_open = {">>>"},
     .kind = TOOL_NAMED,
     .content_name = "all",
     .known_names = true},
    {.name = "functionary-v3.1",
     .signs = {"<function="},
     .call_open = {"<function="},
     .kind = TOOL_NAMED,
     .name_end = {">"},
     .call_close = {"</function>"}},
    {.name = "command-r7b",
     .signs = {"<|START_ACTION|>"},
     .open = {"<|START_ACTION|>", "["},
     .kind = TOOL_OBJECT,
     .name_key = "tool_name",
     .arguments_key = "parameters",
     .separator = {","},
     .close = {"]", "<|END_ACTION|>"}},
    {.name = "command-r",
     .signs = {"Action:", "tool_name"},
     .open = {"Action:", "```json", "["},
     .kind = TOOL_OBJECT,
     .name_key = "tool_name",
     .arguments_key = "parameters",
     .separator = {","},
     .close = {"]", "```"}},
    {.name = "firefunction",
     .signs = {"functools["},
     .open = {"functools", "["},
     .kind = TOOL_OBJECT,
     .name_key = "name",
     .arguments_key = "arguments",
     .separator = {","},
     .close = {"]"}},
    {.name = "phi4",
     .signs = {"<|tool|>"},
     .open = {"<|tool_call|>", "["},
     .kind = TOOL_OBJECT,
     .name_key = "name",
     .arguments_key = "arguments",
     .separator = {","},
     .close = {"]", "<|/tool_call|>"}},
    {.name = "phi4", /* without the list */
     .open = {"<|tool_call|>"},
     .kind = TOOL_OBJECT,
     .name_key = "name",
     .arguments_key = "arguments",
     .close = {"<|/tool_call|>"}},
    {.name = "llama3",
     .signs = {"ipython", "\"parameters\""},
     .kind = TOOL_OBJECT,
     .name_key = "name",
     .arguments_key = "parameters",
     .separator = {";"},
     .known_names = true},
    {.name = "llama3",
     .signs = {"<|python_tag|>"},
     .open = {"<|python_tag|>"},
     .kind = TOOL_OBJECT,
     .name_key = "name",
     .arguments_key = "parameters",
     .separator = {";"}},
    {.name = "generic",
     .kind = TOOL_OBJECT,
     .name_key = "name",
     .arguments_key = "arguments",
     .separator = {","},
     .known_names = true},
    {.name = "generic",
     .open = {"```json"},
     .kind = TOOL_OBJECT,
     .name_key = "name",
     .arguments_key = "arguments",
     .close = {"```"},
     .known_names = true},
};
enum { N_FORMATS = sizeof formats / sizeof *formats };

/* Other tags than <think>, which stands last: it is what templates that name none may yet get. */
static const struct reasoning_format reasoning_formats[] = {
    {"<|START_THINKING|>", "<|END_THINKING|>"},
    {"[THINK]", "[/THINK]"},
    {"<seed:think>", "</seed:think>"},
    {"<think>", "</think>"},
};
enum { N_REASONING = sizeof reasoning_formats / sizeof *reasoning_formats };

static bool has(const char *source, size_t n_bytes, const char *sign)
{
	return memmem(source, n_bytes, sign, strlen(sign)) != NULL;
}

static bool has_all(const char *source, size_t n_bytes, const char *const *signs)
{
	for (int i = 0; i < TOOL_FORMAT_SIGNS && signs[i]; i++)
		if (!has(source, n_bytes, signs[i]))
			return false;
	return signs[0] != NULL;
}

struct answer_style answer_style_detect(const char *source, size_t n_bytes)
{
	struct answer_style style = {.tools = tool_format_find("generic"),
	                             .reasoning = &reasoning_formats[N_REASONING - 1]};
	for (int i = N_FORMATS - 1; i >= 0; i--)
		if (has_all(source, n_bytes, formats[i].signs))
			style.tools = &formats[i];
	for (int i = N_REASONING - 1; i >= 0; i--)
		if (has(source, n_bytes, reasoning_formats[i].open))
			style.reasoning = &reasoning_formats[i];
	return style;
}

const struct tool_format *tool_formats(size_t *n_formats)
{
	*n_formats = N_FORMATS;
	return formats;
}

const struct tool_format *tool_format_find(const char *name)
{
	for (int i = 0; i < N_FORMATS; i++)
		if (strcmp(formats[i].name, name) == 0)
			return &formats[i];
	return NULL;
}
