/*
 * Limits of the protocol engine: the one place where they are set.
 *
 * Two profiles. The default suits hosts (gateway, POSIX nodes); MP_PROFILE_MCU suits a part with 16 KB of RAM, and the
 * simulator, whose nodes are such parts. Every limit may be overridden with -D. Limits marked "network" are part of the protocol (docs/SPEC.md) and must
 * be the same on every member; the others only trade memory for quality and may differ from node to node.
 */
#ifndef MP_CONFIG_H
#define MP_CONFIG_H

/* network: sizes on the wire */
#define MP_BODY_MAX 200   /* bytes of a frame's body */
#define MP_HEADER_SIZE 17 /* bytes before the body */
#define MP_TAG_SIZE 8     /* bytes after the body */
#define MP_FRAME_MAX (MP_HEADER_SIZE + MP_BODY_MAX + MP_TAG_SIZE)
#define MP_CHUNK_SIZE 192        /* payload bytes of a chunk */
#define MP_HASH_SIZE 12          /* truncated chunk hash */
#define MP_TREE_FANOUT 16        /* hashes in an interior chunk */
#define MP_TREE_LEVELS_MAX 6     /* leaves and five interior levels */
#define MP_IMAGE_MAX (16u << 20) /* bytes of a canonical payload */

/* network: what every member holds */
#define MP_RELEASES_MAX 4  /* release heads */
#define MP_MANIFESTS_MAX 8 /* live manifests */
#define MP_KEYCHAIN_MAX 16 /* key changes kept for others */

/* local: memory against quality */
#ifdef MP_PROFILE_MCU
#ifndef MP_NEIGHBOURS_MAX
#define MP_NEIGHBOURS_MAX 8
#endif
#ifndef MP_PLACES_MAX
#define MP_PLACES_MAX 2 /* payloads held: home and target */
#endif
#ifndef MP_CUSTODY_MAX
#define MP_CUSTODY_MAX 5 /* reports in custody for others */
#endif
#else
#ifndef MP_NEIGHBOURS_MAX
#define MP_NEIGHBOURS_MAX 32
#endif
#ifndef MP_PLACES_MAX
#define MP_PLACES_MAX 8
#endif
#ifndef MP_CUSTODY_MAX
#define MP_CUSTODY_MAX 64
#endif
#endif

#endif
