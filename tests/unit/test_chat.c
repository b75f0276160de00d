/* cli/chat: text that a terminal may be sent, and conversations in memory and in files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/stat.h>

#include "cli/chat/talk.h"
#include "cli/screen.h"
#include "folder_fixture.h"

/* ---- harmless text ---- */

static void control_characters_are_shown(void **state)
{
	(void)state;
	static const struct {
		const char *text, *shown;
	} cases[] = {
	    {"plain text,\n\ttabs", "plain text,\n\ttabs"},
	    {"\033]0;title\a\033[2J", "^[]0;title^G^[[2J"},
	    {"over\rwritten", "over^Mwritten"},
	    {"line\r\nline", "line\nline"},
	    {"\b\v\f\177", "^H^K^L^?"},
	    {"C1 \302\233 31m", "C1 <U+009B> 31m"},
	    {"\342\200\256evil\342\201\246", "<U+202E>evil<U+2066>"},
	    {"\342\200\250\342\200\217\330\234", "<U+2028><U+200F><U+061C>"},
	    {"Gr\303\274\303\237e \360\237\230\200 \346\227\245", "Gr\303\274\303\237e \360\237\230\200 \346\227\245"},
	    {"\233 \377", "\357\277\275 \357\277\275"}, /* bytes that are no UTF-8 */
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct bytes shown = {0};
		screen_make_harmless(cases[i].text, strlen(cases[i].text), &shown);
		assert_string_equal(shown.data, cases[i].shown);
		bytes_free(&shown);
	}
}

static void no_byte_below_a_space_gets_through(void **state)
{
	(void)state;
	for (int first = 0; first < 256; first++) {
		for (int second = 0; second < 256; second++) {
			char text[2] = {(char)first, (char)second};
			struct bytes shown = {0};
			screen_make_harmless(text, 2, &shown);
			for (size_t i = 0; i < shown.n_bytes; i++) {
				unsigned char byte = (unsigned char)shown.data[i];
				bool is_c1 = byte == 0xC2 && i + 1 < shown.n_bytes && (unsigned char)shown.data[i + 1] < 0xA0;
				assert_true((byte >= 0x20 && byte != 0x7F && !is_c1) || byte == '\n' || byte == '\t');
			}
			bytes_free(&shown);
		}
	}
}

/* ---- conversations ---- */

static void expect_text(const struct talk *talk, const char *expected)
{
	struct bytes text = {0};
	talk_write(talk, &text);
	assert_string_equal(text.data, expected);
	bytes_free(&text);
}

static void messages_come_and_go(void **state)
{
	(void)state;
	struct talk talk = {0};
	struct bytes text = {0};
	assert_false(talk_undo(&talk, &text));
	talk_add(&talk, "user", "a\n\"b\"", 5, NULL);
	talk_add(&talk, "assistant", "", 0, ",\"reasoning_content\":\"r\"");
	talk_set_system(&talk, "be brief");
	expect_text(&talk, "{\"messages\":[\n{\"role\":\"system\",\"content\":\"be brief\"},\n"
	                   "{\"role\":\"user\",\"content\":\"a\\n\\\"b\\\"\"},\n"
	                   "{\"role\":\"assistant\",\"content\":\"\",\"reasoning_content\":\"r\"}\n]}\n");
	talk_set_system(&talk, "be long");
	assert_int_equal(talk.n, 3);
	talk_add(&talk, "user", "c", 1, NULL);
	assert_true(talk_undo(&talk, &text));
	assert_string_equal(text.data, "c");
	assert_true(talk_undo(&talk, &text)); /* its answer goes, too */
	assert_string_equal(text.data, "a\n\"b\"");
	expect_text(&talk, "{\"messages\":[\n{\"role\":\"system\",\"content\":\"be long\"}\n]}\n");
	assert_false(talk_undo(&talk, &text));
	talk_add(&talk, "user", "d", 1, NULL);
	assert_int_equal(talk_clear(&talk), 1);
	assert_int_equal(talk.n, 1);
	talk_set_system(&talk, "");
	assert_int_equal(talk.n, 0);
	for (int i = 0; i < 100; i++)
		talk_add(&talk, "user", "x", 1, NULL);
	assert_int_equal(talk_clear(&talk), 100);
	assert_false(talk.failed);
	bytes_free(&text);
	talk_free(&talk);
}

