/*
 * Bad builds, made on purpose: what demonstrations and tests feed to the mesh to see it save itself. A build without a
 * fault holds none of this.
 */
#ifndef NRF51_FAULT_H
#define NRF51_FAULT_H

#include "app_sensor.h"

#define FAULT_NONE 0
#define FAULT_SELFTEST 1 /* the self-test fails */
#define FAULT_HANG 2     /* stops for ever with interrupts on, soon after the start */
#define FAULT_CRASH 3    /* hard fault, soon after the start */
#define FAULT_MUTE 4     /* never lets the radio send */

#ifndef NODE_FAULT
#define NODE_FAULT FAULT_NONE
#endif

extern const struct app app_faulty;

#define NODE_APP (NODE_FAULT == FAULT_NONE ? &app_sensor : &app_faulty)

#endif
