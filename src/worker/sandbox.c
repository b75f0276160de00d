#include "worker/sandbox.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"

/* Sanitizers trace the process at its end, and coverage is written to files then. */
extern void __gcov_dump(void) __attribute__((weak));
static const char *build_reason(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	return "a build with a sanitizer";
#else
	return __gcov_dump ? "a build that measures coverage" : NULL;
#endif
}

static void note(struct sandbox *sandbox, const char *what, int reason)
{
	size_t n = strlen(sandbox->why_not);
	snprintf(sandbox->why_not + n, sizeof sandbox->why_not - n, "%s%s: %s", n ? "; " : "", what, strerror(reason));
}

void sandbox_init(struct sandbox *sandbox, bool wanted, const char *log_file, const char *socket_path)
{
	const char *reason = wanted ? build_reason() : "--no-sandbox";
	struct stat info;
	bool reopens = log_file && stat(log_file, &info) == 0 && S_ISREG(info.st_mode);
	*sandbox =
	    (struct sandbox){.wanted = reason == NULL, .log_file = reopens ? log_file : NULL, .socket_path = socket_path};
	if (reason)
		snprintf(sandbox->why_not, sizeof sandbox->why_not, "%s", reason);
}

/* ---- files ---- */

enum { MOST_LINKS = 2000, MOST_DEPTH = 2 };

#define READING (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define HANDLED                                                                                                        \
	(READING | LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |            \
	 LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR |                     \
	 LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |                       \
	 LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM)
/* Linux 6.2; older headers do not know it. */
#define TRUNCATING (1ULL << 14)
enum { TRUNCATING_ABI = 3 };

static bool allow_path(int rules, const char *path)
{
	struct stat info;
	int fd = open(path, O_PATH | O_CLOEXEC);
	if (fd < 0)
		return false;
	bool folder = fstat(fd, &info) == 0 && S_ISDIR(info.st_mode);
	struct landlock_path_beneath_attr rule = {.allowed_access = folder ? READING : LANDLOCK_ACCESS_FS_READ_FILE,
	                                          .parent_fd = fd};
	bool ok = syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0;
	close(fd);
	return ok && folder;
}

/* Not every file system says it with the name. */
static unsigned char type_of(const struct dirent *entry, const char *path)
{
	struct stat info;
	if (entry->d_type != DT_UNKNOWN || lstat(path, &info) != 0)
		return entry->d_type;
	return IFTODT(info.st_mode);
}

/* A cache of models holds links to files elsewhere. */
static void allow_links(int rules, const char *folder, int depth, int *n_left)
{
	DIR *entries = opendir(folder);
	struct dirent *entry;
	while (entries && (entry = readdir(entries)) && *n_left > 0) {
		char path[PATH_MAX];
		if (entry->d_name[0] == '.' || snprintf(path, sizeof path, "%s/%s", folder, entry->d_name) >= (int)sizeof path)
			continue;
		(*n_left)--;
		unsigned char type = type_of(entry, path);
		if (type == DT_LNK)
			(void)allow_path(rules, path);
		else if (type == DT_DIR && depth < MOST_DEPTH)
			allow_links(rules, path, depth + 1, n_left);
	}
	if (entries)
		closedir(entries);
}

/* In the folder of a file that is there or will be. */
static void allow_beside(int rules, const char *path, uint64_t what)
{
	char folder[PATH_MAX];
	snprintf(folder, sizeof folder, "%s", path);
	char *slash = strrchr(folder, '/');
	if (slash)
		slash[slash == folder] = 0;
	int fd = open(slash ? folder : ".", O_PATH | O_CLOEXEC);
	struct landlock_path_beneath_attr rule = {.allowed_access = what, .parent_fd = fd};
	if (fd < 0)
		return;
	(void)syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
	close(fd);
}

static bool restrict_files(const struct sandbox *sandbox, int abi, const char *const *paths, size_t n_paths)
{
	/* Facts of the system that are read while serving, too: CPUs, quota, memory. */
	static const char *const facts[] = {"/proc", "/sys", "/dev/null", "/dev/urandom"};
	struct landlock_ruleset_attr attributes = {.handled_access_fs = HANDLED | (abi >= TRUNCATING_ABI ? TRUNCATING : 0)};
	int rules = (int)syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes, 0);
	int n_left = MOST_LINKS;
	if (rules < 0)
		return false;
	for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++)
		(void)allow_path(rules, facts[i]);
	for (size_t i = 0; i < n_paths; i++)
		if (allow_path(rules, paths[i]))
			allow_links(rules, paths[i], 0, &n_left);
	/* A log may be moved away, and be made anew; a socket is made, and removed at the end. */
	if (sandbox->log_file)
		allow_beside(rules, sandbox->log_file, LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG);
	if (sandbox->socket_path)
		allow_beside(rules, sandbox->socket_path, LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_REMOVE_FILE);
	bool ok = syscall(SYS_landlock_restrict_self, rules, 0) == 0;
	int reason = errno;
	close(rules);
	errno = reason;
	return ok;
}

