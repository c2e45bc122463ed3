/*
 * A simulated node as its host runs it: what node-fw/port/posix/node_main.c and its bootloader are to a POSIX node.
 * Private to sim/fleet. The node is the one in sim_fleet_enter() where none is named.
 */
#ifndef SIM_FLEET_NODE_H
#define SIM_FLEET_NODE_H

#include "fleet_state.h"

/* A new device with release 1 confirmed in slot 0. The radio is off, nothing runs. */
void sim_node_open(struct sim_fleet *f, uint32_t node);
/* Power on: the bootloader decides at once and the image starts, without the delay of a reset. 0 or -1 (failed). */
int sim_node_start(struct sim_fleet *f);
/* True when it may be due at another time than before, so that sim_node_arm() is needed. */
bool sim_node_receive(struct sim_fleet *f, const uint8_t *frame, size_t len);
void sim_node_expire(struct sim_fleet *f);
/* Writes a frame without the header of the advertising data; its length or 0. */
int sim_node_write(struct sim_fleet *f, uint8_t *buf, size_t cap);

/* Resets: the radio is off for life.boot_us, then the bootloader decides. Nothing while the node is down. */
void sim_node_reset(struct sim_fleet *f, enum boot_cause cause);
/* Off (rows DOWN, UP): churn and battery lose what is in RAM, BRICK and BATTERY are for good. Up starts with
 * BOOT_CAUSE_POWER after life.boot_us. */
void sim_node_down(struct sim_fleet *f, enum sim_down why);
void sim_node_up(struct sim_fleet *f);
/* Works out when the node is to be called next; last in every call. */
void sim_node_arm(struct sim_fleet *f);

/* load.c: what a node of the idle load does besides. */
void sim_load_start(struct sim_fleet *f);
void sim_load_expire(struct sim_fleet *f);

/* The target place holds all of this image: told, and noted. */
void sim_node_completed(struct sim_fleet *f, const struct sim_image *image);
/* The trial of the image that runs is confirmed. */
void sim_node_confirmed(struct sim_fleet *f);

/* What the boot record says, as boot_read(). */
int sim_boot_read(const struct sim_fleet *f, struct boot_record *r);

/* boot.c: node-fw/boot over f->flash and f->layout, which sim_boot_open() prepares. */
void sim_boot_open(struct sim_fleet *f);
/* The bootloader's decision; sets f->m->running. False: nothing can be booted. */
bool sim_boot_select(struct sim_fleet *f, enum boot_cause cause);

#endif
