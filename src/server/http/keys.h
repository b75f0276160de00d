/* The keys that are let in, as digests, and what is counted for each by its name. A name's account outlives the key: usage goes
 * on where a reread file has the name again. What a key without one is called depends on its line, so its account is its
 * digest's. */
#ifndef TALLOW_SERVER_HTTP_KEYS_H
#define TALLOW_SERVER_HTTP_KEYS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/engine.h"
#include "server/http/head.h"
#include "server/server.h"

struct key_account {
	struct key_account *next; /* of the ring */
	struct account account;   /* counted by the engine */
	struct digest digest;     /* where the key has no name */
	/* Guarded by the ring's lock. */
	char name[KEY_NAME_BYTES + 1]; /* where the key has none, the last thing it was called */
	bool named;
	bool listed; /* in /metrics: while nothing else may be called so */
	/* The last limit that was set, and what is left of it; guarded by the lock. */
	pthread_mutex_t lock;
	int64_t tokens_per_minute;
	double tokens_left;
	int64_t refilled_ns;        /* 0: never used */
	unsigned long long n_spent; /* of the account's tokens, those that were taken off */
};

/* Read by connections' threads, replaced as a whole on SIGHUP. */
struct key_ring {
	pthread_rwlock_t lock;
	struct api_key *keys;             /* [n_keys]; none = every request is let in */
	struct key_account **accounts;    /* [n_keys] */
	struct key_account *all_accounts; /* those of keys that are gone included */
	int n_keys;
	bool has_admin;
};

/* Whoever was let in. */
struct key_access {
	uint64_t owner;              /* one number per key, 0 where no key is asked for */
	struct key_account *account; /* NULL where no key is asked for; the ring's */
	char name[KEY_NAME_BYTES + 1];
	int max_requests;          /* at a time; 0: any number */
	int64_t tokens_per_minute; /* 0: any number */
	int max_priority;
	bool admin; /* may end the worker and read its numbers */
};

/* ERROR_USAGE for two keys of one name, and then nothing changed; ERROR_MEMORY. */
bool key_ring_init(struct key_ring *ring, const struct api_key *keys, int n_keys, struct error *error) MUST_USE;
void key_ring_free(struct key_ring *ring);
bool key_ring_replace(struct key_ring *ring, const struct api_key *keys, int n_keys, struct error *error) MUST_USE;
/* Fills *access when the token is that of a key, or none is asked for; else ERROR_UNAUTHORIZED. `token` at == NULL: none was
 * sent. Time does not depend on where a wrong key differs. */
bool key_ring_admit(struct key_ring *ring, struct head_text token, struct key_access *access,
                    struct error *error) MUST_USE;
/* Whether a key may have more tokens now; else ERROR_QUEUE_FULL and when. What a request took is taken off once it is known, so
 * that a key may be in debt; what was taken while there was no limit never is. now_ns: clock_ns(). */
bool key_may_spend(const struct key_access *access, int64_t now_ns, int *retry_after_s, struct error *error) MUST_USE;

#endif
