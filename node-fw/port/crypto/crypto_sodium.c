#include "crypto_sodium.h"

#include <sodium.h>

#include "crypto_table.h"

const struct mp_crypto *crypto_sodium(void)
{
    return sodium_init() < 0 ? NULL : &crypto_table;
}
