/*
 * The protocol's cryptography from libsodium. Call crypto_sodium() once before any thread uses it.
 */
#ifndef PORT_CRYPTO_SODIUM_H
#define PORT_CRYPTO_SODIUM_H

#include "proto/mp_types.h"

/* The function table, or NULL when libsodium cannot start. Static storage, reentrant. */
const struct mp_crypto *crypto_sodium(void);

#endif
