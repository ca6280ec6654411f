/* conf/text: which texts an option may have. Private to conf/value. */
#ifndef CONF_TEXT_H
#define CONF_TEXT_H

#include "conf/options.h"

enum {
	TEXT_MAX = 512, /* bytes of any text; paths and URLs are the longest */
};

/* Check and storage of one text type. */
struct text_kind {
	bool (*ok)(struct str s);
	bool lower;  /* store in lower case */
	bool hidden; /* do not quote what was found: it may be a secret */
};

/* By the text types of enum option_type (conf/options), OPT_TEXT to OPT_FILE.
 */
extern const struct text_kind text_kinds[];

#endif
