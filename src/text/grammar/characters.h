/* Characters out of bytes inside of a lexeme: UTF-8, and in JSON strings the escapes of the canonical form, which has them
 * only where they must be: \" \\ \b \f \n \r \t, and \u00xx in lower case for the other control characters.
 *
 * `partial` says what was begun: 0 nothing. It is made so that a character is only begun when some character that begins
 * so may come.
 */
#ifndef TALLOW_TEXT_GRAMMAR_CHARACTERS_H
#define TALLOW_TEXT_GRAMMAR_CHARACTERS_H

#include "base/bytes.h"
#include "text/grammar/language.h"

/* Takes one byte (no quote of a JSON string that is nothing begun): *language becomes what may follow when a character
 * is whole. False where the byte may not come; both are undefined then. */
bool character_step(struct languages *languages, bool in_string, uint32_t *language, uint32_t *partial,
                    unsigned char byte);

/* What a begun character may yet become: characters, and how many bytes it takes to end each of them. */
struct character_end {
	struct char_range range;
	uint32_t n_bytes;
};
enum { CHARACTER_MAX_ENDS = 16 };
size_t character_ends(uint32_t partial, struct character_end ends[CHARACTER_MAX_ENDS]);

/* So many bytes a character is written in. */
uint32_t character_bytes(uint32_t code, bool in_string);

/* Text (valid UTF-8) as the inside of a JSON string in that form, and back. */
void characters_escape(struct bytes *out, const char *text, size_t n_bytes);
void characters_unescape(struct bytes *out, const char *text, size_t n_bytes);

#endif
