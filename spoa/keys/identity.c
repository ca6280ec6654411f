/* keys/identity: who is calling, as far as it was proved. */
#include "keys/identity.h"

#include <assert.h>
#include <stdlib.h>

void identity_unref(struct identity *i)
{
	if (!i)
		return;
	assert(i->refs > 0);
	if (--i->refs == 0)
		free(i);
}
