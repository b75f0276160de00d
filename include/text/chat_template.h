/* A model's chat templates and the special tokens that they may name, from where its publisher put them.
 *
 *     struct chat_template *chat = chat_template_read(files, &error);   // tensor/model_files.h
 *     if (chat_template_render(chat, conversation, template_time_now(), &limits, &rendering, &error)) ...
 *     chat_template_destroy(chat);
 *
 * Templates are looked for in chat_template.jinja (and additional_chat_templates/NAME.jinja), chat_template.json,
 * tokenizer_config.json (`chat_template`: a string, or a list of {name, template}), and in a GGUF file's
 * `tokenizer.chat_template` (and `tokenizer.chat_template.NAME`); the first of these that has any counts. No weights are
 * read. Special tokens are those that tokenizer_config.json and special_tokens_map.json name, or the GGUF file's ids.
 *
 * Immutable after load: any number of threads may render.
 */
#ifndef TALLOW_TEXT_CHAT_TEMPLATE_H
#define TALLOW_TEXT_CHAT_TEMPLATE_H

#include "text/template.h"
#include "text/tool_format.h"

struct chat_template;
struct model_files;

/* The files may be closed afterwards. ERROR_MODEL: there is no template (the message says where it was looked for), or one
 * that does not compile, or a file that cannot be read. */
struct chat_template *chat_template_read(const struct model_files *files, struct error *error) MUST_USE;
/* One template of the caller's own; tokens may be NULL (then the name is undefined). */
struct chat_template *chat_template_load_file(const char *path, const char *bos_token, const char *eos_token,
                                              struct error *error) MUST_USE;
void chat_template_destroy(struct chat_template *chat); /* NULL is harmless */

/* What a template makes of calls of tools in the history, found by trying it on small conversations when it is read. */
struct chat_calls {
	bool as_text;      /* it wants a call's arguments as JSON text ... */
	bool as_object;    /* ... or as an object; neither: it writes no calls */
	bool odd_text;     /* text that is no JSON does it no harm */
	bool null_content; /* it writes calls only where the message's content is null */
	bool several;      /* one message may have more than one */
	bool tools;        /* it writes tools that a conversation has */
	bool system_tools; /* it writes no tools but those that a system message has as JSON text in `tools` */
};
struct chat_calls chat_template_calls(const struct chat_template *chat, bool with_tools);

/* How the template that renders a conversation, with tools or without, has its model write answers. */
struct answer_style chat_template_answers(const struct chat_template *chat, bool with_tools);

/* The template named `tool_use` when the conversation has tools and there is one, else the one named `default` (or the
 * only one without a name). With `continue_final_message` the text ends behind the last message's, which must be the
 * assistant's (ERROR_INVALID_REQUEST where the template does not show it). Otherwise as template_render; zeroed limits are
 * the defaults. */
bool chat_template_render(const struct chat_template *chat, const struct json *conversation, struct template_time now,
                          const struct template_limits *limits, struct rendering *out, struct error *error) MUST_USE;

#endif