static void files_come_back_as_they_were(void **state)
{
	(void)state;
	static const char file[] =
	    "{\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}],\"messages\":[{\"role\":\"user\","
	    "\"content\":"
	    "[{\"type\":\"text\",\"text\":\"hi\"}],\"name\":\"n\"},{\"role\":\"tool\",\"content\":\"1.50\"}],"
	    "\"chat_template_kwargs\":{\"x\":1.50}}";
	struct talk talk = {0}, again = {0};
	struct error error = {0};
	struct stat info;
	struct bytes text = {0};
	folder_write(&folder, "in.json", file);
	if (!talk_load(&talk, folder_file(&folder, "in.json"), &error))
		fail_msg("%s", error.message);
	expect_text(
	    &talk,
	    "{\"messages\":[\n{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"hi\"}],\"name\":\"n\"},\n"
	    "{\"role\":\"tool\",\"content\":\"1.50\"}\n],\"tools\":[{\"type\":\"function\",\"function\":{\"name\":"
	    "\"f\"}}],\"chat_template_kwargs\":{\"x\":1.50}}\n");
	assert_true(talk_save(&talk, folder_file(&folder, "out.json"), false, &error));
	assert_int_equal(stat(folder_file(&folder, "out.json"), &info), 0);
	assert_int_equal(info.st_mode & 0777, 0600);
	assert_false(talk_save(&talk, folder_file(&folder, "out.json"), false, &error));
	assert_int_equal(error.code, ERROR_USAGE);
	assert_non_null(strstr(error.message, "is there already"));
	assert_true(talk_save(&talk, folder_file(&folder, "out.json"), true, &error));
	assert_false(talk_save(&talk, folder_file(&folder, "none/out.json"), false, &error));
	assert_non_null(strstr(error.message, "cannot be written: No such file"));
	assert_true(talk_load(&again, folder_file(&folder, "out.json"), &error));
	talk_write(&talk, &text);
	expect_text(&again, text.data);
	bytes_free(&text);
	talk_free(&talk);
	talk_free(&again);
}

static void what_is_no_conversation_changes_nothing(void **state)
{
	(void)state;
	static const struct {
		const char *text, *says;
	} cases[] = {
	    {"", "bad.json"},
	    {"{\"messages\":[", "bad.json"},
	    {"[]", "expected an object with `messages`"},
	    {"7", "expected an object with `messages`"},
	    {"{\"messages\":{}}", "expected an object with `messages`"},
	    {"{\"messages\":[{\"role\":\"user\",\"content\":\"x\"},{\"content\":\"y\"}]}", "message 2 has no `role`"},
	    {"{\"messages\":[7]}", "message 1 has no `role`"},
	};
	struct talk talk = {0};
	struct error error = {0};
	talk_add(&talk, "user", "kept", 4, NULL);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		folder_write(&folder, "bad.json", cases[i].text);
		assert_false(talk_load(&talk, folder_file(&folder, "bad.json"), &error));
		assert_int_equal(error.code, ERROR_USAGE);
		if (!strstr(error.message, cases[i].says))
			fail_msg("says: %s\n  not: %s", error.message, cases[i].says);
		assert_int_equal(talk.n, 1);
	}
	assert_false(talk_load(&talk, folder_file(&folder, "absent"), &error));
	assert_int_equal(error.code, ERROR_USAGE);
	talk_free(&talk);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(control_characters_are_shown),
	    cmocka_unit_test(no_byte_below_a_space_gets_through),
	    cmocka_unit_test(messages_come_and_go),
	    cmocka_unit_test_teardown(files_come_back_as_they_were, clear_folder),
	    cmocka_unit_test_teardown(what_is_no_conversation_changes_nothing, clear_folder),
	};
	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
