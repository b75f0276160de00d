/* Values as Python spells them (repr), which some templates write into calls where JSON is meant. */
#ifndef TALLOW_TEXT_ANSWER_PYTHON_VALUE_H
#define TALLOW_TEXT_ANSWER_PYTHON_VALUE_H

#include <stddef.h>

#include "base/bytes.h"

/* Appends the JSON text that a value of numbers, strings, lists, dictionaries, True, False and None stands for. Of other text
 * it makes something that is no JSON: the caller checks. */
void python_value_to_json(const char *text, size_t n_bytes, struct bytes *out);

#endif
