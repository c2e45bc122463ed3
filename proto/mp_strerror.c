#include "mp_types.h"

static const char *const sentence[MP_ERROR_COUNT] = {
    [-MP_OK] = "success",
    [-MP_ERR_LENGTH] = "truncated or oversized",
    [-MP_ERR_FORMAT] = "unknown version or a field outside its range",
    [-MP_ERR_TYPE] = "unknown frame type",
    [-MP_ERR_NETWORK] = "another network, or a network key that is not held",
    [-MP_ERR_TAG] = "authentication tag wrong",
    [-MP_ERR_SOURCE] = "own, zero or broadcast source",
    [-MP_ERR_REPLAY] = "replayed counter or stale nonce",
    [-MP_ERR_UNNAMED] = "no release names it",
    [-MP_ERR_OLD] = "not newer than what is held",
    [-MP_ERR_BUSY] = "too many at once; try later",
    [-MP_ERR_KEY] = "key unknown or of another generation",
    [-MP_ERR_REVOKED] = "key revoked",
    [-MP_ERR_SIGNATURE] = "signature wrong",
    [-MP_ERR_FROZEN] = "the key chain is forked and frozen",
    [-MP_ERR_GAP] = "a key change before it is missing",
    [-MP_ERR_EXPIRED] = "expired",
    [-MP_ERR_MODEL] = "for another product, model or hardware revision",
    [-MP_ERR_VERSION] = "the running version is below the earliest one allowed",
    [-MP_ERR_RELEASE] = "release sequence not higher than the running one",
    [-MP_ERR_COUNTER] = "security counter below the floor or rising too far",
    [-MP_ERR_ROOM] = "does not fit",
    [-MP_ERR_BATTERY] = "battery too low",
    [-MP_ERR_UNSUPPORTED] = "a kind of payload that cannot be used here",
    [-MP_ERR_STORE] = "the store failed",
    [-MP_ERR_CHUNK] = "chunk hash wrong",
    [-MP_ERR_PARENT] = "the chunk's parent is not held yet",
    [-MP_ERR_ABSENT] = "nothing there",
    [-MP_ERR_DUPLICATE] = "already held",
    [-MP_ERR_STATE] = "not possible in this state",
};

const char *mp_strerror(int error)
{
    if (error > 0 || error <= -MP_ERROR_COUNT)
        return "unknown error";
    return sentence[-error];
}
