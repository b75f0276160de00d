#include "server/dialects/responses_logprobs.h"

#include <string.h>

#include "server/dialects/openai_logprobs.h"

/* Of the choice's notes: what waits, as JSON without commas, and for each token of it a struct place. */
enum { WAITING = RESPONSES_LOGPROBS + 1, PLACES };
_Static_assert((int)PLACES < (int)GENERATION_NOTES, "a note for each");

/* Where a token's text stands in all that was said: nowhere where its event had none, which the next ones then bring. */
struct place {
	int64_t begin, end;
	size_t n_bytes; /* of the JSON */
};

void responses_logprobs_push(struct generation *generation, const struct event *event)
{
	struct choice *choice = &generation->choices[0];
	struct bytes item = {0};
	if (!generation->asked.logprobs || event->type != EVENT_TOKEN)
		return;
	struct place place = {.begin = choice->n_bytes_read, .end = choice->n_bytes_read + (int64_t)event->n_text_bytes};
	choice->n_bytes_read = place.end;
	if (!event->logprobs)
		return;
	chat_logprobs_add(generation->tokenizer, event, &item);
	place.n_bytes = item.n_bytes;
	bytes_append(&choice->notes[WAITING], item.data, item.n_bytes);
	bytes_append(&choice->notes[PLACES], &place, sizeof place);
	bytes_free_part(&item, &choice->notes[WAITING]);
}

static void drop_first(struct bytes *bytes, size_t n_bytes)
{
	memmove(bytes->data, bytes->data + n_bytes, bytes->n_bytes - n_bytes);
	bytes->n_bytes -= n_bytes;
}

/* Tokens that begin before `end` wait no longer: those that are text from `begin` on are appended. items NULL: nothing of
 * them is text, and what goes beyond `end` waits on. */
static void take(struct choice *choice, int64_t begin, int64_t end, struct bytes *items)
{
	struct bytes *waiting = &choice->notes[WAITING], *places = &choice->notes[PLACES];
	size_t n_taken = 0, n_places = 0;
	for (struct place place; n_places < places->n_bytes; n_places += sizeof place, n_taken += place.n_bytes) {
		memcpy(&place, places->data + n_places, sizeof place);
		if (place.begin >= end || (!items && place.end > end))
			break;
		if (!items || (place.begin < begin && place.end <= begin))
			continue;
		if (items->n_bytes > 0)
			bytes_append_text(items, ",");
		bytes_append(items, waiting->data + n_taken, place.n_bytes);
	}
	if (n_places > 0) {
		drop_first(waiting, n_taken);
		drop_first(places, n_places);
	}
}

/* A part ends where what the reader holds back begins; tokens of a call wait for its end, for it may become text. */
void responses_logprobs_take(struct generation *generation, const struct answer_part *part, struct bytes *items)
{
	struct choice *choice = &generation->choices[0];
	int64_t end = choice->n_bytes_read - (int64_t)answer_reader_waiting(choice->reader);
	if (!generation->asked.logprobs)
		return;
	items->failed |= choice->notes[WAITING].failed || choice->notes[PLACES].failed;
	if (items->failed)
		return;
	switch (part->kind) {
	case ANSWER_CONTENT:
	case ANSWER_CALL_BROKEN:
		take(choice, end - (int64_t)part->n_bytes, end, items);
		break;
	case ANSWER_REASONING:
	case ANSWER_CALL_ENDED:
		take(choice, end, end, NULL);
		break;
	case ANSWER_CALL_BEGUN:
	case ANSWER_CALL_ARGUMENTS:
		break;
	}
}
