/* What a chat template makes of calls (struct chat_calls), found by trying. */
#ifndef TALLOW_TEXT_CHAT_CALLS_H
#define TALLOW_TEXT_CHAT_CALLS_H

#include "text/chat_template.h"

/* Under the constants that its renderings have. A template that runs for long, or cannot be tried, is one that takes nothing.
 * ERROR_MEMORY. */
bool chat_calls_try(const struct template *template, const struct template_constant *constants, size_t n_constants,
                    struct chat_calls *out, struct error *error) MUST_USE;

#endif
