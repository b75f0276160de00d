/* Writes the conversation of a dialect whose messages are blocks or items as chat templates expect it: OpenAI's messages.
 *
 *     struct conversation writer = {0};
 *     conversation_text(&writer, CONVERSATION_SYSTEM, text, n_bytes);
 *     conversation_turn(&writer);
 *     conversation_text(&writer, CONVERSATION_USER, text, n_bytes);
 *     conversation_call(&writer, id, name, arguments);
 *     conversation_result(&writer, id, NULL, text, n_bytes);
 *     conversation_end_messages(&writer);
 *     json_field_...(&writer.out, "tools", ...);                          // whatever else the template may see
 *     made = conversation_finish(&writer, &error);                        // frees the writer either way
 *
 * Texts of one turn follow one another as they are; neighbouring turns of one role are one message, set off by an empty
 * line, because many templates want roles to alternate. Strings are borrowed until conversation_finish or
 * conversation_free.
 */
#ifndef TALLOW_SERVER_DIALECTS_CONVERSATION_H
#define TALLOW_SERVER_DIALECTS_CONVERSATION_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/json.h"

enum conversation_role { CONVERSATION_SYSTEM, CONVERSATION_USER, CONVERSATION_ASSISTANT };

struct conversation_call;

struct conversation {
	struct bytes out; /* JSON: the messages that are whole, then what the caller adds */
	/* The message that is being written. */
	bool has_message, between_turns;
	enum conversation_role role;
	struct bytes text, reasoning, calls;

	size_t n_messages;   /* so far */
	bool ends_with_text; /* the last message is the assistant's, and text its last part */
	struct arena arena;
	struct conversation_call *known; /* calls, latest first: results name theirs */
};

/* The next text begins another turn. */
void conversation_turn(struct conversation *writer);
void conversation_text(struct conversation *writer, enum conversation_role role, const char *text, size_t n_bytes);
/* Of the assistant. */
void conversation_reasoning(struct conversation *writer, const char *text, size_t n_bytes);
/* A call by the assistant; id and name are JSON strings, id may be NULL. Arguments that are no object are passed on as
 * text. */
void conversation_call(struct conversation *writer, const struct json *id, const struct json *name,
                       const struct json *arguments);
/* The same, with arguments as the text of an object. */
void conversation_call_text(struct conversation *writer, const struct json *id, const struct json *name,
                            const struct json *arguments);
/* What a tool said; id as in its call, and name, where it is not the one of that call. Both may be NULL. */
void conversation_result(struct conversation *writer, const struct json *id, const struct json *name, const char *text,
                         size_t n_bytes);

/* `{"messages":[...]`, to which fields can be added. */
void conversation_end_messages(struct conversation *writer);
/* The whole, parsed; the caller destroys it. NULL: no memory. */
struct json *conversation_finish(struct conversation *writer, struct error *error) MUST_USE;
void conversation_free(struct conversation *writer); /* what was not finished */

/* A tool in OpenAI's form, `{"type":"function","function":{...}}`; description may be NULL, and a schema that is no object is
 * one without parameters. */
void conversation_write_tool(struct bytes *out, const struct json *name, const struct json *description,
                             const struct json *schema);

#endif
