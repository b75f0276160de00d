/* Regular languages over Unicode characters, as terms: strings that a term denotes are found by its derivatives
 * (Brzozowski 1964; Owens, Reppy, Turon 2009), which are terms again and computed when first asked for. So intersection,
 * complement and counted repetition cost nothing until a text comes by.
 *
 * Equal terms have one id (hash-consing), and alternatives are kept sorted and without duplicates, so a language has
 * finitely many derivatives. Surrogates are no characters: nothing that starts with one is ever alive.
 *
 * Memory and steps are bounded: when either runs out, languages_failed says why, and every result since is LANGUAGE_NONE.
 * One thread at a time.
 */
#ifndef TALLOW_TEXT_GRAMMAR_LANGUAGE_H
#define TALLOW_TEXT_GRAMMAR_LANGUAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LANGUAGE_NONE, LANGUAGE_EMPTY, LANGUAGE_ANY, LANGUAGE_ALL }; /* no string; ""; one character; all strings */
enum { LANGUAGE_MAX_CODE = 0x10FFFF };
#define LANGUAGE_NO_MAX UINT32_MAX

struct languages;
struct table_account;

struct char_range {
	uint32_t first, last;
};

struct languages *languages_create(struct table_account *account); /* NULL without memory; the account is borrowed */
void languages_destroy(struct languages *languages);
/* NULL while all is well, else what ran out: LANGUAGE_NO_MEMORY (an allocation failed), LANGUAGE_TOO_LARGE or "steps" (a bound
 * was met). */
#define LANGUAGE_NO_MEMORY "memory"
#define LANGUAGE_TOO_LARGE "size"
bool languages_lack_memory(const struct languages *languages);
/* For who fails to allocate what concerns them: notes it, or that their account is full, unless something was noted before. */
void languages_note_no_memory(struct languages *languages);
const char *languages_failed(const struct languages *languages);
/* Steps that may be taken from now on; one is about the derivative of one small term. */
void languages_allow(struct languages *languages, uint64_t n_steps);
/* So many more, but not more than `most` in all. */
void languages_refill(struct languages *languages, uint64_t n_more, uint64_t most);

/* ---- terms ---- */

uint32_t language_class(struct languages *languages, const struct char_range *ranges, size_t n_ranges);
uint32_t language_char(struct languages *languages, uint32_t first, uint32_t last);
uint32_t language_text(struct languages *languages, const char *text, size_t n_bytes); /* valid UTF-8 */
uint32_t language_sequence(struct languages *languages, uint32_t first, uint32_t second);
uint32_t language_repeat(struct languages *languages, uint32_t term, uint32_t min, uint32_t max);
uint32_t language_either(struct languages *languages, uint32_t first, uint32_t second);
uint32_t language_either_of(struct languages *languages, const uint32_t *terms, size_t n_terms);
uint32_t language_both(struct languages *languages, uint32_t first, uint32_t second);
uint32_t language_not(struct languages *languages, uint32_t term);

struct language_string {
	const char *text; /* valid UTF-8 */
	size_t n_bytes;
};
/* One of many strings, as a tree of their beginnings. Sorts `strings`. */
uint32_t language_one_of(struct languages *languages, struct language_string *strings, size_t n_strings);
/* A set of such strings, and one more with all that may follow it. */
uint32_t language_with_text(struct languages *languages, uint32_t set, const char *text, size_t n_bytes, uint32_t tail);
/* Decimal numbers without exponent whose value is a multiple of step / 10^scale; step is 1..2^40, scale at most 60. */
uint32_t language_multiples(struct languages *languages, uint64_t step, uint32_t scale);

/* ---- questions ---- */

bool language_has_empty(const struct languages *languages, uint32_t term);
/* Is there a string in it? Found by search where intersections or complements are involved. */
bool language_is_live(struct languages *languages, uint32_t term);
/* Are there two strings in it, or more? */
bool language_has_several(struct languages *languages, uint32_t term);
/* The term for what may follow `code`; LANGUAGE_NONE when nothing may. */
uint32_t language_after(struct languages *languages, uint32_t term, uint32_t code);
/* Is there a live derivative by a character in first..last? */
bool language_lives_in(struct languages *languages, uint32_t term, uint32_t first, uint32_t last);
bool language_matches(struct languages *languages, uint32_t term, const char *text, size_t n_bytes);
/* So many characters of whatever kind may come, one after the other, and a string of the language is still begun; at least
 * that many, where a search does not end soon. LANGUAGE_NO_MAX: any number. */
uint32_t language_freedom(struct languages *languages, uint32_t term);
/* Is it so many characters of one class, which is returned? *max of them at most. LANGUAGE_NONE where it is not. */
uint32_t language_run(const struct languages *languages, uint32_t term, uint32_t *max);

#endif
