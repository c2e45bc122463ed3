/*
 * Stands for a microcontroller's main() when the flash and RAM of the protocol are measured (make size): it names what
 * a node calls itself; what node-fw calls is found by linking node-fw. Cross-compiled, never run.
 */
#include "proto/hci/hci.h"
#include "proto/mesh/node.h"
#include "proto/mesh/relay.h"

typedef void any_function(void);
#define USED(f) ((any_function *)(f))

extern any_function *const size_entry[];
any_function *const size_entry[] = {
    USED(mp_node_init),         USED(mp_node_receive),  USED(mp_node_expire),    USED(mp_node_write),
    USED(mp_node_next_expiry),  USED(mp_node_events),   USED(mp_node_directive), USED(mp_node_manifest),
    USED(mp_node_epoch),        USED(mp_node_is_stale), USED(mp_node_breaker),   USED(mp_node_place),
    USED(mp_node_drop),         USED(mp_node_recheck),  USED(mp_node_progress),  USED(mp_node_report),
    USED(mp_node_is_receipted), USED(mp_node_trial),    USED(mp_node_boot),      USED(mp_node_counter_persisted),
    USED(mp_hci_init),          USED(mp_hci_restart),   USED(mp_hci_receive),    USED(mp_hci_expire),
    USED(mp_hci_next_expiry),   USED(mp_hci_write),     USED(mp_hci_is_ready),   USED(mp_hci_ready_at),
    USED(mp_hci_send),          USED(mp_hci_phase),     USED(mp_hci_error),
};

/* Read back as symbol sizes. */
extern uint8_t size_of_mp_node[], size_of_mp_relay[], size_of_mp_hci[];
uint8_t size_of_mp_node[sizeof(struct mp_node)];
uint8_t size_of_mp_relay[sizeof(struct mp_relay)];
uint8_t size_of_mp_hci[sizeof(struct mp_hci)];
