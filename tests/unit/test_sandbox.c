/* worker/sandbox: which calls are left, and that the others, and other files, are refused to all threads.
 *
 * A call that is new in the program's table fails here until it has a reason. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "worker/sandbox.h"

static const char *const reasons[][2] = {
    {"accept4", "connections come in"},
    {"alarm", "an end that hangs is ended"},
    {"brk", "the heap"},
    {"clock_gettime", "the time, where the kernel's page does not tell it"},
    {"clock_nanosleep", "pauses: while room is made for connections, at the end"},
    {"clone", "a thread for each connection; checked: threads alone"},
    {"close", "connections, streams, files that were read"},
    {"eventfd2", "each stream has one"},
    {"exit", "a thread ends"},
    {"exit_group", "the process ends"},
    {"fcntl", "sockets that do not block"},
    {"fstat", "sizes of files that are read"},
    {"futex", "mutexes and conditions"},
    {"getpid", "/info tells it; abort"},
    {"getppid", "--exit-with-parent"},
    {"getrandom", "seeds and ids"},
    {"getsockopt", "how much came in on an idle connection"},
    {"gettid", "abort"},
    {"lseek", "files that were read in blocks are closed"},
    {"madvise", "memory is given back"},
    {"mmap", "memory and stacks; checked: nothing executable"},
    {"mprotect", "guards of stacks; checked: nothing executable"},
    {"mremap", "large blocks grow"},
    {"munmap", "and go"},
    {"newfstatat", "whether the model's files are what they were; files that are read"},
    {"openat", "the key file, facts of /proc and cgroups; checked: to read, or the log file, as the log opens it"},
    {"poll", "streams and clients are waited for"},
    {"ppoll", "the same where there is no poll"},
    {"prctl", "checked: names of threads"},
    {"read", "events, signals, files"},
    {"recvfrom", "requests"},
    {"restart_syscall", "the kernel's own, after a signal"},
    {"rseq", "a thread's beginning"},
    {"rt_sigaction", "how signals end a process that has drained"},
    {"rt_sigprocmask", "a thread's beginning"},
    {"rt_sigreturn", "a signal's end"},
    {"sched_getaffinity", "how many threads compute follows what the process may use"},
    {"sched_yield", "threads that wait for each other for a moment"},
    {"sendto", "answers; posts, by the helper; what systemd is told; checked: to nobody that is not connected"},
    {"set_robust_list", "a thread's beginning"},
    {"setitimer", "an end that hangs is ended, where there is no alarm"},
    {"setsockopt", "how a connection sends"},
    {"shutdown", "connections that are past their deadline"},
    {"tgkill", "abort"},
    {"unlink", "a Unix socket's file, at the end"},
    {"unlinkat", "the same where there is no unlink"},
    {"write", "the log, events"},
    {"writev", "what the C library says before it aborts"},
};
enum { N_REASONS = sizeof reasons / sizeof reasons[0] };

static const char *reason_for(const char *call)
{
	for (size_t i = 0; i < N_REASONS; i++)
		if (strcmp(reasons[i][0], call) == 0)
			return reasons[i][1];
	return NULL;
}

static void each_call_has_a_reason(void **state)
{
	(void)state;
	size_t n_calls;
	const char *const *calls = sandbox_calls(&n_calls);
	for (size_t i = 0; i < n_calls; i++)
		if (!reason_for(calls[i]))
			fail_msg("%s is allowed for no reason that is written down here", calls[i]);
	assert_in_range(n_calls, N_REASONS - 3, N_REASONS); /* some are those of one architecture */
	static const char *const never[] = {"socket", "connect", "sendmsg", "execve", "fork",
	                                    "vfork",  "clone3",  "ptrace",  "bind",   "open"};
	for (size_t i = 0; i < sizeof never / sizeof never[0]; i++)
		assert_null(reason_for(never[i]));
}

/* ---- in a child ---- */

/* What was refused in the wrong way, or not at all: an exit code that says which. */
enum { ALL_WELL, SKIPPED = 90 };

static bool is_refused(long result)
{
	return result == -1 && errno == EPERM;
}

static void *do_nothing(void *context)
{
	return context;
}

