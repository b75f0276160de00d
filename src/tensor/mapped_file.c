/* Mapping whole files: regular ones only, opened without waiting, touched page by page on request. */
#include "tensor/mapped_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/lfs_pointer.h"
#include "tensor/mapped_guard.h"
#include "tensor/weight_file.h"

enum { PAGE_BYTES = 4096 };

static bool map_open_file(int fd, const char *path, struct mapped_file *file, struct error *error)
{
	struct stat info;
	if (fstat(fd, &info) != 0)
		return error_set(error, ERROR_MODEL, "%s: %s", path, strerror(errno));
	if (!S_ISREG(info.st_mode))
		return error_set(error, ERROR_MODEL, "%s: not a regular file", path);
	if ((uint64_t)info.st_size > SIZE_MAX)
		return error_set(error, ERROR_MODEL, "%s: larger than the address space", path);
	file->n_bytes = (size_t)info.st_size;
	if (file->n_bytes == 0)
		return true;
	void *data = mmap(NULL, file->n_bytes, PROT_READ, MAP_SHARED, fd, 0);
	if (data == MAP_FAILED)
		return error_set(error, ERROR_MODEL, "%s: cannot be mapped: %s", path, strerror(errno));
	/* Where the file system has large folios: a file that is not in memory yet is read in pieces of 2 MiB (measured: a
	 * third of the time), and products read huge pages. Elsewhere this does nothing. */
	madvise(data, file->n_bytes, MADV_HUGEPAGE);
	file->data = data;
	if (!mapped_guard(path, file, &info))
		return error_set(error, ERROR_MODEL, "%s: %d files are mapped already, no more can be", path, MAPPED_MAX_FILES);
	return lfs_pointer_refuse(path, file->data, file->n_bytes, error);
}

bool mapped_file_open(const char *path, struct mapped_file *file, struct error *error)
{
	*file = (struct mapped_file){0};
	/* O_NONBLOCK: opening a FIFO must not wait for a writer. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return error_set(error, ERROR_MODEL, "%s: %s", path, strerror(errno));
	bool ok = map_open_file(fd, path, file, error);
	close(fd); /* the mapping survives */
	if (!ok)
		mapped_file_close(file);
	return ok;
}

void mapped_file_close(struct mapped_file *file)
{
	if (file->data) {
		mapped_unguard(file);
		munmap((void *)(uintptr_t)file->data, file->n_bytes);
	}
	*file = (struct mapped_file){0};
}

void mapped_touch(const void *data, size_t n_bytes)
{
	uintptr_t page = (uintptr_t)data / PAGE_BYTES * PAGE_BYTES, end = (uintptr_t)data + n_bytes;
#ifdef MADV_POPULATE_READ
	/* One call instead of a fault for every page, where the kernel (5.14) has it. */
	if (n_bytes && madvise((void *)page, end - page, MADV_POPULATE_READ) == 0)
		return;
#endif
	for (; page < end; page += PAGE_BYTES)
		(void)*(const volatile unsigned char *)page;
}

void mapped_release(const void *data, size_t n_bytes)
{
	uintptr_t first = ((uintptr_t)data + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
	uintptr_t end = ((uintptr_t)data + n_bytes) / PAGE_BYTES * PAGE_BYTES;
	if (first < end)
		madvise((void *)first, end - first, MADV_DONTNEED);
}
