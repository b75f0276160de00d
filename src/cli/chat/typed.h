/* What comes from a terminal's keyboard, byte for byte, with what was pasted told apart: terminals that are asked to put
 * ESC [ 200 ~ before a pasted text, and ESC [ 201 ~ behind it, so that its line ends send nothing.
 */
#ifndef TALLOW_CLI_CHAT_TYPED_H
#define TALLOW_CLI_CHAT_TYPED_H

#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"

enum { TYPED_BLOCK_BYTES = 256, TYPED_MAX_PASTE_BYTES = 4 << 20 };

struct typed {
	int fd;
	unsigned char block[TYPED_BLOCK_BYTES]; /* read and not yet taken: at..n */
	size_t at, n;
	bool pasting;       /* a paste has begun */
	struct bytes paste; /* of it, so far */
};

enum key_taken {
	KEY_NONE, /* more must be read: typed_read, when there is something */
	KEY_BYTE,
	KEY_PASTE, /* `paste` is a whole text, until the next call: lines and tabs, without other control characters and line
	            * ends behind it; what was too long is cut */
};

/* Asks the terminal for these marks, or not any more; nothing where it is of no kind that knows them. Into standard output. */
void typed_ask_for_marks(bool on);

/* Reads what there is. 0: nothing comes any more; -1: not now. */
int typed_read(struct typed *typed);
enum key_taken typed_take(struct typed *typed, unsigned char *byte);
/* What was read and not taken is forgotten. */
void typed_forget(struct typed *typed);
void typed_free(struct typed *typed);

#endif