static int try_calls(int listener)
{
	char *const nothing[] = {NULL};
	pthread_t thread;
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED || is_refused(write(listener, "", 0)))
		return 1;
	if (!is_refused(socket(AF_INET, SOCK_STREAM, 0)) || !is_refused(socket(AF_UNIX, SOCK_DGRAM, 0)))
		return 2;
	if (!is_refused(connect(listener, (struct sockaddr *)&(struct sockaddr_un){.sun_family = AF_UNIX}, 3)))
		return 3;
	if (!is_refused(syscall(SYS_sendmsg, listener, &(struct msghdr){0}, MSG_FASTOPEN)))
		return 11; /* a way to connect */
	if (!is_refused(execve("/bin/true", nothing, nothing)) || !is_refused(fork()) ||
	    !is_refused(syscall(SYS_clone, 17, 0, 0, 0, 0)))
		return 4;
	if (syscall(SYS_clone3, NULL, 0) != -1 || errno != ENOSYS)
		return 5;
	if (!is_refused(mprotect(page, 4096, PROT_READ | PROT_EXEC)) ||
	    mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
		return 6;
	if (!is_refused(ptrace(PTRACE_TRACEME, 0, NULL, NULL)) || !is_refused(kill(getppid(), 0)) ||
	    !is_refused(syscall(SYS_bpf, 0, NULL, 0)) || !is_refused(prctl(PR_SET_DUMPABLE, 1)))
		return 7;
	if (!is_refused(open("/dev/null", O_WRONLY)) || !is_refused(open("tests/new", O_RDONLY | O_CREAT, 0600)) ||
	    !is_refused(chdir("/")) || !is_refused(rename("a", "b")))
		return 8;
	if (!is_refused(syscall(SYS_tgkill, getppid(), getppid(), 0)) ||
	    !is_refused(fcntl(listener, F_SETOWN, getppid())) || syscall(SYS_tgkill, getpid(), gettid(), 0) != 0 ||
	    fcntl(listener, F_GETFL) < 0)
		return 10;
	if (pthread_create(&thread, NULL, do_nothing, NULL) != 0 || pthread_join(thread, NULL) != 0)
		return 9;
	return ALL_WELL;
}

static int try_files(const struct sandbox *sandbox)
{
	int allowed = open("models/tallow-tiny/config.json", O_RDONLY), fact = open("/proc/self/status", O_RDONLY);
	if (allowed < 0 || fact < 0)
		return 20;
	int other = open("tests/README.md", O_RDONLY);
	if (sandbox->landlock_abi == 0)
		return other >= 0 ? ALL_WELL : 21;
	return other < 0 && errno == EACCES ? ALL_WELL : 22;
}

/* Where the kernel keeps it to the log's folder the log is opened again as it is, and nothing else is opened to write. */
static int try_log(const struct sandbox *sandbox, const char *log_file)
{
	rename(log_file, "x"); /* refused */
	int again = open(log_file, LOG_OPEN_FLAGS, 0640);
	if (sandbox->landlock_abi == 0)
		return again < 0 && errno == EPERM ? ALL_WELL : 40;
	if (again < 0 || write(again, "x", 1) != 1)
		return 41;
	if (!is_refused(open(log_file, O_WRONLY)) || !is_refused(open(log_file, LOG_OPEN_FLAGS | O_TRUNC, 0640)))
		return 42;
	return open("tests/new", LOG_OPEN_FLAGS, 0640) < 0 && errno == EACCES ? ALL_WELL : 43;
}

static char kept_file[] = "/tmp/tallow-sandbox-file-XXXXXX";

struct other_thread {
	pthread_mutex_t gate;
	bool refused;
};

/* A thread that was there before. */
static void *try_socket(void *context)
{
	struct other_thread *other = context;
	pthread_mutex_lock(&other->gate);
	other->refused = is_refused(socket(AF_INET, SOCK_STREAM, 0));
	pthread_mutex_unlock(&other->gate);
	return NULL;
}

