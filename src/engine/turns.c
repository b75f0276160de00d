#include "engine/turns.h"

#include <stdlib.h>

bool turns_create(struct turns *turns, int n_requests)
{
	*turns = (struct turns){.list = calloc((size_t)n_requests, sizeof *turns->list), .n = n_requests};
	return turns->list != NULL;
}

void turns_destroy(struct turns *turns)
{
	free(turns->list);
	turns->list = NULL;
}

int turns_join(struct turns *turns, uint64_t owner)
{
	int empty = -1;
	for (int i = 0; i < turns->n; i++) {
		struct turn *turn = &turns->list[i];
		if (turn->n_requests > 0 && turn->owner == owner) {
			turn->n_requests++;
			return i;
		}
		if (turn->n_requests == 0 && empty < 0)
			empty = i;
	}
	/* There are as many as requests. A newcomer takes part in the round at once. */
	turns->list[empty] = (struct turn){.owner = owner, .n_requests = 1, .balance = TURN_QUANTUM};
	return empty;
}

void turns_leave(struct turns *turns, int turn)
{
	turns->list[turn].n_requests--;
}

void turns_charge(struct turns *turns, int turn, int64_t n_tokens)
{
	turns->list[turn].balance -= n_tokens;
}

void turns_clear(struct turns *turns)
{
	for (int i = 0; i < turns->n; i++)
		turns->list[i].wants = false;
}

void turns_want(struct turns *turns, int turn)
{
	turns->list[turn].wants = true;
}

/* As many rounds as it takes until somebody that wants something may have it. */
static bool begin_rounds(struct turns *turns)
{
	int64_t most = INT64_MIN;
	for (int i = 0; i < turns->n; i++)
		if (turns->list[i].wants && turns->list[i].balance > most)
			most = turns->list[i].balance;
	if (most == INT64_MIN)
		return false;
	int64_t n_rounds = most > 0 ? 0 : -most / TURN_QUANTUM + 1;
	for (int i = 0; i < turns->n; i++)
		if (turns->list[i].wants)
			turns->list[i].balance += n_rounds * TURN_QUANTUM;
	return true;
}

int turns_next(struct turns *turns)
{
	if (!begin_rounds(turns))
		return -1;
	while (!turns->list[turns->at].wants || turns->list[turns->at].balance <= 0)
		turns->at = (turns->at + 1) % turns->n;
	return turns->at;
}

void turns_serve(struct turns *turns, int turn, int64_t now_ns)
{
	turns->list[turn].served_ns = now_ns;
	turns->at = (turn + 1) % turns->n;
}
