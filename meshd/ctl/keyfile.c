#include "keyfile.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/object/signed.h"

#define SEED_SIZE crypto_sign_SEEDBYTES
#define BOX_SIZE (SEED_SIZE + crypto_secretbox_MACBYTES)
/* What a file may ask of Argon2id: a hostile one must not tie the machine up. */
#define OPS_MAX 16u
#define MEM_MAX (1u << 30)

_Static_assert(crypto_sign_SECRETKEYBYTES == 64 && crypto_sign_PUBLICKEYBYTES == 32, "sizes of struct md_key");

static int refuse(char *error, size_t size, int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (error && size)
        vsnprintf(error, size, format, args);
    va_end(args);
    return code;
}

const char *md_role_name(unsigned role)
{
    static const char *const names[] = {"?", "root", "publisher", "release"};
    return role < sizeof names / sizeof names[0] ? names[role] : names[0];
}

static bool is_place(unsigned role, unsigned id)
{
    return role >= MP_ROLE_ROOT && role <= MP_ROLE_RELEASE && id <= (role == MP_ROLE_ROOT ? 2u : 1u);
}

int md_key_generate(struct md_key *k, enum mp_role role, uint8_t id, uint16_t generation)
{
    memset(k, 0, sizeof *k);
    if (!is_place(role, id) || sodium_init() < 0)
        return MP_ERR_FORMAT;
    k->role = (uint8_t)role;
    k->id = id;
    k->generation = generation;
    k->has_secret = true;
    crypto_sign_keypair(k->pub, k->secret);
    return MP_OK;
}

void md_key_wipe(struct md_key *k)
{
    sodium_memzero(k, sizeof *k);
}

/* --- writing
 * ---------------------------------------------------------------------------------------------------------- */

static void hex(char *out, const uint8_t *data, size_t len)
{
    sodium_bin2hex(out, len * 2 + 1, data, len);
}

static int seal(const struct md_key *k, const char *passphrase, char *out, size_t cap)
{
    uint8_t salt[crypto_pwhash_SALTBYTES], nonce[crypto_secretbox_NONCEBYTES], key[crypto_secretbox_KEYBYTES];
    uint8_t seed[SEED_SIZE], box[BOX_SIZE];
    char salt_hex[sizeof salt * 2 + 1], nonce_hex[sizeof nonce * 2 + 1], box_hex[sizeof box * 2 + 1];
    unsigned ops = crypto_pwhash_OPSLIMIT_INTERACTIVE, mem = crypto_pwhash_MEMLIMIT_INTERACTIVE;
    randombytes_buf(salt, sizeof salt);
    randombytes_buf(nonce, sizeof nonce);
    if (crypto_pwhash(key, sizeof key, passphrase, strlen(passphrase), salt, ops, mem, crypto_pwhash_ALG_ARGON2ID13) !=
        0)
        return MP_ERR_ROOM;
    crypto_sign_ed25519_sk_to_seed(seed, k->secret);
    crypto_secretbox_easy(box, seed, sizeof seed, nonce, key);
    sodium_memzero(seed, sizeof seed);
    sodium_memzero(key, sizeof key);
    hex(salt_hex, salt, sizeof salt);
    hex(nonce_hex, nonce, sizeof nonce);
    hex(box_hex, box, sizeof box);
    return snprintf(out, cap, "sealed %u %u %s %s %s\n", ops, mem, salt_hex, nonce_hex, box_hex);
}

static int put_secret(const struct md_key *k, const char *passphrase, char *out, size_t cap)
{
    if (passphrase && *passphrase)
        return seal(k, passphrase, out, cap);
    uint8_t seed[SEED_SIZE];
    char seed_hex[SEED_SIZE * 2 + 1];
    crypto_sign_ed25519_sk_to_seed(seed, k->secret);
    hex(seed_hex, seed, sizeof seed);
    int n = snprintf(out, cap, "secret %s\n", seed_hex);
    sodium_memzero(seed, sizeof seed);
    sodium_memzero(seed_hex, sizeof seed_hex);
    return n;
}

