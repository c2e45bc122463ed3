/*
 * Factory and workbench: writes the flash of a new node, and looks into one.
 */
#ifndef PORT_PROVISION_H
#define PORT_PROVISION_H

#include <stdbool.h>
#include <stdio.h>

#include "flash_file.h"

struct port_provision {
    const char *flash;    /* path, replaced at once when all is written */
    const char *settings; /* file: settings record (docs/SPEC.md section 10) */
    const char *image;    /* file: canonical payload */
    const char *manifest; /* file: 200 bytes */
    struct port_flash_geometry geometry;
};

/*
 * Writes settings, the image sealed into slot 0, and a confirmed boot record, after checking that the manifest is
 * signed by a publisher of the settings' keyset, is for this product, model and hardware revision, and names this
 * image. 0, or -1 after saying why on standard error; then the path holds what it held before.
 */
int port_provision(const struct port_provision *what);

/* Prints what a flash holds, also while a node runs from it. Secrets are left out. 0, or -1 after saying why on
 * standard error. */
int port_inspect(const char *flash, bool json, FILE *out);

#endif
