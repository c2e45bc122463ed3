/*
 * Tests with emulated parts under cmocka: a folder and some parts, closed by the teardown also when the test failed.
 */
#ifndef TESTS_EMU_H
#define TESTS_EMU_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#include "tests/lib/qemu.h"

#define EMU_PARTS_MAX 32

extern struct qemu emu_part[EMU_PARTS_MAX];
extern char emu_dir[QEMU_PATH_MAX / 2]; /* of the running test */

int emu_setup(void **state);
int emu_teardown(void **state);

#define EMU_TEST(function) cmocka_unit_test_setup_teardown(function, emu_setup, emu_teardown)

/* Path of something that the build made, below BUILD (of the environment, or "build"). Static storage. */
const char *emu_built(const char *name);
/* Opens part i as "pI", the test being its controller, with this firmware at address 0; stopped. */
struct qemu *emu_open(unsigned i, const char *firmware);

/* Sends bytes to its UART; false when it does not take them in time. */
bool emu_send(struct qemu *q, const void *data, size_t len, double seconds);
/* Receives exactly len bytes; how many came in time. */
size_t emu_receive(struct qemu *q, void *data, size_t len, double seconds);

#endif
