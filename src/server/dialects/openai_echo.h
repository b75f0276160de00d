/* `echo` of completions: the prompt again, before its answer, with the log-probabilities of its tokens. */
#ifndef TALLOW_SERVER_DIALECTS_OPENAI_ECHO_H
#define TALLOW_SERVER_DIALECTS_OPENAI_ECHO_H

#include "server/generation/generation.h"

/* Appends the prompt of a choice to `text`: as it was given, or, where it was given as tokens, their text with control tokens
 * spelled out. lists, unless NULL, are those of text_logprobs_add: each token is added (the first of a prompt has no
 * log-probability: null), and the choice's n_characters becomes that of the text. */
void echo_prompt(const struct generation *generation, struct choice *choice, struct bytes *lists, struct bytes *text);

#endif
