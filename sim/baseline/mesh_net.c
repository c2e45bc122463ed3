/*
 * Advertising bearer and network layer of Bluetooth mesh; mesh_net.h says what is modelled.
 */
#include "mesh_net.h"
#include "mesh_state.h"

#include <stdlib.h>
#include <string.h>

#define AD_TYPE_MESH 0x2A
#define TRANSMIT_INTERVAL_US 20000
#define RELAY_DELAY_US 20000 /* at most, random: neighbours that heard the same PDU must not all begin at once */
#define PDU_END_US 2000      /* from the last start to the bearer being done: three packets of 47 bytes */
#define CONTROL 0x80
#define TTL_MASK 0x7F

/* --- bearer ------------------------------------------------------------------------------------------------------ */

static bool take_next(struct mesh_node *n, sim_time now)
{
    if (n->locals > 0) {
        n->now = n->local[0];
        n->locals--;
        memmove(n->local, n->local + 1, n->locals * sizeof(n->local[0]));
    } else if (n->relays > 0 && n->relay[n->relay_first].due <= now) {
        n->now = n->relay[n->relay_first];
        n->relay_first = (uint8_t)((n->relay_first + 1) % MESH_RELAY_MAX);
        n->relays--;
    } else {
        return false;
    }
    n->has_begun = false;
    n->repeat_at = 0;
    return true;
}

int sim_mesh_write(struct sim_mesh *m, uint32_t node, sim_time now, struct sim_frame *frame)
{
    struct mesh_node *n = mesh_node_of(m, node);
    sim_mesh_expire(m, node, now);
    if ((n->now.left == 0 && !take_next(n, now)) || n->repeat_at > now)
        return 0;
    frame->data[0] = (uint8_t)(n->now.len + 1);
    frame->data[1] = AD_TYPE_MESH;
    memcpy(frame->data + 2, n->now.data, n->now.len);
    frame->len = (size_t)n->now.len + 2;
    frame->type = n->now.data[0] & 15;
    n->now.left--;
    n->repeat_at = now + TRANSMIT_INTERVAL_US;
    if (!n->has_begun && n->now.notify == NOTIFY_SEGMENT)
        mesh_sar_began(m, node, now);
    n->has_begun = true;
    if (n->now.left == 0 && n->now.notify != NOTIFY_NOBODY) {
        n->done = n->now.notify;
        n->done_at = now + PDU_END_US;
    }
    return 1;
}

/* --- network ----------------------------------------------------------------------------------------------------- */

int mesh_net_send(struct sim_mesh *m, uint32_t node, uint16_t to, enum sim_mesh_type type, bool is_control,
                  const uint8_t *pdu, size_t n, enum mesh_notify notify)
{
    struct mesh_node *from = mesh_node_of(m, node);
    size_t len = MESH_NET_HEADER + n + (is_control ? MESH_CONTROL_MIC : MESH_MIC);
    if (from->locals == MESH_LOCAL_MAX || len > MESH_PDU_MAX)
        return -1;
    struct mesh_pdu *p = &from->local[from->locals++];
    uint16_t source = sim_mesh_address(node);
    memset(p, 0, sizeof(*p));
    p->len = (uint8_t)len;
    p->left = m->config.transmits;
    p->notify = (uint8_t)notify;
    p->data[0] = (uint8_t)type;
    p->data[1] = (uint8_t)((is_control ? CONTROL : 0) | m->config.ttl);
    p->data[2] = (uint8_t)(from->sequence >> 16);
    p->data[3] = (uint8_t)(from->sequence >> 8);
    p->data[4] = (uint8_t)from->sequence;
    sim_put16(p->data + 5, source);
    sim_put16(p->data + 7, to);
    memcpy(p->data + MESH_NET_HEADER, pdu, n);
    from->sequence = (from->sequence + 1) & 0xFFFFFF;
    return 0;
}

/* True when the PDU was seen before; remembers it. Zephyr's cache is one ring of 256; sets of four find an entry
 * faster and forget at nearly the same age. */
static bool is_known(struct mesh_node *n, uint32_t source, uint32_t sequence)
{
    uint32_t key = (source << 24 ^ source << 8 ^ sequence) * UINT32_C(0x9E3779B1);
    key ^= key >> 15;
    key = key * UINT32_C(0x85EBCA77) + source;
    if (key == 0)
        key = 1;
    uint32_t set = sequence % MESH_CACHE_SETS;
    for (unsigned i = 0; i < MESH_CACHE_WAYS; i++)
        if (n->cache[set][i] == key)
            return true;
    n->cache[set][n->cache_next[set]] = key;
    n->cache_next[set] = (uint8_t)((n->cache_next[set] + 1) % MESH_CACHE_WAYS);
    return false;
}

static void relay(struct sim_mesh *m, uint32_t node, sim_time now, const uint8_t *pdu, size_t len)
{
    struct mesh_node *n = mesh_node_of(m, node);
    if (n->relays == MESH_RELAY_MAX)
        return;
    struct mesh_pdu *p = &n->relay[(n->relay_first + n->relays++) % MESH_RELAY_MAX];
    memset(p, 0, sizeof(*p));
    p->len = (uint8_t)len;
    p->left = m->config.relay_transmits;
    p->notify = NOTIFY_NOBODY;
    memcpy(p->data, pdu, len);
    p->data[1]--;
    p->due = now + sim_baseline_jitter(m->config.base, node, RELAY_DELAY_US);
}

