/* What was said: the conversation that a chat template renders, as `tallow render` reads it from a file.
 *
 *     struct talk talk = {0};
 *     talk_add(&talk, "user", text, n_bytes, NULL);
 *     struct json *document = talk_document(&talk, &error);       // for the template; json_destroy
 *     talk_save(&talk, "talk.json", &error) && talk_load(&talk, "talk.json", &error)
 *     talk_free(&talk);
 *
 * A message is kept as the JSON that it was: what a file's messages say beyond role and content, and its tools, documents
 * and the like, come back as they were.
 */
#ifndef TALLOW_CLI_CHAT_TALK_H
#define TALLOW_CLI_CHAT_TALK_H

#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/json.h"

enum { TALK_MAX_BYTES = 64 << 20 };

struct message {
	char role[16];     /* cut, if it is a longer one: which no template knows */
	struct bytes json; /* the object */
};

struct talk {
	struct message *messages; /* [n] */
	size_t n, capacity;
	struct bytes others; /* members beside messages, as JSON text with a comma before each */
	bool failed;         /* memory was short: it is not whole */
};

void talk_free(struct talk *talk); /* leaves an empty one */

/* `others`: members of the message's object beside role and content, as JSON text with a comma before each; or NULL. */
void talk_add(struct talk *talk, const char *role, const char *text, size_t n_bytes, const char *others);
/* The system message, which comes first; an empty text takes it away. */
void talk_set_system(struct talk *talk, const char *text);
/* All but the system message is gone; how many messages went. */
size_t talk_clear(struct talk *talk);
/* Takes back the last message of a user and all that came after it. `text` (may be NULL) is replaced by its content, where that
 * is a text. False: there is none. */
bool talk_undo(struct talk *talk, struct bytes *text);
/* Takes back what came after the last message of a user, which stays as it is. False: there is none. */
bool talk_rewind(struct talk *talk);
/* Only the first n messages stay. */
void talk_cut(struct talk *talk, size_t n);

/* As JSON text, appended; as a document, for which *error is ERROR_MEMORY. */
void talk_write(const struct talk *talk, struct bytes *out);
struct json *talk_document(const struct talk *talk, struct error *error) MUST_USE;

/* A file that only its owner may read, unless one is replaced that others may. `replace`: one of that name may be there.
 * ERROR_USAGE names the path. */
bool talk_save(const struct talk *talk, const char *path, bool replace, struct error *error) MUST_USE;
/* In place of what was said before, which stays where the file cannot be read: ERROR_USAGE names it, and what it lacks. */
bool talk_load(struct talk *talk, const char *path, struct error *error) MUST_USE;

#endif