/* ---- capabilities ---- */

static bool drop_capabilities(bool binds_low_port)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
	if (syscall(SYS_capget, &header, data) != 0)
		return false;
	unsigned kept = 1u << CAP_DAC_READ_SEARCH | (binds_low_port ? 1u << CAP_NET_BIND_SERVICE : 0);
	for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
		unsigned mask = i == 0 ? kept : 0;
		data[i].effective &= mask;
		data[i].permitted &= mask;
		data[i].inheritable = 0;
	}
	return syscall(SYS_capset, &header, data) == 0;
}

void sandbox_narrow_files(struct sandbox *sandbox, const char *const *paths, size_t n_paths, bool binds_low_port)
{
	if (!sandbox->wanted)
		return;
	sandbox->no_new_privileges = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
	if (!sandbox->no_new_privileges) {
		note(sandbox, "no_new_privs", errno);
		return;
	}
	int abi = (int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	if (abi > 0 && restrict_files(sandbox, abi, paths, n_paths))
		sandbox->landlock_abi = abi;
	else
		note(sandbox, "landlock", errno);
	sandbox->no_capabilities = drop_capabilities(binds_low_port);
	if (!sandbox->no_capabilities)
		note(sandbox, "capabilities", errno);
}

/* ---- calls ---- */

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

/* In the order of tests/unit/test_sandbox.c, which says what each is for. Those of the second list are allowed with some
 * arguments only. */
#define PLAIN_CALLS(X)                                                                                                 \
	X(accept4)                                                                                                         \
	X(brk)                                                                                                             \
	X(clock_gettime)                                                                                                   \
	X(clock_nanosleep)                                                                                                 \
	X(close)                                                                                                           \
	X(eventfd2)                                                                                                        \
	X(exit)                                                                                                            \
	X(exit_group)                                                                                                      \
	X(fstat)                                                                                                           \
	X(futex)                                                                                                           \
	X(getpid)                                                                                                          \
	X(getppid)                                                                                                         \
	X(getrandom)                                                                                                       \
	X(getsockopt)                                                                                                      \
	X(gettid)                                                                                                          \
	X(lseek)                                                                                                           \
	X(madvise)                                                                                                         \
	X(mremap)                                                                                                          \
	X(munmap)                                                                                                          \
	X(newfstatat)                                                                                                      \
	X(ppoll)                                                                                                           \
	X(read)                                                                                                            \
	X(recvfrom)                                                                                                        \
	X(restart_syscall)                                                                                                 \
	X(rseq)                                                                                                            \
	X(rt_sigaction)                                                                                                    \
	X(rt_sigprocmask)                                                                                                  \
	X(rt_sigreturn)                                                                                                    \
	X(sched_getaffinity)                                                                                               \
	X(sched_yield)                                                                                                     \
	X(set_robust_list)                                                                                                 \
	X(setsockopt)                                                                                                      \
	X(shutdown)                                                                                                        \
	X(unlinkat)                                                                                                        \
	X(write)                                                                                                           \
	X(writev)
#if defined(__x86_64__)
#define OWN_CALLS(X) X(alarm) X(poll) X(unlink)
#else
#define OWN_CALLS(X) X(setitimer)
#endif
#define CHECKED_CALLS(X) X(clone) X(fcntl) X(mmap) X(mprotect) X(openat) X(prctl) X(sendto) X(tgkill)

#define NAME(call)   #call,
#define NUMBER(call) SYS_##call,
static const char *const call_names[] = {PLAIN_CALLS(NAME) OWN_CALLS(NAME) CHECKED_CALLS(NAME)};
static const int plain_calls[] = {PLAIN_CALLS(NUMBER) OWN_CALLS(NUMBER)};

const char *const *sandbox_calls(size_t *n_calls)
{
	*n_calls = sizeof call_names / sizeof call_names[0];
	return call_names;
}

struct program {
	struct sock_filter code[512];
	unsigned short n;
};

static void emit(struct program *program, unsigned short code, unsigned value, unsigned char if_true,
                 unsigned char if_false)
{
	program->code[program->n++] = (struct sock_filter){code, if_true, if_false, value};
}

static void load(struct program *program, size_t offset)
{
	emit(program, BPF_LD | BPF_W | BPF_ABS, (unsigned)offset, 0, 0);
}

static void answer(struct program *program, unsigned what)
{
	emit(program, BPF_RET | BPF_K, what, 0, 0);
}

/* Of an argument the lower half; that is where it lies on little-endian machines. */
static size_t argument(int i)
{
	return offsetof(struct seccomp_data, args) + (size_t)i * sizeof(uint64_t);
}

#define REFUSED (SECCOMP_RET_ERRNO | EPERM)

/* The call is allowed where the comparison (BPF_JEQ, BPF_JGT: above, BPF_JSET: some bits of) of the argument with the value
 * holds, or where it does not; else it is refused. */
static void check_argument(struct program *program, int call, int which, unsigned comparison, unsigned value,
                           bool holds)
{
	emit(program, BPF_JMP | BPF_JEQ | BPF_K, (unsigned)call, 0, 4);
	load(program, argument(which));
	emit(program, (unsigned short)(BPF_JMP | comparison | BPF_K), value, holds ? 1 : 0, holds ? 0 : 1);
	answer(program, REFUSED);
	answer(program, SECCOMP_RET_ALLOW);
}

/* A socket's packets go to whom it is connected: no address, in neither half of the pointer. (sendmsg's lies in memory; with
 * it, and MSG_FASTOPEN, a listening socket that was shut down connects to anybody.) */
static void check_no_address(struct program *program)
{
	emit(program, BPF_JMP | BPF_JEQ | BPF_K, SYS_sendto, 0, 6);
	load(program, argument(4));
	emit(program, BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 3);
	load(program, argument(4) + sizeof(uint32_t));
	emit(program, BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1);
	answer(program, SECCOMP_RET_ALLOW);
	answer(program, REFUSED);
}

/* To read; or to append as the log does, which some may. */
static void check_open(struct program *program, bool appends)
{
	emit(program, BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 5);
	load(program, argument(2));
	emit(program, BPF_JMP | BPF_JEQ | BPF_K, appends ? LOG_OPEN_FLAGS : O_RDONLY, 2, 0);
	emit(program, BPF_JMP | BPF_JSET | BPF_K, O_WRONLY | O_RDWR | O_CREAT | O_TRUNC | O_APPEND, 0, 1);
	answer(program, REFUSED);
	answer(program, SECCOMP_RET_ALLOW);
}

/* appends: whether files may be opened as the log opens its own. */
static void write_program(struct program *program, bool appends)
{
	program->n = 0;
	load(program, offsetof(struct seccomp_data, arch));
	emit(program, BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0);
	answer(program, SECCOMP_RET_KILL_PROCESS);
	load(program, offsetof(struct seccomp_data, nr));
	for (size_t i = 0; i < sizeof plain_calls / sizeof plain_calls[0]; i++) {
		emit(program, BPF_JMP | BPF_JEQ | BPF_K, (unsigned)plain_calls[i], 0, 1);
		answer(program, SECCOMP_RET_ALLOW);
	}
	check_argument(program, SYS_clone, 0, BPF_JSET, 0x00010000, true); /* CLONE_THREAD */
	check_argument(program, SYS_fcntl, 1, BPF_JGT, F_SETFL,
	               false); /* those above lock, or have signals sent to others */
	check_argument(program, SYS_mmap, 2, BPF_JSET, PROT_EXEC, false);
	check_argument(program, SYS_mprotect, 2, BPF_JSET, PROT_EXEC, false);
	check_open(program, appends);
	check_argument(program, SYS_prctl, 0, BPF_JEQ, PR_SET_NAME, true);
	check_no_address(program);
	check_argument(program, SYS_tgkill, 0, BPF_JEQ, (unsigned)getpid(), true); /* nobody else is signalled */
	/* Its arguments lie in memory, where they can change after a look; libraries then do with clone. */
	emit(program, BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1);
	answer(program, SECCOMP_RET_ERRNO | ENOSYS);
	answer(program, REFUSED);
}

void sandbox_close(struct sandbox *sandbox)
{
	struct program program;
	if (!sandbox->wanted || !sandbox->no_new_privileges)
		return;
	sandbox->not_dumpable = prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0;
	if (!sandbox->not_dumpable)
		note(sandbox, "dumpable", errno);
	write_program(&program, sandbox->log_file && sandbox->landlock_abi > 0);
	struct sock_fprog filter = {.len = program.n, .filter = program.code};
	errno = ENOSYS;
	sandbox->seccomp = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &filter) == 0;
	if (!sandbox->seccomp)
		note(sandbox, "seccomp", errno);
}

void sandbox_describe(const struct sandbox *sandbox, struct bytes *out)
{
	json_open(out);
	json_field_bool(out, "on", sandbox->wanted);
	json_field_bool(out, "seccomp", sandbox->seccomp);
	json_field_int(out, "landlock", sandbox->landlock_abi);
	json_field_bool(out, "no_new_privs", sandbox->no_new_privileges);
	json_field_bool(out, "no_capabilities", sandbox->no_capabilities);
	json_field_bool(out, "not_dumpable", sandbox->not_dumpable);
	if (sandbox->why_not[0])
		json_field_text(out, "why_not", sandbox->why_not);
	json_close(out);
}
