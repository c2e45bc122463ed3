/*
 * End-to-end tests: fleets of real programs under cmocka.
 */
#ifndef TESTS_E2E_H
#define TESTS_E2E_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#include "tests/lib/fleet.h"

/* The fleet of the running test; closed by the teardown, also when the test failed. */
extern struct fleet e2e_fleet;

int e2e_setup(void **state);
int e2e_teardown(void **state);

#define E2E_TEST(function) cmocka_unit_test_setup_teardown(function, e2e_setup, e2e_teardown)

/* A line of nodes n1 to nN behind the gateway, each hearing its neighbours only, or a grid where all hear their eight
 * neighbours; no loss unless given. Static storage. */
const char *e2e_line(unsigned nodes, unsigned loss_percent);
const char *e2e_grid(unsigned columns, unsigned rows, unsigned loss_percent);
/* All hear all. */
const char *e2e_room(unsigned nodes, unsigned loss_percent);

/* Policies in short: every node at once; a canary first. */
#define E2E_ALL "confirm=8 stage-deadline=600; all: share=100% soak=1 deadline=60"
#define E2E_CANARY                                                                                                     \
    "confirm=8 stage-deadline=600; canary: label=canary soak=1 deadline=60; all: share=100% soak=1 deadline=60"

#endif
