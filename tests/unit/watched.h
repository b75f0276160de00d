/* Whether a sanitizer watches every load of this build, which then takes some six times as long: tests that run the
 * same code in many ways run it in fewer. */
#ifndef TALLOW_TESTS_WATCHED_H
#define TALLOW_TESTS_WATCHED_H

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { IS_WATCHED = 1 };
#else
enum { IS_WATCHED = 0 };
#endif

#endif