void sim_mesh_receive(struct sim_mesh *m, uint32_t node, sim_time now, const struct sim_heard *heard)
{
    struct mesh_node *n = mesh_node_of(m, node);
    if (heard->len < 2 + MESH_NET_HEADER + 1 + MESH_MIC || heard->len > 2 + MESH_PDU_MAX ||
        heard->data[0] != heard->len - 1 || heard->data[1] != AD_TYPE_MESH)
        return;
    const uint8_t *pdu = heard->data + 2;
    size_t len = heard->len - 2;
    uint16_t source = sim_get16(pdu + 5), to = sim_get16(pdu + 7);
    uint32_t sequence = (uint32_t)pdu[2] << 16 | (uint32_t)pdu[3] << 8 | pdu[4];
    if (source == sim_mesh_address(node) || is_known(n, source, sequence))
        return;
    bool is_control = (pdu[1] & CONTROL) != 0;
    size_t mic = is_control ? MESH_CONTROL_MIC : MESH_MIC;
    if (len <= MESH_NET_HEADER + mic)
        return;
    bool is_mine = to == sim_mesh_address(node);
    if (!is_mine && (pdu[1] & TTL_MASK) >= 2)
        relay(m, node, now, pdu, len);
    if (is_mine || (to >= SIM_MESH_GROUP && m->config.ops->listens(m->config.ctx, node, to)))
        mesh_sar_receive(m, node, now, source, to, sequence, is_control, pdu + MESH_NET_HEADER,
                         len - MESH_NET_HEADER - mic);
}

/* --- the mesh ---------------------------------------------------------------------------------------------------- */

void sim_mesh_expire(struct sim_mesh *m, uint32_t node, sim_time now)
{
    struct mesh_node *n = mesh_node_of(m, node);
    if (n->done_at <= now) {
        enum mesh_notify what = n->done;
        n->done_at = SIM_NEVER;
        n->done = NOTIFY_NOBODY;
        mesh_sar_done(m, node, now, what);
    }
    mesh_sar_expire(m, node, now);
}

sim_time sim_mesh_next(const struct sim_mesh *m, uint32_t node)
{
    const struct mesh_node *n = mesh_node_of(m, node);
    sim_time next = mesh_sar_next(m, node);
    if (n->done_at < next)
        next = n->done_at;
    if (n->now.left > 0 && n->repeat_at < next)
        next = n->repeat_at;
    if (n->now.left == 0 && n->locals > 0)
        next = 0;
    else if (n->now.left == 0 && n->relays > 0 && n->relay[n->relay_first].due < next)
        next = n->relay[n->relay_first].due;
    return next;
}

struct sim_mesh *sim_mesh_open(const struct sim_mesh_config *config)
{
    struct sim_mesh *m = calloc(1, sizeof(*m));
    if (m == NULL)
        return NULL;
    m->config = *config;
    m->rx_count = (size_t)config->base->count * SIM_MESH_RX + SIM_MESH_RX_DISTRIBUTOR;
    m->node = calloc(config->base->count > 0 ? config->base->count : 1, sizeof(*m->node));
    m->rx = calloc(m->rx_count, sizeof(*m->rx));
    if (m->node == NULL || m->rx == NULL) {
        sim_mesh_close(m);
        return NULL;
    }
    for (uint32_t i = 0; i < config->base->count; i++)
        m->node[i].done_at = m->node[i].tx.timer_at = SIM_NEVER;
    for (size_t i = 0; i < m->rx_count; i++)
        m->rx[i].ack_at = m->rx[i].discard_at = SIM_NEVER;
    return m;
}

void sim_mesh_close(struct sim_mesh *m)
{
    if (m == NULL)
        return;
    free(m->node);
    free(m->rx);
    free(m);
}

int sim_mesh_save(const struct sim_mesh *m, struct sim_archive *a)
{
    if (sim_archive_section(a, "MESH") != 0 ||
        sim_archive_put(a, m->node, m->config.base->count * sizeof(*m->node)) != 0)
        return -1;
    return sim_archive_put(a, m->rx, m->rx_count * sizeof(*m->rx));
}

static bool is_sound(const struct mesh_node *n)
{
    if (n->locals > MESH_LOCAL_MAX || n->relays > MESH_RELAY_MAX || n->relay_first >= MESH_RELAY_MAX ||
        n->now.len > MESH_PDU_MAX)
        return false;
    const struct mesh_tx *tx = &n->tx;
    if (tx->is_active && (tx->len == 0 || tx->len > SIM_MESH_MESSAGE_MAX + MESH_MIC || tx->segment > tx->last + 1 ||
                          tx->last != (tx->is_segmented ? (tx->len - 1) / MESH_SEGMENT : 0)))
        return false;
    for (unsigned i = 0; i < MESH_RELAY_MAX; i++)
        if (n->relay[i].len > MESH_PDU_MAX)
            return false;
    for (unsigned i = 0; i < MESH_LOCAL_MAX; i++)
        if (n->local[i].len > MESH_PDU_MAX)
            return false;
    for (unsigned i = 0; i < MESH_CACHE_SETS; i++)
        if (n->cache_next[i] >= MESH_CACHE_WAYS)
            return false;
    return true;
}

int sim_mesh_load(struct sim_mesh *m, struct sim_archive *a)
{
    if (sim_archive_section(a, "MESH") != 0 ||
        sim_archive_get(a, m->node, m->config.base->count * sizeof(*m->node)) != 0 ||
        sim_archive_get(a, m->rx, m->rx_count * sizeof(*m->rx)) != 0)
        return -1;
    for (uint32_t i = 0; i < m->config.base->count; i++)
        if (!is_sound(&m->node[i]))
            return sim_archive_fail(a, "a mesh node's state in the checkpoint is impossible");
    for (size_t i = 0; i < m->rx_count; i++)
        if (m->rx[i].last > 31 || m->rx[i].tail > MESH_SEGMENT)
            return sim_archive_fail(a, "a mesh message in the checkpoint is impossible");
    return 0;
}
