/* Keys and pastes (typed.h). */
#include "cli/chat/typed.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MARK_BYTES = 6, MARK_WAIT_MS = 20 };

static const char begin_mark[] = "\033[200~", end_mark[] = "\033[201~";

void typed_ask_for_marks(bool on)
{
	static const char *const kinds[] = {"xterm", "screen", "tmux",    "rxvt", "alacritty",
	                                    "foot",  "kitty",  "wezterm", "vte"};
	const char *term = getenv("TERM");
	for (size_t i = 0; term && i < sizeof kinds / sizeof *kinds; i++) {
		if (strncmp(term, kinds[i], strlen(kinds[i])) != 0)
			continue;
		fputs(on ? "\033[?2004h" : "\033[?2004l", stdout);
		fflush(stdout);
		return;
	}
}

int typed_read(struct typed *typed)
{
	if (typed->at == typed->n)
		typed->at = typed->n = 0;
	if (typed->at > 0) {
		memmove(typed->block, typed->block + typed->at, typed->n - typed->at);
		typed->n -= typed->at;
		typed->at = 0;
	}
	ssize_t n = read(typed->fd, typed->block + typed->n, sizeof typed->block - typed->n);
	if (n < 0)
		return errno == EINTR || errno == EAGAIN ? -1 : 0;
	typed->n += (size_t)n;
	return n > 0;
}

/* How many of the next bytes are a mark's first ones; 0: they are something else. */
static size_t mark_bytes(const struct typed *typed, const char *mark)
{
	size_t n = typed->n - typed->at < MARK_BYTES ? typed->n - typed->at : MARK_BYTES;
	return memcmp(typed->block + typed->at, mark, n) == 0 ? n : 0;
}

/* Whether a paste begins here; while it may what follows is read, if it comes at once: Esc is a key, too. */
static bool begins_paste(struct typed *typed)
{
	for (;;) {
		size_t n = mark_bytes(typed, begin_mark);
		if (n == 0 || n == MARK_BYTES)
			return n == MARK_BYTES;
		struct pollfd fd = {.fd = typed->fd, .events = POLLIN};
		if (poll(&fd, 1, MARK_WAIT_MS) <= 0 || typed_read(typed) <= 0)
			return false;
	}
}

/* The return key's CR is a line end; mostly the terminal has made it one. */
static void add_pasted(struct bytes *paste, unsigned char byte)
{
	byte = byte == '\r' ? '\n' : byte;
	bool is_control = (byte < 0x20 && byte != '\n' && byte != '\t') || byte == 0x7F;
	if (!is_control && paste->n_bytes < TYPED_MAX_PASTE_BYTES)
		bytes_append(paste, &byte, 1);
}

static enum key_taken end_paste(struct typed *typed)
{
	typed->at += MARK_BYTES;
	typed->pasting = false;
	bytes_append(&typed->paste, "", 0);
	while (typed->paste.n_bytes > 0 && typed->paste.data[typed->paste.n_bytes - 1] == '\n')
		typed->paste.data[--typed->paste.n_bytes] = '\0';
	return typed->paste.failed ? KEY_NONE : KEY_PASTE;
}

enum key_taken typed_take(struct typed *typed, unsigned char *byte)
{
	while (typed->at < typed->n) {
		size_t n_end = typed->pasting ? mark_bytes(typed, end_mark) : 0;
		if (n_end == MARK_BYTES)
			return end_paste(typed);
		if (n_end > 0) /* what is missing of it comes: however late, a paste ends */
			return KEY_NONE;
		if (!typed->pasting && begins_paste(typed)) {
			typed->at += MARK_BYTES;
			typed->pasting = true;
			bytes_clear(&typed->paste);
			continue;
		}
		*byte = typed->block[typed->at++];
		if (!typed->pasting)
			return KEY_BYTE;
		add_pasted(&typed->paste, *byte);
	}
	return KEY_NONE;
}

void typed_forget(struct typed *typed)
{
	typed->at = typed->n = 0;
	typed->pasting = false;
}

void typed_free(struct typed *typed)
{
	bytes_free(&typed->paste);
}
