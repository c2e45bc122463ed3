/* Storage of simulated nodes: pools, interned records, a node's records, slots, and checkpoints of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "proto/mp_wire.h"
#include "sim_fleet_world.h"

static const char world_text[] = "[scenario]\nname = store\nseed = 3\n"
                                 "[topology]\nkind = line\nnodes = 2\nreach = neighbours\n"
                                 "[fleet]\nsize = 5000 B\n"
                                 "[release 2]\nat = 50 min\nsize = 7000 B\npolicy = all: share=100%\n";

/* --- pools and objects -------------------------------------------------------------------------------------------- */

static void pool_gives_out_and_takes_back(void **state)
{
    struct sim_pool p;
    uint32_t index[1000];

    (void)state;
    sim_pool_init(&p, 24);
    for (uint32_t i = 0; i < 1000; i++) {
        index[i] = sim_pool_take(&p);
        assert_int_equal(index[i], i + 1);
        for (unsigned b = 0; b < 24; b++)
            assert_int_equal(((uint8_t *)sim_pool_at(&p, index[i]))[b], 0);
        memset(sim_pool_at(&p, index[i]), 0xA5, 24);
    }
    for (uint32_t i = 0; i < 1000; i += 2)
        sim_pool_give(&p, index[i]);
    for (uint32_t i = 0; i < 500; i++) {
        uint32_t again = sim_pool_take(&p);
        assert_true(again % 2 == 1 && again <= 1000);
        assert_int_equal(*(uint8_t *)sim_pool_at(&p, again), 0);
    }
    assert_int_equal(sim_pool_take(&p), 1001);
    sim_pool_close(&p);
}

static size_t content(uint32_t i, uint8_t data[MP_RECORD_MAX])
{
    size_t len = 4 + i % (MP_RECORD_MAX - 3);

    for (size_t at = 0; at < len; at++)
        data[at] = (uint8_t)(i >> 8 * (at % 4));
    return len;
}

static void objects_are_kept_once(void **state)
{
    enum { COUNT = 20000 };
    static uint32_t index[COUNT];
    struct sim_objects o;
    uint8_t data[MP_RECORD_MAX];
    size_t len, got;

    (void)state;
    assert_int_equal(sim_objects_open(&o), 0);
    for (uint32_t i = 0; i < COUNT; i++) {
        len = content(i, data);
        index[i] = sim_objects_hold(&o, data, len);
        assert_true(index[i] != 0);
        assert_int_equal(sim_objects_hold(&o, data, len), index[i]);
    }
    assert_int_equal(o.live, COUNT);
    for (uint32_t i = 0; i < COUNT; i++)
        sim_objects_drop(&o, index[i]); /* one holder is left */
    for (uint32_t i = 0; i < COUNT; i++) {
        len = content(i, data);
        const uint8_t *body = sim_objects_at(&o, index[i], &got);
        assert_int_equal(got, len);
        assert_memory_equal(body, data, len);
    }
    for (uint32_t i = 0; i < COUNT; i += 2)
        sim_objects_drop(&o, index[i]);
    assert_int_equal(o.live, COUNT / 2);
    len = content(1, data);
    assert_int_equal(sim_objects_hold(&o, data, len), index[1]);
    sim_objects_close(&o);
}

static void path_make(char path[64])
{
    snprintf(path, 64, "/tmp/test-sim-store-%ld", (long)getpid());
}

static void objects_survive_a_checkpoint(void **state)
{
    struct sim_objects o, again;
    char path[64], error[128];
    uint8_t data[MP_RECORD_MAX];
    uint32_t index[300];
    size_t len, got;

    (void)state;
    path_make(path);
    assert_int_equal(sim_objects_open(&o), 0);
    assert_int_equal(sim_objects_open(&again), 0);
    for (uint32_t i = 0; i < 300; i++) {
        len = content(i, data);
        index[i] = sim_objects_hold(&o, data, len);
    }
    for (uint32_t i = 0; i < 300; i += 3)
        sim_objects_drop(&o, index[i]);
    struct sim_archive *a = sim_archive_create(path, error, sizeof error);

    assert_non_null(a);
    sim_archive_section(a, "TEST");
    assert_int_equal(sim_objects_save(&o, a), 0);
    assert_int_equal(sim_archive_close(a, error, sizeof error), 0);
    a = sim_archive_open(path, error, sizeof error);
    assert_non_null(a);
    sim_archive_section(a, "TEST");
    assert_int_equal(sim_objects_load(&again, a), 0);
    assert_int_equal(sim_archive_close(a, error, sizeof error), 0);
    for (uint32_t i = 0; i < 300; i++) {
        len = content(i, data);
        if (i % 3 != 0) {
            assert_memory_equal(sim_objects_at(&again, index[i], &got), data, len);
            assert_int_equal(got, len);
        }
        /* What was dropped comes back in the same places in both. */
        assert_int_equal(sim_objects_hold(&again, data, len), sim_objects_hold(&o, data, len));
    }
    sim_objects_close(&o);
    sim_objects_close(&again);
    unlink(path);
}

