/* Which libraries the layer stands on (text/tokenizer.h). */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <utf8proc.h>

#include "base/bytes.h"
#include "text/tokenizer.h"

void text_library_versions(struct bytes *out)
{
	char pcre[64] = "";
	if (pcre2_config(PCRE2_CONFIG_VERSION, NULL) < (int)sizeof pcre)
		pcre2_config(PCRE2_CONFIG_VERSION, pcre);
	bytes_append_format(out, "utf8proc %s (Unicode %s), PCRE2 %s", utf8proc_version(), utf8proc_unicode_version(),
	                    pcre);
}