/* While the model is loaded, all calls are there still: what is kept is what Landlock keeps. */
static int try_removal(const struct sandbox *sandbox, const char *socket_path)
{
	enum { CUTTING_ABI = 3 };
	if (sandbox->landlock_abi > 0 && (unlink(kept_file) == 0 || errno != EACCES))
		return 50;
	if (sandbox->landlock_abi >= CUTTING_ABI && (truncate(kept_file, 0) == 0 || errno != EACCES))
		return 51;
	if (!socket_path)
		return ALL_WELL;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	snprintf(address.sun_path, sizeof address.sun_path, "%s", socket_path);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	return bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && unlink(socket_path) == 0 ? ALL_WELL : 52;
}

static int in_the_sandbox(const char *log_file, const char *socket_path)
{
	static struct sandbox sandbox;
	static struct other_thread other = {.gate = PTHREAD_MUTEX_INITIALIZER};
	const char *paths[] = {"models", "not/there"};
	pthread_t thread;
	int listener = socket(AF_UNIX, SOCK_STREAM, 0);
	sandbox_init(&sandbox, true, log_file, socket_path);
	sandbox_narrow_files(&sandbox, paths, 2, false);
	int removal = try_removal(&sandbox, socket_path);
	if (removal)
		return removal;
	pthread_mutex_lock(&other.gate);
	if (pthread_create(&thread, NULL, try_socket, &other) != 0)
		return 30;
	sandbox_close(&sandbox);
	pthread_mutex_unlock(&other.gate);
	pthread_join(thread, NULL);
	if (!sandbox.wanted || !sandbox.seccomp)
		return sandbox.why_not[0] ? SKIPPED : 31; /* an emulator, a sanitizer: it says so */
	if (!other.refused)
		return 32;
	if (!sandbox.no_new_privileges || !sandbox.not_dumpable || !sandbox.no_capabilities)
		return 33;
	int result = try_calls(listener);
	result = result ? result : try_files(&sandbox);
	return result || !log_file ? result : try_log(&sandbox, log_file);
}

static void try_in_a_child(const char *log_file, const char *socket_path)
{
	int kept = mkstemp(kept_file);
	assert_true(kept >= 0);
	close(kept);
	pid_t child = fork();
	if (child == 0)
		_exit(in_the_sandbox(log_file, socket_path));
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	unlink(kept_file);
	memcpy(kept_file + sizeof kept_file - 7, "XXXXXX", 6);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == SKIPPED)
		skip();
	assert_int_equal(WEXITSTATUS(status), ALL_WELL);
}

static void the_rest_is_refused(void **state)
{
	(void)state;
	try_in_a_child(NULL, NULL);
}

static void a_log_file_is_opened_again(void **state)
{
	(void)state;
	char folder[] = "/tmp/tallow-sandbox-XXXXXX", path[64];
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof path, "%s/log", folder);
	close(open(path, LOG_OPEN_FLAGS, 0640));
	try_in_a_child(path, NULL);
	unlink(path);
	rmdir(folder);
}

static void a_socket_is_made_and_removed(void **state)
{
	(void)state;
	char folder[] = "/tmp/tallow-sandbox-XXXXXX", path[64];
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof path, "%s/socket", folder);
	try_in_a_child(NULL, path);
	assert_int_equal(rmdir(folder), 0);
}

static void what_is_not_there_is_told(void **state)
{
	(void)state;
	struct sandbox sandbox;
	struct bytes out = {0};
	sandbox_init(&sandbox, false, NULL, NULL);
	sandbox_narrow_files(&sandbox, NULL, 0, false);
	sandbox_close(&sandbox);
	sandbox_describe(&sandbox, &out);
	assert_string_equal(out.data, "{\"on\":false,\"seccomp\":false,\"landlock\":0,\"no_new_privs\":false,"
	                              "\"no_capabilities\":false,\"not_dumpable\":false,\"why_not\":\"--no-sandbox\"}");
	bytes_free(&out);
	assert_true(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 0 && prctl(PR_GET_DUMPABLE) == 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_call_has_a_reason),     cmocka_unit_test(the_rest_is_refused),
	    cmocka_unit_test(a_log_file_is_opened_again), cmocka_unit_test(a_socket_is_made_and_removed),
	    cmocka_unit_test(what_is_not_there_is_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
