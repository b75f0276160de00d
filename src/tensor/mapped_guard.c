/* Guarded mappings (mapped_guard.h). The table is written under a lock and read by a signal handler, which takes none: an
 * entry's end is set last when it comes and cleared first when it goes. */
#include "tensor/mapped_guard.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "tensor/weight_file.h"

enum { PAGE_BYTES = 4096, PATH_BYTES = 1024 };

struct region {
	uintptr_t start;
	atomic_uintptr_t end; /* 0: the entry is free */
	struct stat info;
	char path[PATH_BYTES];
	bool replaced; /* and told */
};

static struct region regions[MAPPED_MAX_FILES];
static atomic_int n_regions; /* entries that were ever used */
static pthread_mutex_t table = PTHREAD_MUTEX_INITIALIZER;
static _Atomic(struct region *) first_lost;
static struct sigaction before; /* who had the signal before us */

/* Zeros from `page` to the region's end: what lies behind a cut is gone, too. */
static bool fill_lost(struct region *region, uintptr_t page, uintptr_t end)
{
	void *zeros = mmap((void *)page, end - page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	struct region *none = NULL;
	atomic_compare_exchange_strong(&first_lost, &none, region);
	return zeros != MAP_FAILED;
}

static void take_bus_error(int number, siginfo_t *info, void *context)
{
	(void)context;
	uintptr_t at = (uintptr_t)info->si_addr;
	int n = atomic_load(&n_regions);
	for (int i = 0; i < n; i++) {
		uintptr_t end = atomic_load(&regions[i].end);
		if (end && at >= regions[i].start && at < end && fill_lost(&regions[i], at / PAGE_BYTES * PAGE_BYTES, end))
			return;
	}
	sigaction(number, &before, NULL); /* not ours: it comes again */
}

static void handle_bus_errors(void)
{
	struct sigaction action = {.sa_sigaction = take_bus_error, .sa_flags = SA_SIGINFO};
	struct sigaction now;
	if (sigaction(SIGBUS, NULL, &now) != 0 || now.sa_sigaction == take_bus_error)
		return;
	before = now;
	sigaction(SIGBUS, &action, NULL);
}

bool mapped_guard(const char *path, const struct mapped_file *file, const struct stat *info)
{
	bool guarded = false;
	handle_bus_errors();
	pthread_mutex_lock(&table);
	for (int i = 0; i < MAPPED_MAX_FILES && !guarded; i++) {
		struct region *region = &regions[i];
		if (atomic_load(&region->end))
			continue;
		region->start = (uintptr_t)file->data;
		region->info = *info;
		region->replaced = false;
		snprintf(region->path, sizeof region->path, "%s", path);
		if (i >= atomic_load(&n_regions))
			atomic_store(&n_regions, i + 1);
		atomic_store(&region->end, region->start + file->n_bytes);
		guarded = true;
	}
	pthread_mutex_unlock(&table);
	return guarded;
}

void mapped_unguard(const struct mapped_file *file)
{
	pthread_mutex_lock(&table);
	for (int i = 0; i < atomic_load(&n_regions); i++)
		if (atomic_load(&regions[i].end) && regions[i].start == (uintptr_t)file->data) {
			atomic_store(&regions[i].end, 0);
			struct region *lost = &regions[i];
			atomic_compare_exchange_strong(&first_lost, &lost, NULL);
		}
	pthread_mutex_unlock(&table);
}

bool mapped_lost(struct error *error)
{
	const struct region *region = atomic_load(&first_lost);
	if (!region)
		return false;
	const char *name = strrchr(region->path, '/');
	error_set(error, ERROR_MODEL_FAULT, "%s lost part of its content while it was mapped: restore it and start again",
	          name ? name + 1 : region->path);
	return true;
}

static bool is_other(const struct region *region, const struct stat *now)
{
	return now->st_ino != region->info.st_ino || now->st_dev != region->info.st_dev;
}

/* What is wrong with one file; false when nothing is. A name that means another file by now does no harm. */
static bool has_changed(const struct region *region, struct error *error)
{
	struct stat now;
	if (stat(region->path, &now) != 0 || is_other(region, &now))
		return false;
	bool same = now.st_size == region->info.st_size && now.st_mtim.tv_sec == region->info.st_mtim.tv_sec &&
	            now.st_mtim.tv_nsec == region->info.st_mtim.tv_nsec;
	if (same)
		return false;
	const char *name = strrchr(region->path, '/');
	error_set(error, ERROR_MODEL_FAULT,
	          "%s was written to while it was mapped (%lld bytes, now %lld): restore it and start again",
	          name ? name + 1 : region->path, (long long)region->info.st_size, (long long)now.st_size);
	return true;
}

bool mapped_changed(struct error *error)
{
	bool changed = mapped_lost(error);
	pthread_mutex_lock(&table);
	for (int i = 0; i < atomic_load(&n_regions) && !changed; i++)
		changed = atomic_load(&regions[i].end) && has_changed(&regions[i], error);
	pthread_mutex_unlock(&table);
	return changed;
}

bool mapped_replaced(char *name, size_t n_bytes)
{
	bool found = false;
	pthread_mutex_lock(&table);
	for (int i = 0; i < atomic_load(&n_regions) && !found; i++) {
		struct region *region = &regions[i];
		struct stat now;
		if (!atomic_load(&region->end) || region->replaced)
			continue;
		bool gone = stat(region->path, &now) != 0;
		found = region->replaced = gone ? errno == ENOENT : is_other(region, &now);
		if (found)
			snprintf(name, n_bytes, "%s", strrchr(region->path, '/') ? strrchr(region->path, '/') + 1 : region->path);
	}
	pthread_mutex_unlock(&table);
	return found;
}
