/* Keys and pastes, as a terminal's bytes come in pieces. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/chat/typed.h"

static void type(struct typed *typed, int to, const char *text)
{
	assert_int_equal(write(to, text, strlen(text)), strlen(text));
	assert_int_equal(typed_read(typed), 1);
}

/* However long the rest of the mark is under way, and whatever in the text begins like one. */
static void a_paste_ends_at_its_mark(void **state)
{
	(void)state;
	static const char whole[] = "\x1b[200~one\x1b[20two\x1b\x1b[201~";
	int ends[2];
	unsigned char byte;
	for (size_t cut = 7; cut < sizeof whole - 1; cut++) {
		assert_int_equal(pipe(ends), 0);
		struct typed typed = {.fd = ends[0]};
		char first[sizeof whole];
		memcpy(first, whole, cut);
		first[cut] = '\0';
		type(&typed, ends[1], first);
		assert_int_equal(typed_take(&typed, &byte), KEY_NONE);
		type(&typed, ends[1], whole + cut);
		assert_int_equal(typed_take(&typed, &byte), KEY_PASTE);
		assert_string_equal(typed.paste.data, "one[20two");
		type(&typed, ends[1], "k");
		assert_int_equal(typed_take(&typed, &byte), KEY_BYTE);
		assert_int_equal(byte, 'k');
		typed_free(&typed);
		close(ends[0]);
		close(ends[1]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_paste_ends_at_its_mark),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
