#include "app.h"

int nf_app_get(const struct app_view *view, unsigned index, uint8_t *data, size_t cap)
{
    return nf_objects_get(&view->store->objects, NF_KIND_APP, index, data, cap);
}

int nf_app_put(const struct app_view *view, unsigned index, const uint8_t *data, size_t len)
{
    return nf_objects_put(&view->store->objects, NF_KIND_APP, index, data, len);
}
