#include "base/running.h"

#include <stdatomic.h>
#include <sys/mman.h>

#include "base/hash.h"

enum { N_PLACES = 4096, N_SUSPECTS = 256 };

/* One that ran at a crash; mark 0: free. */
struct suspect {
	_Atomic uint64_t mark;
	atomic_int n_crashes;
	_Atomic int64_t last_ns;
};

struct running {
	uint64_t key[2];
	atomic_uint n_crashes;
	_Atomic uint64_t places[N_PLACES]; /* marks; 0: free */
	struct suspect suspects[N_SUSPECTS];
};

struct running *running_create(struct error *error)
{
	struct running *running = mmap(NULL, sizeof *running, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (running != MAP_FAILED && random_bytes(running->key, sizeof running->key))
		return running;
	error_set(error, ERROR_MEMORY, "no memory to share with the worker");
	return NULL;
}

uint64_t running_mark(const struct running *running, const void *path, size_t n_path, const void *body, size_t n_body)
{
	uint64_t mark = hash_mix(hash_keyed(running->key, path, n_path)) ^ hash_keyed(running->key, body, n_body);
	return mark ? mark : 1;
}

static struct suspect *find_suspect(const struct running *running, uint64_t mark)
{
	for (int i = 0; i < N_SUSPECTS; i++)
		if (atomic_load(&running->suspects[i].mark) == mark)
			return (struct suspect *)&running->suspects[i];
	return NULL;
}

static bool is_recent(const struct suspect *suspect, int64_t now_ns)
{
	return now_ns - atomic_load(&suspect->last_ns) < (int64_t)RUNNING_KEPT_OUT_S * 1000000000;
}

bool running_may(const struct running *running, uint64_t mark, int64_t now_ns)
{
	const struct suspect *suspect = find_suspect(running, mark);
	return !suspect || atomic_load(&suspect->n_crashes) < RUNNING_CRASHES || !is_recent(suspect, now_ns);
}

int running_begin(struct running *running, uint64_t mark)
{
	for (int i = 0; i < N_PLACES; i++) {
		int place = (int)((mark + (uint64_t)i) % N_PLACES);
		uint64_t none = 0;
		if (atomic_compare_exchange_strong(&running->places[place], &none, mark))
			return place;
	}
	return -1;
}

void running_end(struct running *running, int place, bool answered)
{
	if (place < 0)
		return;
	struct suspect *suspect = answered ? find_suspect(running, atomic_load(&running->places[place])) : NULL;
	if (suspect)
		atomic_store(&suspect->n_crashes, 0);
	atomic_store(&running->places[place], 0);
}

/* The mark's own, or one that nobody misses: that of the longest ago. */
static struct suspect *suspect_for(struct running *running, uint64_t mark)
{
	struct suspect *found = find_suspect(running, mark), *oldest = &running->suspects[0];
	if (found)
		return found;
	for (int i = 1; i < N_SUSPECTS; i++)
		if (atomic_load(&running->suspects[i].last_ns) < atomic_load(&oldest->last_ns))
			oldest = &running->suspects[i];
	atomic_store(&oldest->mark, mark);
	atomic_store(&oldest->n_crashes, 0);
	atomic_store(&oldest->last_ns, 0);
	return oldest;
}

int running_crashed(struct running *running, int64_t now_ns)
{
	int n = 0;
	atomic_fetch_add(&running->n_crashes, 1);
	for (int i = 0; i < N_PLACES; i++) {
		uint64_t mark = atomic_exchange(&running->places[i], 0);
		if (!mark)
			continue;
		n++;
		struct suspect *suspect = suspect_for(running, mark);
		if (atomic_load(&suspect->last_ns) == now_ns)
			continue; /* the same request, twice at one crash */
		atomic_store(&suspect->n_crashes, is_recent(suspect, now_ns) ? atomic_load(&suspect->n_crashes) + 1 : 1);
		atomic_store(&suspect->last_ns, now_ns);
	}
	return n;
}

unsigned running_crashes(const struct running *running)
{
	return atomic_load(&running->n_crashes);
}
