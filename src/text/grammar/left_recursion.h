/* Does a rule call itself before it has taken a byte? Such a network has endless derivations of nothing. */
#ifndef TALLOW_TEXT_GRAMMAR_LEFT_RECURSION_H
#define TALLOW_TEXT_GRAMMAR_LEFT_RECURSION_H

#include "text/grammar/network.h"

/* True also when memory is short (network->failed). */
bool network_recurses_left(struct network *network);

#endif