int md_key_format(const struct md_key *k, bool with_secret, const char *passphrase, char *out, size_t cap)
{
    char pub_hex[65];
    if (with_secret && !k->has_secret)
        return MP_ERR_STATE;
    if (sodium_init() < 0 || (passphrase && strlen(passphrase) >= MD_PASSPHRASE_MAX))
        return MP_ERR_FORMAT;
    hex(pub_hex, k->pub, 32);
    int n = snprintf(out, cap, "meshfw-key 1\nrole %s\nid %u\ngeneration %u\npublic %s\n", md_role_name(k->role), k->id,
                     k->generation, pub_hex);
    if (n < 0 || (size_t)n >= cap)
        return MP_ERR_ROOM;
    if (!with_secret)
        return n;
    int more = put_secret(k, passphrase, out + n, cap - (size_t)n);
    if (more < 0)
        return more;
    return (size_t)n + (size_t)more < cap ? n + more : MP_ERR_ROOM;
}

/* --- reading
 * ---------------------------------------------------------------------------------------------------------- */

struct reader {
    struct md_key *key;
    const char *passphrase;
    char *error;
    size_t error_size;
    unsigned line;
    unsigned seen; /* bit per field */
};

enum { SEEN_MAGIC = 1, SEEN_ROLE = 2, SEEN_ID = 4, SEEN_GENERATION = 8, SEEN_PUBLIC = 16, SEEN_SECRET = 32 };

static int fail(struct reader *r, int code, const char *what)
{
    return refuse(r->error, r->error_size, code, "line %u: %s", r->line, what);
}

static bool read_hex(const char *text, uint8_t *out, size_t len)
{
    size_t got;
    const char *end;
    if (strlen(text) != len * 2)
        return false;
    return sodium_hex2bin(out, len, text, len * 2, NULL, &got, &end) == 0 && got == len && *end == '\0';
}

static bool read_number(const char *text, uint32_t max, uint32_t *out)
{
    uint64_t value = 0;
    if (*text == '\0')
        return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return false;
        value = value * 10 + (uint64_t)(*text - '0');
        if (value > max)
            return false;
    }
    *out = (uint32_t)value;
    return true;
}

static int take_seed(struct reader *r, const uint8_t seed[SEED_SIZE])
{
    uint8_t pub[32];
    crypto_sign_seed_keypair(pub, r->key->secret, seed);
    if (!(r->seen & SEEN_PUBLIC) || memcmp(pub, r->key->pub, 32) != 0)
        return fail(r, MP_ERR_KEY, "the secret does not belong to the public key above it");
    r->key->has_secret = true;
    return MP_OK;
}

static int read_sealed(struct reader *r, char *value)
{
    uint8_t salt[crypto_pwhash_SALTBYTES], nonce[crypto_secretbox_NONCEBYTES], box[BOX_SIZE], seed[SEED_SIZE];
    uint8_t key[crypto_secretbox_KEYBYTES];
    uint32_t ops, mem;
    char *save = NULL, *word[6] = {NULL};
    for (unsigned i = 0; i < 6; i++)
        word[i] = strtok_r(i ? NULL : value, " ", &save);
    if (!word[4] || word[5] || !read_number(word[0], OPS_MAX, &ops) || !read_number(word[1], MEM_MAX, &mem) ||
        ops < crypto_pwhash_OPSLIMIT_MIN || mem < crypto_pwhash_MEMLIMIT_MIN || !read_hex(word[2], salt, sizeof salt) ||
        !read_hex(word[3], nonce, sizeof nonce) || !read_hex(word[4], box, sizeof box))
        return fail(r, MP_ERR_FORMAT, "\"sealed\" takes OPSLIMIT MEMLIMIT SALT NONCE BOX");
    r->key->is_sealed = true;
    if (!r->passphrase || !*r->passphrase)
        return MP_OK;
    if (crypto_pwhash(key, sizeof key, r->passphrase, strlen(r->passphrase), salt, ops, mem,
                      crypto_pwhash_ALG_ARGON2ID13) != 0)
        return fail(r, MP_ERR_ROOM, "not enough memory to open the seal");
    int opened = crypto_secretbox_open_easy(seed, box, sizeof box, nonce, key);
    sodium_memzero(key, sizeof key);
    if (opened != 0)
        return fail(r, MP_ERR_SIGNATURE, "wrong passphrase");
    int result = take_seed(r, seed);
    sodium_memzero(seed, sizeof seed);
    return result;
}

