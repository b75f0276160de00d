/* Whose turn it is: owners of requests share what is computed by deficit round robin (Shreedhar & Varghese, 1995), with their
 * accounts settled afterwards, since how long an answer gets is known only then. Whoever has nothing left waits for a round,
 * in which each that wants something gets a quantum of tokens. One owner alone always has its turn.
 *
 *     int turn = turns_join(&turns, owner);            // of each request; the same number for the same owner
 *     turns_want(&turns, turn);                        // those that could be served now
 *     turn = turns_next(&turns);                       // the same one until it was served, or does not want any more
 *     turns_serve(&turns, turn, now_ns);  turns_charge(&turns, turn, n_tokens);
 *     turns_leave(&turns, turn);
 *
 * Pure: no clock, nothing allocated after turns_create. */
#ifndef TALLOW_ENGINE_TURNS_H
#define TALLOW_ENGINE_TURNS_H

#include <stdbool.h>
#include <stdint.h>

enum { TURN_QUANTUM = 512 }; /* tokens, prompt and answer alike */

struct turn {
	uint64_t owner;
	int n_requests;    /* 0: nobody's */
	int64_t balance;   /* tokens that it may still have in this round */
	int64_t served_ns; /* when it last had its turn */
	bool wants;
};

struct turns {
	struct turn *list; /* [n], as many as there may be requests */
	int n;
	int at; /* whose turn it is, or was */
};

bool turns_create(struct turns *turns, int n_requests); /* false when memory is short */
void turns_destroy(struct turns *turns);
int turns_join(struct turns *turns, uint64_t owner);
void turns_leave(struct turns *turns, int turn);
void turns_charge(struct turns *turns, int turn, int64_t n_tokens);

void turns_clear(struct turns *turns); /* nobody wants anything */
void turns_want(struct turns *turns, int turn);
/* Who of those that want is next; -1: nobody does. */
int turns_next(struct turns *turns);
/* It had its turn. */
void turns_serve(struct turns *turns, int turn, int64_t now_ns);

#endif
