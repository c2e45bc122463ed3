/* A flash file from anywhere: whatever its header says, it is refused or stays within its bounds. */
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "node-fw/port/posix/flash_file.h"
#include "proto/mp_wire.h"

#define FILE_MAX (256u << 10)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void exercise(struct port_flash *f, const uint8_t *data, size_t size)
{
    uint8_t buf[64];
    for (size_t i = 0; i + 8 <= size; i += 8) {
        const uint32_t address = mp_get32(data + i);
        const size_t len = data[i + 4] % sizeof buf;
        for (size_t b = 0; b < sizeof buf; b++)
            buf[b] = data[i + 5];
        switch (data[i + 6] % 4) {
        case 0:
            f->flash.read(f, address, buf, len);
            break;
        case 1:
            f->flash.program(f, address % f->flash.size & ~31u, buf, len & ~31u);
            break;
        case 2:
            f->flash.erase(f, address & ~(f->flash.page_size - 1));
            break;
        default:
            port_flash_spoil(f, address, data[i + 4]);
            break;
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct port_flash f;
    if (size < 4)
        return 0;
    const uint32_t length = mp_get32(data) % FILE_MAX;
    const int fd = memfd_create("flash", MFD_CLOEXEC);
    if (fd < 0)
        return 0;
    if (write(fd, data + 4, size - 4) != (ssize_t)(size - 4) || ftruncate(fd, (off_t)length) != 0) {
        close(fd);
        return 0;
    }
    if (port_flash_adopt(&f, fd) == 0) {
        exercise(&f, data, size);
        port_flash_close(&f);
    }
    return 0;
}