static int read_secret(struct reader *r, const char *value)
{
    uint8_t seed[SEED_SIZE];
    if (!read_hex(value, seed, sizeof seed))
        return fail(r, MP_ERR_FORMAT, "\"secret\" takes 64 hex digits");
    int result = take_seed(r, seed);
    sodium_memzero(seed, sizeof seed);
    return result;
}

static int read_role(struct reader *r, const char *value)
{
    for (unsigned role = MP_ROLE_ROOT; role <= MP_ROLE_RELEASE; role++)
        if (strcmp(value, md_role_name(role)) == 0) {
            r->key->role = (uint8_t)role;
            return MP_OK;
        }
    return fail(r, MP_ERR_FORMAT, "the role is root, publisher or release");
}

static int read_field(struct reader *r, const char *name, char *value)
{
    static const struct {
        const char *name;
        unsigned bit;
    } fields[] = {{"meshfw-key", SEEN_MAGIC},      {"role", SEEN_ROLE},     {"id", SEEN_ID},
                  {"generation", SEEN_GENERATION}, {"public", SEEN_PUBLIC}, {"secret", SEEN_SECRET},
                  {"sealed", SEEN_SECRET}};
    unsigned bit = 0;
    uint32_t number = 0;
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        if (strcmp(name, fields[i].name) == 0)
            bit = fields[i].bit;
    if (bit == 0)
        return fail(r, MP_ERR_FORMAT, "unknown field");
    if (r->seen & bit)
        return fail(r, MP_ERR_FORMAT, "a field appears twice");
    if (bit != SEEN_MAGIC && !(r->seen & SEEN_MAGIC))
        return fail(r, MP_ERR_FORMAT, "not a key file: it does not start with \"meshfw-key 1\"");
    r->seen |= bit;
    switch (bit) {
    case SEEN_MAGIC:
        return strcmp(value, "1") == 0 ? MP_OK : fail(r, MP_ERR_FORMAT, "unknown version");
    case SEEN_ROLE:
        return read_role(r, value);
    case SEEN_ID:
        if (!read_number(value, 2, &number))
            return fail(r, MP_ERR_FORMAT, "the id is 0, 1 or, for a root, 2");
        r->key->id = (uint8_t)number;
        return MP_OK;
    case SEEN_GENERATION:
        if (!read_number(value, UINT16_MAX, &number))
            return fail(r, MP_ERR_FORMAT, "the generation is 0 to 65535");
        r->key->generation = (uint16_t)number;
        return MP_OK;
    case SEEN_PUBLIC:
        return read_hex(value, r->key->pub, 32) ? MP_OK : fail(r, MP_ERR_FORMAT, "\"public\" takes 64 hex digits");
    default:
        return strcmp(name, "sealed") == 0 ? read_sealed(r, value) : read_secret(r, value);
    }
}

static int read_line(struct reader *r, char *line)
{
    line[strcspn(line, "\r#")] = '\0';
    size_t len = strlen(line);
    while (len && (line[len - 1] == ' ' || line[len - 1] == '\t'))
        line[--len] = '\0';
    if (len == 0)
        return MP_OK;
    char *space = strchr(line, ' ');
    if (!space)
        return fail(r, MP_ERR_FORMAT, "a field without a value");
    *space = '\0';
    return read_field(r, line, space + 1);
}

