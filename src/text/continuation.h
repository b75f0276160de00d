/* Cuts a rendering behind what it made of its last message's text, so that the model goes on with that
 * (`continue_final_message`, as transformers has it). */
#ifndef TALLOW_TEXT_CONTINUATION_H
#define TALLOW_TEXT_CONTINUATION_H

#include "text/template.h"

/* Whether the conversation asks for it. */
bool continuation_is_asked(const struct json *conversation);
/* The rendering was made without a generation prompt. ERROR_INVALID_REQUEST: the last message has no text or is not the
 * assistant's, or the template did not write it as it stands. ERROR_MEMORY. */
bool continuation_cut(const struct json *conversation, struct rendering *rendering, struct error *error) MUST_USE;

#endif
