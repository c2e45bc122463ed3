/*
 * What meshctl takes from whoever listens at the daemon's socket: any bytes as a reply. A reply that is taken has a
 * status of three digits and JSON; one that is not has a sentence. The JSON helpers that every command reads replies
 * with take any document.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "meshd/ctl/client.h"
#include "meshd/ctl/ctl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

/* Reads every member of an object as each kind a command may expect. */
static void read_members(const cJSON *json)
{
    char joined[40];
    uint8_t bytes[8];
    const cJSON *item;
    cJSON_ArrayForEach(item, json)
    {
        const char *name = item->string != NULL ? item->string : "warnings";
        require(strlen(md_json_string(json, name)) < MD_CLIENT_REPLY_MAX);
        require(md_json_number(json, name) >= 0 || md_json_number(json, name) < 1);
        (void)md_json_true(json, name);
        md_json_join(json, name, joined, sizeof joined);
        require(strlen(joined) < sizeof joined);
        require(md_json_hex(json, name, bytes, sizeof bytes) <= (int)sizeof bytes);
    }
}

static void try_reply(const char *data, size_t len)
{
    struct md_client_reply reply = {0};
    char error[200] = "";
    char *exact = malloc(len > 0 ? len : 1);
    if (exact == NULL)
        return;
    memcpy(exact, data, len);
    if (md_client_parse(exact, len, &reply, error, sizeof error) == 0) {
        require(reply.status >= 0 && reply.status <= 999 && reply.json != NULL);
        read_members(reply.json);
        cJSON_Delete(reply.json);
    } else {
        require(error[0] != '\0');
    }
    free(exact);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char head[] = "HTTP/1.1 200 OK\r\n\r\n";
    static char whole[65536];
    if (size > sizeof whole - sizeof head)
        return 0;
    try_reply(size > 0 ? (const char *)data : "", size);
    memcpy(whole, head, sizeof head - 1); /* straight to the JSON */
    if (size > 0)
        memcpy(whole + sizeof head - 1, data, size);
    try_reply(whole, sizeof head - 1 + size);
    return 0;
}
