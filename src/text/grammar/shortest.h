/* How far a text is from its shortest end, in bytes: exact for each derivation, so the least of them is exact, too.
 *
 *   a lexeme       its language's shortest string, found among the derivatives (Dijkstra 1959), each character weighing
 *                  what it takes to write it
 *   a rule         the shortest way from each state of the network to an end of its rule; calls weigh what their rule does
 *                  (Knuth 1977, a generalisation of Dijkstra's algorithm; here by repeated passes)
 *   items that     the sum of the shortest that are left, without that one which is being read: as these are alike (schema
 *   must differ    _unique), the shortest that it may become never costs more than another would
 *   a derivation   what is left of its lexeme, the way from there, and the ways from all that its stack returns to
 *
 * From a state that is n bytes from its end some byte leads to one that is n - 1 bytes from it.
 */
#ifndef TALLOW_TEXT_GRAMMAR_SHORTEST_H
#define TALLOW_TEXT_GRAMMAR_SHORTEST_H

#include "text/grammar/matcher.h"

struct shortest;

#define SHORTEST_UNKNOWN UINT32_MAX

/* Of a trimmed network, which it borrows with the languages; NULL without memory. */
struct shortest *shortest_create(const struct network *network, struct languages *languages);
void shortest_destroy(struct shortest *shortest);
/* Of a state to which the path led (matcher_step). SHORTEST_UNKNOWN where memory or steps ran out. */
uint32_t shortest_of(struct shortest *shortest, const struct matcher *matcher, uint32_t state, const char *path,
                     size_t n_path);
bool shortest_lacks_memory(const struct shortest *shortest); /* an allocation failed; all is unknown from then on */

#endif
