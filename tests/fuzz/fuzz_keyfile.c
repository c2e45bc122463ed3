/*
 * Fuzzes the key file parser, without a passphrase (Argon2id would take all the time): what is accepted must come back
 * the same from its own text form.
 */
#include <stdlib.h>
#include <string.h>

#include "meshd/ctl/keyfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct md_key key, again;
    char text[MD_KEYFILE_MAX], error[128];
    char *copy = malloc(size ? size : 1);
    if (!copy)
        return 0;
    if (size)
        memcpy(copy, data, size);
    if (md_key_parse(&key, copy, size, NULL, error, sizeof error) == 0) {
        int len = md_key_format(&key, key.has_secret, NULL, text, sizeof text);
        if (len < 0 || md_key_parse(&again, text, (size_t)len, NULL, error, sizeof error) != 0 ||
            memcmp(key.pub, again.pub, 32) != 0 || memcmp(key.secret, again.secret, 64) != 0 ||
            key.role != again.role || key.id != again.id || key.generation != again.generation)
            abort();
    }
    free(copy);
    return 0;
}
