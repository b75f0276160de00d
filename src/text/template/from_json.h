/* The conversation as values: strings are borrowed from the document, everything is marked as the conversation's. */
#ifndef TALLOW_TEXT_TEMPLATE_FROM_JSON_H
#define TALLOW_TEXT_TEMPLATE_FROM_JSON_H

#include "base/json.h"
#include "text/template/render.h"

bool value_from_json(struct render *r, const struct json *json, struct value *out);
/* An array of messages. The content of one with `"parse_special": true` is marked as the template's. */
bool messages_from_json(struct render *r, const struct json *json, struct value *out);

#endif
