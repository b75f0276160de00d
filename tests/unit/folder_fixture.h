/* The folder of a test program that has one: made before its tests, emptied after each, removed at the end.
 *
 *     cmocka_unit_test_teardown(test_x, clear_folder), ...
 *     cmocka_run_group_tests(tests, make_folder, remove_folder)
 */
#ifndef TALLOW_TESTS_FOLDER_FIXTURE_H
#define TALLOW_TESTS_FOLDER_FIXTURE_H

#include "model_files.h"

static struct folder folder;

static int make_folder(void **state)
{
	(void)state;
	folder = folder_make();
	return 0;
}

static int remove_folder(void **state)
{
	(void)state;
	folder_remove(&folder);
	return 0;
}

static int clear_folder(void **state)
{
	(void)state;
	folder_clear(&folder);
	return 0;
}

#endif
