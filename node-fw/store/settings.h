/*
 * The settings page: where provisioning puts the settings record (codec in proto/object/settings.h, docs/SPEC.md
 * section 10). Written once; updates never touch it. Reentrant.
 */
#ifndef NF_SETTINGS_H
#define NF_SETTINGS_H

#include "flash.h"
#include "proto/object/settings.h"

/* Reads it. 0, MP_ERR_ABSENT (blank: never provisioned), MP_ERR_FORMAT, MP_ERR_CHUNK (damaged), MP_ERR_STORE. */
int nf_settings_load(struct mp_settings *s, const struct nf_flash *flash, const struct nf_layout *layout);

/* Erases the page, writes the record and reads it back: provisioning only. 0, MP_ERR_FORMAT (a field out of range),
 * MP_ERR_STORE. */
int nf_settings_store(const struct mp_settings *s, const struct nf_flash *flash, const struct nf_layout *layout);

#endif
