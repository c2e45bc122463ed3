/*
 * Configuration of meshd: an INI file, then command line overrides by the same names ("section.name=value").
 *
 * Every name that is not known, every value out of range and every line that is not understood is an error that names
 * file and line; nothing is guessed. Reentrant apart from libinih's global switches, which are set the same way each
 * time.
 */
#ifndef MD_CONFIG_H
#define MD_CONFIG_H

#include <stddef.h>
#include <stdint.h>

#include "log.h"

#define MD_CONFIG_FILE "/etc/meshd/meshd.conf"
#define MD_HTTP_SOCKET "/run/meshd/http.sock"
#define MD_PATH_MAX 176 /* so that every line md_config_write() makes fits the 200 bytes libinih takes */

enum md_hci_kind { MD_HCI_NONE, MD_HCI_UNIX, MD_HCI_TTY };

struct md_config {
    char database[MD_PATH_MAX]; /* [meshd] database */
    char http[104];             /* [meshd] http: path of the unix socket, as long as sockaddr_un takes */
    enum md_log_level log;      /* [meshd] log */
    enum md_hci_kind hci;       /* [bearer] hci = unix:PATH | tty:DEVICE:BAUD */
    char hci_path[104];
    uint32_t hci_baud;             /* 9600 to 4000000, tty only */
    uint16_t network;              /* [network] number, 1 to 65535 */
    char keyset[MD_PATH_MAX];      /* [network] keyset: file with the first keyset record */
    char release_key[MD_PATH_MAX]; /* [network] release_key: key file; "" = a gateway that commits but never signs */
    char release_passphrase[MD_PATH_MAX]; /* [network] release_passphrase: file with the sealed key's passphrase */
};

/* Defaults: everything but what must be given. */
void md_config_init(struct md_config *c);
/* Reads a file over c. 0, or -1 with one sentence in error ("FILE:LINE: what is wrong"). */
int md_config_load(struct md_config *c, const char *path, char *error, size_t cap);
/* The same over text in memory; name stands for the file in errors. */
int md_config_parse(struct md_config *c, const char *name, const char *text, size_t len, char *error, size_t cap);
/* One override, "section.name=value". 0 or -1 with a sentence. */
int md_config_override(struct md_config *c, const char *assignment, char *error, size_t cap);
/* What a start needs is there (values only, files are not looked at). 0 or -1 with a sentence. */
int md_config_check(const struct md_config *c, char *error, size_t cap);
/* Writes c as a file md_config_load() would read to the same values. Length, or -1 when cap is too small. */
int md_config_write(const struct md_config *c, char *out, size_t cap);

#endif
