/* Errors: the table of codes, and messages that are one printable line whatever they quote. */
#include "base/error.h"

#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

const struct error_info *error_info(enum error_code code)
{
	static const struct error_info table[] = {
#define X(code, wire, http, type, exit, retriable) [code] = {wire, http, type, exit, retriable},
	    ERROR_TABLE(X)
#undef X
	};
	return &table[code];
}

/* One line that is safe to print: messages may quote names from files, and their end may be cut off. */
static void make_printable(char *text)
{
	size_t left = strlen(text);
	while (left) {
		int n = utf8_length((const unsigned char *)text, left);
		bool harmless = n > 0 && !utf8_is_telling(utf8_code((const unsigned char *)text, n));
		n = n ? n : 1;
		if (!harmless)
			memset(text, '?', (size_t)n);
		text += n;
		left -= (size_t)n;
	}
}

bool error_set(struct error *error, enum error_code code, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	error->code = code;
	error->field[0] = '\0';
	vsnprintf(error->message, sizeof error->message, format, arguments);
	va_end(arguments);
	make_printable(error->message);
	return false;
}

bool error_blame(struct error *error, const char *field)
{
	if (field)
		snprintf(error->field, sizeof error->field, "%s", field);
	return false;
}

bool error_prefix(struct error *error, const char *format, ...)
{
	char prefix[sizeof error->message];
	char message[sizeof error->message];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(prefix, sizeof prefix, format, arguments);
	va_end(arguments);
	memcpy(message, error->message, sizeof message);
	strncat(prefix, ": ", sizeof prefix - strlen(prefix) - 1);
	strncat(prefix, message, sizeof prefix - strlen(prefix) - 1); /* a message too long loses its end */
	make_printable(prefix);
	memcpy(error->message, prefix, sizeof prefix);
	return false;
}