/* --- records of a node -------------------------------------------------------------------------------------------- */

static void records_are_a_nodes_own(void **state)
{
    const struct mp_store *store = &sim_fleet_store;
    struct sim_fleet_world w;
    uint8_t data[MP_RECORD_MAX], got[MP_RECORD_MAX];

    (void)state;
    sim_fleet_world_open(&w, world_text);
    /* More than fit the member itself, in every slot there is. */
    for (uint32_t node = 0; node < 2; node++) {
        sim_fleet_enter(w.f, node, 0);
        for (unsigned slot = 0; slot < 16; slot++) {
            memset(data, (int)(slot + 16 * node), sizeof data);
            assert_int_equal(store->put(w.f, MP_KIND_KEYCHANGE, slot, data, 200 + slot), MP_OK);
        }
    }
    for (uint32_t node = 0; node < 2; node++) {
        sim_fleet_enter(w.f, node, 0);
        for (unsigned slot = 0; slot < 16; slot++) {
            memset(data, (int)(slot + 16 * node), sizeof data);
            assert_int_equal(store->get(w.f, MP_KIND_KEYCHANGE, slot, got, sizeof got), 200 + slot);
            assert_memory_equal(got, data, 200 + slot);
            assert_int_equal(store->get(w.f, MP_KIND_KEYCHANGE, slot, got, 199), MP_ERR_ROOM);
            assert_int_equal(store->get(w.f, MP_KIND_MANIFEST, slot, got, sizeof got), 0);
        }
    }
    uint32_t live = w.f->objects.live;

    for (unsigned slot = 0; slot < 16; slot++) /* node 1 erases, then writes again */
        assert_int_equal(store->put(w.f, MP_KIND_KEYCHANGE, slot, NULL, 0), MP_OK);
    assert_int_equal(w.f->objects.live, live - 16);
    assert_int_equal(store->put(w.f, MP_KIND_KEYCHANGE, 3, data, 10), MP_OK);
    assert_int_equal(store->get(w.f, MP_KIND_KEYCHANGE, 3, got, sizeof got), 10);
    assert_int_equal(store->get(w.f, MP_KIND_KEYCHANGE, 4, got, sizeof got), 0);
    assert_int_equal(store->put(w.f, MP_KIND_KEYCHANGE, 16, data, 10), MP_ERR_STORE);
    sim_fleet_enter(w.f, 0, 0);
    assert_int_equal(store->get(w.f, MP_KIND_KEYCHANGE, 4, got, sizeof got), 204);
    sim_fleet_world_close(&w);
}

static void the_common_keyset_costs_nothing(void **state)
{
    const struct mp_store *store = &sim_fleet_store;
    struct sim_fleet_world w;
    uint8_t other[MP_KEYSET_SIZE], got[MP_KEYSET_SIZE];

    (void)state;
    sim_fleet_world_open(&w, world_text);
    sim_fleet_enter(w.f, 1, 0);
    uint32_t live = w.f->objects.live;

    assert_int_equal(store->get(w.f, MP_KIND_KEYSET, 0, got, sizeof got), MP_KEYSET_SIZE);
    assert_memory_equal(got, w.f->keys.keyset, MP_KEYSET_SIZE);
    memcpy(other, got, sizeof other);
    other[40] ^= 1;
    assert_int_equal(store->put(w.f, MP_KIND_KEYSET, 0, other, sizeof other), MP_OK);
    assert_int_equal(w.f->objects.live, live + 1);
    assert_int_equal(store->get(w.f, MP_KIND_KEYSET, 0, got, sizeof got), MP_KEYSET_SIZE);
    assert_memory_equal(got, other, MP_KEYSET_SIZE);
    assert_int_equal(store->put(w.f, MP_KIND_KEYSET, 0, w.f->keys.keyset, MP_KEYSET_SIZE), MP_OK);
    assert_int_equal(w.f->objects.live, live);
    sim_fleet_world_close(&w);
}

