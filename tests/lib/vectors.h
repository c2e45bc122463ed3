/*
 * Reader of the vectors in tests/vectors (form: see generate.py there), and the noise they are made over. Looks in
 * tests/vectors, or where the environment's VECTORS_DIR says. Any error (no file, no such name, bad hex, no room)
 * prints what is wrong and aborts: a vector that cannot be read must not pass.
 */
#ifndef TESTS_VECTORS_H
#define TESTS_VECTORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct vectors {
    FILE *file;
    const char *name;
    unsigned count; /* cases read so far */
    char *text;     /* lines of the case at hand */
};

/* Opens NAME.txt. vectors_next() steps to the next case; false at the end, when everything is closed and freed. */
void vectors_open(struct vectors *v, const char *name);
bool vectors_next(struct vectors *v);

/* Values of the case at hand. hex() returns the number of bytes, at most cap; word() copies text of at most cap - 1. */
bool vectors_has(const struct vectors *v, const char *key);
long long vectors_int(const struct vectors *v, const char *key);
size_t vectors_hex(const struct vectors *v, const char *key, uint8_t *out, size_t cap);
void vectors_word(const struct vectors *v, const char *key, char *out, size_t cap);

/* size bytes of a linear congruential generator's high byte. */
void vectors_noise(uint32_t seed, uint8_t *out, size_t size);

#endif
