/*
 * Positions from a file: lines "name,x,y" or "name,x,y,z" in metres, with at most three digits after the point.
 * Spaces around fields, empty lines, lines that begin with #, and a first line "name,x,y[,z]" are passed over. Reentrant.
 */
#ifndef SIM_SCENARIO_CSV_H
#define SIM_SCENARIO_CSV_H

#include "scenario.h"

#define SIM_CSV_TEXT_MAX (64u << 20)

/* Reads text (len at most SIM_CSV_TEXT_MAX) that came from `path` (for messages only). *node is allocated [*count], the
 * caller frees it. 0, or -1 with "path:line: what is wrong and what would be right" in error; *node is NULL then. */
int sim_csv_parse(const char *path, const char *text, size_t len, struct sim_scenario_node **node, uint32_t *count,
                  char *error, size_t cap);
/* The same of a file. */
int sim_csv_read(const char *path, struct sim_scenario_node **node, uint32_t *count, char *error, size_t cap);

/* Indices of nodes in the order of their names, to look names up; the caller frees it. NULL: out of memory. */
uint32_t *sim_names_sort(const struct sim_scenario_node *node, uint32_t count);
/* Index of a name in such an order, or -1. */
int sim_names_find(const struct sim_scenario_node *node, const uint32_t *order, uint32_t count, const char *name);

#endif
