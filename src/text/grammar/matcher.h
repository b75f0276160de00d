/* Follows a text through a network, byte by byte: all derivations at once.
 *
 * A place is where one derivation stands: what it reads and the stack of rules to return to (stacks.h). A state is a
 * set of places; equal sets have one id, and where a byte leads is remembered, so that most steps are one look-up.
 * State 0 is none: no derivation is left.
 *
 *     struct matcher *m = matcher_create(&network, languages);
 *     uint32_t state = matcher_start(m);
 *     uint32_t next = matcher_step(m, state, path, n_path, byte);  // 0: the byte may not come
 *     matcher_keep(m, state, bytes, n_bytes);                      // the text went on by those bytes to that state
 *     if (matcher_accepts(m, state)) ...                           // the text may end here
 *
 * A state is all that matters of the text before, but between items that must differ (distinct.h): where one has begun or
 * ended the text is remembered, as far as that was kept, and the path is what came since then.
 *
 * When memory or the bounds run out matcher_failed says so, and states are 0 from then on. One thread at a time.
 */
#ifndef TALLOW_TEXT_GRAMMAR_MATCHER_H
#define TALLOW_TEXT_GRAMMAR_MATCHER_H

#include "text/grammar/distinct.h"
#include "text/grammar/network.h"
#include "text/grammar/stacks.h"

struct matcher;

/* Where a derivation stands. Before a byte of the network: `at` is a state and `language` LANGUAGE_NONE. In a lexeme:
 * `at` is its edge, `language` what is left of it, `partial` the character that was begun (characters.h). `used`: the
 * items that came of an array whose items must differ (distinct.h), perhaps but for the last (matcher_items.c). */
struct place {
	uint32_t at, language, partial, stack, used;
};

/* Borrows both until destroyed; NULL without memory, or where the network's account is full. */
struct matcher *matcher_create(const struct network *network, struct languages *languages);
void matcher_destroy(struct matcher *matcher);
const char *matcher_failed(const struct matcher *matcher); /* NULL, or what ran out */

uint32_t matcher_start(struct matcher *matcher);
uint32_t matcher_step(struct matcher *matcher, uint32_t state, const char *path, size_t n_path, unsigned char byte);
/* The same, but a state from which no step was made yet gets no table of its steps: for many states that are passed once. */
uint32_t matcher_look(struct matcher *matcher, uint32_t state, const char *path, size_t n_path, unsigned char byte);
void matcher_keep(struct matcher *matcher, uint32_t state, const char *bytes, size_t n_bytes);
/* Until they are no longer put off, what came of such an array is found out as late as can be: for walks, which look at many
 * texts of which one will come. */
void matcher_put_off(struct matcher *matcher, bool yes);
/* What may come from there on also depends on the text before. */
bool matcher_reads_back(const struct matcher *matcher, uint32_t state);
/* Several items that must differ are owed, or one after another. */
bool matcher_owes(const struct matcher *matcher, uint32_t state);
struct text_before matcher_text(const struct matcher *matcher, const char *path, size_t n_path);
size_t matcher_text_bytes(const struct matcher *matcher); /* that it keeps */
/* What is known of the array of which a place is an item, or stands between two; NULL: its items may be equal, or no more can
 * come. */
const struct network_items *matcher_items(const struct matcher *matcher, const struct place *place);
#define MATCHER_DEAD UINT32_MAX /* in tables of steps that are known (matcher_private.h) */
bool matcher_accepts(const struct matcher *matcher, uint32_t state);
/* So many characters that need no escape in a JSON string may come, whichever they are. */
uint32_t matcher_freedom(struct matcher *matcher, uint32_t state);
/* The state of being in a JSON string (an edge of that kind) with that to come, and what of a state is in none, or in the
 * middle of a character; 0: nothing. */
uint32_t matcher_inside(struct matcher *matcher, uint32_t edge, uint32_t language);
uint32_t matcher_outside(struct matcher *matcher, uint32_t state);
/* Forgets all states but this one where there are too many, or they take much; returns its new id. */
uint32_t matcher_tidy(struct matcher *matcher, uint32_t state);
/* Counts up whenever tidying changes the meaning of ids. */
uint64_t matcher_age(const struct matcher *matcher);
/* Orders of members (network_order) of the objects that the state's derivations stand in, doubles left out; at most
 * max of them. */
size_t matcher_orders(const struct matcher *matcher, uint32_t state, uint32_t *orders, size_t max);
/* What a state is made of, [*n]; borrowed until the next step. And the frames of a stack, likewise: what an
 * id means never changes. */
const struct place *matcher_places(const struct matcher *matcher, uint32_t state, size_t *n);
const struct frame *matcher_frames(const struct matcher *matcher, uint32_t stack, size_t *n);

#endif
