/* Intel HEX and descriptions of parts: what is read can be written and reads the same; a part that is taken is sound. */
#include <stdlib.h>
#include <string.h>

#include "meshd/ctl/hex.h"
#include "meshd/ctl/part.h"
#include "meshd/ctl/recover.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
    if (!ok)
        abort();
}

static void check_hex(const uint8_t *data, size_t size)
{
    struct md_hex *h = md_hex_new(), *again = md_hex_new();
    char error[200];
    uint32_t address, len;
    size_t text_len;

    check(h != NULL && again != NULL);
    if (md_hex_parse(h, (const char *)data, size, error, sizeof error) == MP_OK) {
        char *text = md_hex_text(h, &text_len);
        check(text != NULL && md_hex_parse(again, text, text_len, error, sizeof error) == MP_OK);
        free(text);
        for (uint64_t from = 0; md_hex_next(h, from, &address, &len); from = (uint64_t)address + len) {
            uint8_t a[256], b[256];
            check(len <= sizeof a && address >= from);
            check(md_hex_get(h, address, a, len, 0) == len && md_hex_get(again, address, b, len, 0) == len);
            check(memcmp(a, b, len) == 0);
        }
    }
    md_hex_free(h);
    md_hex_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct md_part part;
    char error[200] = "";
    struct md_hex *h;

    if (size > 20000)
        return 0;
    check_hex(data, size);
    if (md_part_parse(&part, (const char *)data, size, error, sizeof error) == MP_OK)
        check(md_layout_is_sound(&part.layout, part.flash_size, part.page_size));
    else
        check(error[0] != '\0');
    check(md_part_named(&part, "nrf51"));
    h = md_hex_new();
    check(h != NULL);
    md_part_bootloader(h, &part, data, size, error, sizeof error);
    md_hex_free(h);
    return 0;
}
