#include "passphrase.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "pack.h"

int md_ctl_passphrase(const struct md_ctl *c, const char *file, char out[MD_PASSPHRASE_MAX])
{
    char error[300];
    uint8_t *data = NULL;
    size_t len = 0;
    const char *env = getenv("MESHCTL_PASSPHRASE");
    out[0] = '\0';
    if (file == NULL) {
        if (env != NULL && strlen(env) >= MD_PASSPHRASE_MAX)
            return md_ctl_fail(c, MD_EXIT_USAGE, "the passphrase is longer than %d bytes", MD_PASSPHRASE_MAX - 1);
        strcpy(out, env != NULL ? env : "");
        return MD_EXIT_OK;
    }
    if (md_file_read(file, 4096, &data, &len, error, sizeof error) != MP_OK)
        return md_ctl_fail(c, MD_EXIT_FAILED, "%s", error);
    size_t n = 0;
    while (n < len && data[n] != '\n' && data[n] != '\r' && data[n] != '\0')
        n++;
    int status = MD_EXIT_OK;
    if (n == 0 || n >= MD_PASSPHRASE_MAX)
        status = md_ctl_fail(c, MD_EXIT_USAGE, "%s: its first line is no passphrase of 1 to %d bytes", file,
                             MD_PASSPHRASE_MAX - 1);
    else
        memcpy(out, data, n);
    if (status == MD_EXIT_OK)
        out[n] = '\0';
    sodium_memzero(data, len);
    free(data);
    return status;
}

int md_ctl_read_key(const struct md_ctl *c, const char *path, const char *passphrase, bool with_secret,
                    struct md_key *key)
{
    char error[300];
    int bad = md_key_read(path, key, passphrase, error, sizeof error);
    if (bad == MP_OK && (!with_secret || key->has_secret))
        return MD_EXIT_OK;
    if (bad == MP_ERR_ABSENT && !with_secret)
        return MD_EXIT_OK;
    if (bad == MP_OK)
        return md_ctl_fail(c, MD_EXIT_REFUSED, "%s: holds only the public part of a key", path);
    if (bad == MP_ERR_ABSENT)
        return md_ctl_fail(c, MD_EXIT_REFUSED,
                           "%s: is sealed; give its passphrase with --passphrase-file or $MESHCTL_PASSPHRASE", path);
    return md_ctl_fail(c, bad == MP_ERR_SIGNATURE || bad == MP_ERR_STATE ? MD_EXIT_REFUSED : MD_EXIT_FAILED, "%s",
                       error);
}
