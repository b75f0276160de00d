/* Crash reports (crash.h). The handler takes no lock and allocates nothing; what it needs of the loader it noted before. */
#include "worker/crash.h"

#include <execinfo.h>
#include <link.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

enum { MAX_FRAMES = 48, MAX_IMAGES = 64, IMAGE_NAME_BYTES = 48, REPORT_BYTES = 3500, OTHERS_WAIT_MS = 1000 };

static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS};
static const char *const names[] = {"SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE", "SIGABRT", "SIGSYS"};
enum { N_SIGNALS = sizeof signals / sizeof *signals };

/* Executable memory that belongs to a file. */
static struct image {
	uintptr_t base, start, end;
	char name[IMAGE_NAME_BYTES];
} images[MAX_IMAGES];
static int n_images;

static const char *program_version = "";
static bool as_json;
static atomic_flag reporting = ATOMIC_FLAG_INIT;

/* A sanitizer's own report tells more. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
static const bool sanitizer_reports = true;
#else
static const bool sanitizer_reports = false;
#endif

static int note_image(struct dl_phdr_info *info, size_t size, void *context)
{
	(void)size;
	(void)context;
	const char *slash = strrchr(info->dlpi_name, '/');
	const char *name = !info->dlpi_name[0] ? "tallow" : slash ? slash + 1 : info->dlpi_name;
	for (int i = 0; i < info->dlpi_phnum && n_images < MAX_IMAGES; i++) {
		const ElfW(Phdr) *header = &info->dlpi_phdr[i];
		if (header->p_type != PT_LOAD || !(header->p_flags & PF_X))
			continue;
		struct image *image = &images[n_images++];
		image->base = info->dlpi_addr;
		image->start = info->dlpi_addr + header->p_vaddr;
		image->end = image->start + header->p_memsz;
		strncpy(image->name, name, sizeof image->name - 1);
	}
	return 0;
}

/* ---- the report ---- */

struct report {
	char text[REPORT_BYTES];
	size_t n;
};

static void put(struct report *report, const char *text)
{
	size_t n = strlen(text), left = sizeof report->text - report->n;
	n = n < left ? n : left;
	memcpy(report->text + report->n, text, n);
	report->n += n;
}

static void put_hex(struct report *report, uintptr_t value)
{
	char digits[2 * sizeof value + 1];
	size_t at = sizeof digits - 1;
	digits[at] = 0;
	do
		digits[--at] = "0123456789abcdef"[value & 15];
	while (value >>= 4);
	put(report, "0x");
	put(report, digits + at);
}

/* An address that is no code of ours may be anything that lay on the stack: it is not told. */
static void put_frame(struct report *report, uintptr_t address)
{
	for (int i = 0; i < n_images; i++)
		if (address >= images[i].start && address < images[i].end) {
			put(report, images[i].name);
			put(report, "+");
			put_hex(report, address - images[i].base);
			return;
		}
	put(report, "?");
}

static const char *signal_name(int number)
{
	for (int i = 0; i < N_SIGNALS; i++)
		if (signals[i] == number)
			return names[i];
	return "a signal";
}

static void write_report(struct report *report, int number)
{
	void *frames[MAX_FRAMES];
	int n = backtrace(frames, MAX_FRAMES);
	put(report, as_json ? "{\"level\":\"error\",\"event\":\"crash\",\"signal\":\"" : "tallow: crashed by ");
	put(report, signal_name(number));
	put(report, as_json ? "\",\"version\":\"" : ", version ");
	put(report, program_version);
	put(report, as_json ? "\",\"trace\":[" : "; addr2line -e tallow.debug tells the lines of\n");
	for (int i = 1; i < n && report->n < sizeof report->text - 2 * IMAGE_NAME_BYTES; i++) { /* 0 is the handler */
		put(report, as_json ? i > 1 ? ",\"" : "\"" : "  ");
		put_frame(report, (uintptr_t)frames[i]);
		put(report, as_json ? "\"" : "\n");
	}
	put(report, as_json ? "]}\n" : "");
}

static void take_crash(int number)
{
	static struct report report;
	struct pollfd reader = {.fd = STDERR_FILENO, .events = POLLOUT};
	if (atomic_flag_test_and_set(&reporting)) {
		poll(NULL, 0, OTHERS_WAIT_MS); /* another thread crashed first; it ends the process */
	} else {
		write_report(&report, number);
		/* Not where that would wait for a reader: a pipe that is ready has room for all of it. */
		if (poll(&reader, 1, 0) == 1 && reader.revents == POLLOUT && write(STDERR_FILENO, report.text, report.n) < 0)
			reader.revents = 0; /* nobody is left to tell */
	}
	signal(number, SIG_DFL);
	raise(number);
}

void crash_report(const char *version, bool json)
{
	void *frame;
	if (sanitizer_reports)
		return;
	struct sigaction action = {.sa_handler = take_crash, .sa_flags = SA_NODEFER};
	program_version = version;
	as_json = json;
	n_images = 0;
	(void)backtrace(&frame, 1); /* loads what it needs, which a handler must not */
	dl_iterate_phdr(note_image, NULL);
	for (int i = 0; i < N_SIGNALS; i++)
		sigaction(signals[i], &action, NULL);
}