static void boot_counters_are_kept_apart(void **state)
{
    struct sim_fleet_world w;
    uint8_t data[4];

    (void)state;
    sim_fleet_world_open(&w, world_text);
    sim_fleet_enter(w.f, 1, 0);
    assert_int_equal(sim_fleet_storage.get(w.f, NF_KIND_BOOT, data, sizeof data), 4);
    assert_int_equal(mp_get32(data), 1);
    mp_put32(data, 77);
    assert_int_equal(sim_fleet_storage.put(w.f, NF_KIND_BOOT, data, sizeof data), MP_OK);
    memset(data, 0, sizeof data);
    assert_int_equal(sim_fleet_storage.get(w.f, NF_KIND_BOOT, data, sizeof data), 4);
    assert_int_equal(mp_get32(data), 77);
    sim_fleet_world_close(&w);
}

/* --- slots -------------------------------------------------------------------------------------------------------- */

static int put_chunk(struct sim_fleet *f, const struct sim_image *image, uint32_t position)
{
    return sim_fleet_store.chunk_put(f, NF_PLACE_TARGET, position, image->chunk + (size_t)position * MP_CHUNK_SIZE,
                                     mp_tree_length(&image->tree, position));
}

static void a_slot_is_filled_and_sealed(void **state)
{
    const struct nf_storage *storage = &sim_fleet_storage;
    struct sim_fleet_world w;
    uint8_t manifest[MP_MANIFEST_SIZE], chunk[MP_CHUNK_SIZE];

    (void)state;
    sim_fleet_world_open(&w, world_text);
    sim_fleet_enter(w.f, 1, 0);
    const struct sim_image *home = &w.f->images.image[sim_images_find(&w.f->images, 1, 1)];
    const struct sim_image *image = &w.f->images.image[sim_images_find(&w.f->images, 2, 1)];

    assert_int_equal(storage->sealed(w.f, NF_PLACE_HOME, manifest), MP_OK);
    assert_memory_equal(manifest, home->raw, sizeof manifest);
    assert_int_equal(storage->sealed(w.f, NF_PLACE_TARGET, manifest), MP_ERR_ABSENT);
    assert_int_equal(storage->fetching(w.f, manifest), MP_ERR_ABSENT);
    assert_null(sim_fleet_store.bitmap(w.f, NF_PLACE_TARGET));
    assert_int_equal(put_chunk(w.f, image, 0), MP_ERR_STORE);
    assert_int_equal(storage->open(w.f, image->raw), MP_OK);
    assert_null(sim_fleet_store.bitmap(w.f, NF_PLACE_TARGET)); /* not erased yet */
    assert_int_equal(storage->fetching(w.f, manifest), MP_OK);
    assert_int_equal(storage->work(w.f), 0);
    for (uint32_t i = 0; i < image->tree.positions; i++) {
        assert_int_equal(storage->verify(w.f), MP_ERR_STATE);
        assert_int_equal(sim_fleet_store.chunk_get(w.f, NF_PLACE_TARGET, i, chunk), MP_ERR_ABSENT);
        assert_int_equal(put_chunk(w.f, image, i), MP_OK);
        assert_int_equal(sim_fleet_store.chunk_get(w.f, NF_PLACE_TARGET, i, chunk), mp_tree_length(&image->tree, i));
        assert_true((sim_fleet_store.bitmap(w.f, NF_PLACE_TARGET)[i / 8] >> i % 8 & 1) != 0);
    }
    assert_int_equal(w.f->m->bitmap, 0); /* complete: none is needed */
    assert_int_equal(put_chunk(w.f, image, image->tree.positions), MP_ERR_STORE);
    assert_int_equal(storage->sealed(w.f, NF_PLACE_TARGET, manifest), MP_ERR_ABSENT);
    assert_int_equal(storage->boot_request(w.f, image->raw, 60, false), MP_ERR_STATE);
    assert_int_equal(storage->verify(w.f), MP_OK);
    assert_int_equal(storage->work(w.f), 0);
    assert_int_equal(storage->sealed(w.f, NF_PLACE_TARGET, manifest), MP_OK);
    assert_memory_equal(manifest, image->raw, sizeof manifest);
    assert_int_equal(storage->boot_request(w.f, image->raw, 60, false), MP_OK);
    assert_int_equal(storage->open(w.f, image->raw), MP_ERR_STATE); /* a trial is asked for */
    assert_int_equal(sim_engine_told(w.e, SIM_ROW_COMPLETE), 1);
    sim_fleet_world_close(&w);
}

