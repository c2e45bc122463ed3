/*
 * Passphrases of sealed key files, for the commands that open or write them.
 */
#ifndef MD_PASSPHRASE_H
#define MD_PASSPHRASE_H

#include "ctl.h"
#include "keyfile.h"

/* From the first line of a file (NULL: from $MESHCTL_PASSPHRASE; "" when that is not set either). Exit status. */
int md_ctl_passphrase(const struct md_ctl *c, const char *file, char out[MD_PASSPHRASE_MAX]);
/* Reads a key file with its secret (or, with_secret false, its public part). Exit status; the key is to be wiped. */
int md_ctl_read_key(const struct md_ctl *c, const char *path, const char *passphrase, bool with_secret,
                    struct md_key *key);

#endif