static int read_lines(struct reader *r, char *text)
{
    while (text && *text) {
        char *next = strchr(text, '\n');
        if (next)
            *next++ = '\0';
        r->line++;
        int result = read_line(r, text);
        if (result < 0)
            return result;
        text = next;
    }
    const unsigned needed = SEEN_MAGIC | SEEN_ROLE | SEEN_ID | SEEN_GENERATION | SEEN_PUBLIC;
    if ((r->seen & needed) != needed)
        return fail(r, MP_ERR_FORMAT, "the file ends before role, id, generation and public key");
    if (!is_place(r->key->role, r->key->id))
        return fail(r, MP_ERR_FORMAT, "only a root key has the id 2");
    return MP_OK;
}

int md_key_parse(struct md_key *k, const char *text, size_t len, const char *passphrase, char *error, size_t error_size)
{
    char copy[MD_KEYFILE_MAX + 1];
    struct reader reader = {k, passphrase, error, error_size, 0, 0};
    memset(k, 0, sizeof *k);
    if (sodium_init() < 0)
        return refuse(error, error_size, MP_ERR_STORE, "libsodium does not start");
    if (len > MD_KEYFILE_MAX)
        return refuse(error, error_size, MP_ERR_LENGTH, "longer than %d bytes", MD_KEYFILE_MAX);
    if (memchr(text, '\0', len))
        return refuse(error, error_size, MP_ERR_FORMAT, "not a text file");
    memcpy(copy, text, len);
    copy[len] = '\0';
    int result = read_lines(&reader, copy);
    sodium_memzero(copy, sizeof copy);
    if (result < 0)
        md_key_wipe(k);
    else if (k->is_sealed && !k->has_secret)
        result = refuse(error, error_size, MP_ERR_ABSENT, "the key is sealed: a passphrase is needed");
    return result;
}

/* --- files
 * ------------------------------------------------------------------------------------------------------------ */

int md_key_write(const char *path, const struct md_key *k, bool with_secret, const char *passphrase, char *error,
                 size_t error_size)
{
    char text[MD_KEYFILE_MAX];
    int len = md_key_format(k, with_secret, passphrase, text, sizeof text);
    if (len < 0)
        return refuse(error, error_size, len, "%s: the key cannot be written: %s", path, mp_strerror(len));
    int result = MP_OK;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, with_secret ? 0600 : 0644);
    if (fd < 0) {
        result = refuse(error, error_size, MP_ERR_STORE, "%s: %s", path, strerror(errno));
        goto out;
    }
    ssize_t written = write(fd, text, (size_t)len);
    if (written != len || fsync(fd) != 0) {
        result = refuse(error, error_size, MP_ERR_STORE, "%s: %s", path, written < 0 ? strerror(errno) : "short write");
        unlink(path);
    }
    close(fd);
out:
    sodium_memzero(text, sizeof text);
    return result;
}

static ssize_t read_all(int fd, char *out, size_t cap)
{
    size_t len = 0;
    while (len < cap) {
        ssize_t n = read(fd, out + len, cap - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        len += (size_t)n;
    }
    return (ssize_t)len;
}

int md_key_read(const char *path, struct md_key *k, const char *passphrase, char *error, size_t error_size)
{
    char text[MD_KEYFILE_MAX + 1], why[160] = "";
    struct stat st;
    memset(k, 0, sizeof *k);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        int result = refuse(error, error_size, MP_ERR_STORE, "%s: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return result;
    }
    ssize_t len = read_all(fd, text, sizeof text);
    int cause = errno;
    close(fd);
    if (len < 0)
        return refuse(error, error_size, MP_ERR_STORE, "%s: %s", path, strerror(cause));
    int result = md_key_parse(k, text, (size_t)len, passphrase, why, sizeof why);
    sodium_memzero(text, sizeof text);
    if (result < 0)
        return refuse(error, error_size, result, "%s: %s", path, why);
    if (k->has_secret && !k->is_sealed && (st.st_mode & 077)) {
        md_key_wipe(k);
        return refuse(error, error_size, MP_ERR_STATE, "%s: others may read this secret key; chmod 600 it", path);
    }
    return MP_OK;
}