/* The engine would have verified it: so it must be the image's. */
static void a_foreign_chunk_ends_the_run(void **state)
{
    struct sim_fleet_world w;
    uint8_t chunk[MP_CHUNK_SIZE];

    (void)state;
    sim_fleet_world_open(&w, world_text);
    sim_fleet_enter(w.f, 1, 0);
    const struct sim_image *image = &w.f->images.image[sim_images_find(&w.f->images, 2, 1)];

    assert_int_equal(sim_fleet_storage.open(w.f, image->raw), MP_OK);
    assert_int_equal(sim_fleet_storage.work(w.f), 0);
    unsigned len = mp_tree_length(&image->tree, 5);

    memcpy(chunk, image->chunk + 5 * MP_CHUNK_SIZE, len);
    chunk[len - 1] ^= 0x80;
    assert_int_equal(sim_fleet_store.chunk_put(w.f, NF_PLACE_TARGET, 5, chunk, len), MP_ERR_STORE);
    assert_int_equal(sim_engine_advance(w.e, 1000), -1);
    assert_non_null(strstr(sim_engine_error(w.e), "chunk"));
    sim_fleet_world_close(&w);
}

/* Images are what their manifests say, and differ between models and releases. */
static void images_are_what_they_claim(void **state)
{
    struct sim_fleet_world w;

    (void)state;
    sim_fleet_world_open(&w, "[scenario]\nname = images\nseed = 5\n"
                             "[topology]\nkind = line\nnodes = 2\nreach = neighbours\n"
                             "[fleet]\nsize = 1 B\nmodels = 3\n"
                             "[release 2]\nat = 50 min\nsize = 192 B\npolicy = all: share=100%\n"
                             "[release 3]\nat = 55 min\nsize = 70000 B\nmodel = 2\npolicy = all: share=100%\n");
    const struct sim_images *images = &w.f->images;

    assert_int_equal(images->count, 7);
    assert_true(sim_images_find(images, 3, 1) < 0);
    for (unsigned i = 0; i < images->count; i++) {
        const struct sim_image *image = &images->image[i];
        struct mp_manifest m;
        assert_int_equal(mp_manifest_get(&m, image->raw, sizeof image->raw), MP_OK);
        assert_int_equal(mp_manifest_verify(w.f->env.mp.crypto, image->raw, w.f->keys.publisher.pub), MP_OK);
        assert_int_equal(sim_images_find_id(images, image->id), i);
        uint8_t hash[MP_HASH_SIZE];
        uint32_t index;
        for (uint32_t p = 0; p < image->tree.positions; p++) {
            unsigned at, level = mp_tree_level(&image->tree, p, &index);
            uint32_t parent = mp_tree_parent(&image->tree, p, &at);
            mp_tree_hash(w.f->env.mp.crypto, m.salt, level, index, image->chunk + (size_t)p * MP_CHUNK_SIZE,
                         mp_tree_length(&image->tree, p), hash);
            assert_memory_equal(
                hash, parent == UINT32_MAX ? m.image_root : image->chunk + (size_t)parent * MP_CHUNK_SIZE + at,
                MP_HASH_SIZE);
        }
    }
    sim_fleet_world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pool_gives_out_and_takes_back),   cmocka_unit_test(objects_are_kept_once),
        cmocka_unit_test(objects_survive_a_checkpoint),    cmocka_unit_test(records_are_a_nodes_own),
        cmocka_unit_test(the_common_keyset_costs_nothing), cmocka_unit_test(boot_counters_are_kept_apart),
        cmocka_unit_test(a_slot_is_filled_and_sealed),     cmocka_unit_test(a_foreign_chunk_ends_the_run),
        cmocka_unit_test(images_are_what_they_claim),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
