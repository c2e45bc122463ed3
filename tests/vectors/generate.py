#!/usr/bin/env python3
"""Writes the vectors beside it from docs/SPEC.md alone, sharing no code with the project.

Ed25519 follows RFC 8032 section 5.1, SipHash-2-4 the paper by Aumasson and Bernstein; SHA-256 is hashlib's. A file is a list of
cases parted by an empty line; a case is lines `name value`: decimal numbers, hex bytes ("-" for none), words.
Run it from anywhere: it takes about half a minute and always writes the same bytes.
"""

import hashlib
import os
import struct

HERE = os.path.dirname(os.path.abspath(__file__))


def sha256(data):
    return hashlib.sha256(data).digest()


# --- Ed25519 (RFC 8032, 5.1) ---

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P


def recover_x(y, sign):
    x2 = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P != 0:
        x = x * pow(2, (P - 1) // 4, P) % P
    assert (x * x - x2) % P == 0
    return P - x if x & 1 != sign else x


def point(x, y):
    return (x, y, 1, x * y % P)


BASE = point(recover_x(4 * pow(5, P - 2, P) % P, 0), 4 * pow(5, P - 2, P) % P)


def add(p, q):
    a = (p[1] - p[0]) * (q[1] - q[0]) % P
    b = (p[1] + p[0]) * (q[1] + q[0]) % P
    c = 2 * p[3] * q[3] * D % P
    d = 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def multiply(n, p):
    result = (0, 1, 1, 0)
    while n > 0:
        if n & 1:
            result = add(result, p)
        p = add(p, p)
        n >>= 1
    return result


def compress(p):
    inverse = pow(p[2], P - 2, P)
    x, y = p[0] * inverse % P, p[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def sha512_int(*parts):
    return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little")


class Key:
    """The key whose seed is one byte repeated; `nonce` makes further, equally valid signatures of the same message."""

    def __init__(self, seed):
        digest = hashlib.sha512(bytes([seed]) * 32).digest()
        scalar = int.from_bytes(digest[:32], "little")
        self.scalar = scalar & (2**254 - 8) | 2**254
        self.prefix = digest[32:]
        self.public = compress(multiply(self.scalar, BASE))

    def sign(self, tag, body, nonce=b""):
        message = tag + body
        assert len(tag) == 16
        r = sha512_int(self.prefix, nonce, message) % L
        point_r = compress(multiply(r, BASE))
        k = sha512_int(point_r, self.public, message) % L
        return point_r + ((r + k * self.scalar) % L).to_bytes(32, "little")


# --- SipHash-2-4 ---

M64 = 2**64 - 1


def rotl(x, n):
    return (x << n | x >> (64 - n)) & M64


def siphash(key, data):
    k0, k1 = struct.unpack("<QQ", key)
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]

    def rounds(n):
        for _ in range(n):
            v[0] = (v[0] + v[1]) & M64
            v[1] = rotl(v[1], 13) ^ v[0]
            v[0] = rotl(v[0], 32)
            v[2] = (v[2] + v[3]) & M64
            v[3] = rotl(v[3], 16) ^ v[2]
            v[0] = (v[0] + v[3]) & M64
            v[3] = rotl(v[3], 21) ^ v[0]
            v[2] = (v[2] + v[1]) & M64
            v[1] = rotl(v[1], 17) ^ v[2]
            v[2] = rotl(v[2], 32)

    padded = data + b"\0" * (7 - len(data) % 8) + bytes([len(data) & 255])
    for i in range(0, len(padded), 8):
        m = int.from_bytes(padded[i:i + 8], "little")
        v[3] ^= m
        rounds(2)
        v[0] ^= m
    v[2] ^= 0xFF
    rounds(4)
    return struct.pack("<Q", v[0] ^ v[1] ^ v[2] ^ v[3])


def self_check():
    """The published vectors of both papers."""
    assert siphash(bytes(range(16)), bytes(range(15))) == bytes.fromhex("e545be4961ca29a1")
    key = Key(0)
    digest = hashlib.sha512(bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")).digest()
    key.scalar = int.from_bytes(digest[:32], "little") & (2**254 - 8) | 2**254
    assert compress(multiply(key.scalar, BASE)).hex() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"


# --- writing ---


def text(value):
    if isinstance(value, (bytes, bytearray)):
        return value.hex() if value else "-"
    return str(value)


def write(name, about, cases):
    with open(os.path.join(HERE, name + ".txt"), "w", encoding="ascii") as out:
        out.write("# %s Made by generate.py.\n" % about)
        for case in cases:
            out.write("\n" + "".join("%s %s\n" % (key, text(value)) for key, value in case.items()))


def noise(seed, size):
    """The test data of tests/lib/vectors.h: the high byte of a linear congruential generator."""
    out = bytearray(size)
    x = seed
    for i in range(size):
        x = (x * 1664525 + 1013904223) & 0xFFFFFFFF
        out[i] = x >> 24
    return bytes(out)


# --- the objects ---

PUBLISHER, RELEASE = Key(16), Key(32)


def manifest_case(f):
    body = struct.pack("<BBBBIHHIIIIIIIIB3x8s12s12s8s32s16x", 1, f["kind"], f["key_id"], 0, f["product"], f["model"],
                       f["generation"], f["hw_revisions"], f["version"], f["release"], f["security_counter"],
                       f["image_size"], f["payload_size"], f["version_min"], f["expiry_epoch"], f["battery_min_percent"],
                       f["salt"], f["image_root"], f["payload_root"], f["base"], f["image_sha256"])
    data = body + PUBLISHER.sign(b"meshfw-manifest1", body)
    assert len(data) == 200
    return {**f, "pub": PUBLISHER.public, "object": data, "id": sha256(data)[:8]}


def manifests():
    full = {"kind": 0, "key_id": 0, "product": 0x11223344, "model": 0x5566, "generation": 1, "hw_revisions": 0x80000001,
            "version": 0x02030004, "release": 7, "security_counter": 3, "image_size": 131072, "payload_size": 131072,
            "version_min": 0x01000000, "expiry_epoch": 20000, "battery_min_percent": 30, "salt": noise(1, 8),
            "image_root": noise(2, 12), "payload_root": noise(2, 12), "base": bytes(8), "image_sha256": noise(3, 32)}
    delta = {**full, "kind": 1, "key_id": 1, "payload_size": 4711, "payload_root": noise(4, 12), "base": noise(5, 8)}
    most = {**delta, "product": 2**32 - 1, "model": 65535, "generation": 65535, "hw_revisions": 2**32 - 1,
            "version": 2**32 - 1, "release": 2**32 - 1, "security_counter": 2**32 - 1, "image_size": 1 << 24,
            "payload_size": 1 << 24, "version_min": 2**32 - 1, "expiry_epoch": 2**32 - 1, "battery_min_percent": 100}
    least = {**full, "product": 0, "model": 0, "generation": 0, "hw_revisions": 1, "version": 0, "release": 1,
             "security_counter": 0, "image_size": 1, "payload_size": 1, "version_min": 0, "expiry_epoch": 0,
             "battery_min_percent": 0}
    write("manifest", "Manifests (SPEC 2.1).", [manifest_case(f) for f in (full, delta, most, least)])


def directive_case(f):
    body = struct.pack("<BBBBHHIII8sHHHHIIB3x", 1, f["action"], f["key_id"], len(f["manifests"]) // 8, f["network"],
                       f["generation"], f["release"], f["sequence"], f["floor"], f["previous"], f["labels"], f["share"],
                       f["spread_s"], f["confirm_s"], f["epoch"], f["salt"], f["flags"]) + f["manifests"]
    data = body + RELEASE.sign(b"meshfw-directiv1", body)
    assert len(data) == 112 + len(f["manifests"])
    return {**f, "pub": RELEASE.public, "object": data, "id": sha256(data)[:8]}


def directives():
    opened = {"action": 1, "key_id": 0, "network": 0x0102, "generation": 1, "release": 7, "sequence": 12, "floor": 11,
              "previous": noise(6, 8), "labels": 0x0005, "share": 2500, "spread_s": 600, "confirm_s": 120,
              "epoch": 19000, "salt": 0xDEADBEEF, "flags": 1, "manifests": noise(7, 16)}
    stage = {**opened, "action": 0, "sequence": 1, "floor": 0, "previous": bytes(8), "share": 0, "flags": 0,
             "manifests": noise(8, 8)}
    hold = {**opened, "action": 2, "floor": 12, "key_id": 1}
    revert = {**opened, "action": 3, "manifests": noise(9, 64), "release": 2**32 - 1, "sequence": 2**32 - 1,
              "floor": 2**32 - 2, "share": 10000, "confirm_s": 3600, "spread_s": 65535, "labels": 65535}
    write("directive", "Directives (SPEC 2.2).", [directive_case(f) for f in (stage, opened, hold, revert)])


def shares():
    cases = []
    for i in range(64):
        salt, node, spread = (int.from_bytes(noise(100 + 3 * i + j, 4), "little") for j in range(3))
        spread = (0, 1, 65535)[i] if i < 3 else spread & 0xFFFF
        digest = sha256(b"meshfw-share---1" + struct.pack("<II", salt, node))
        draw, delay = struct.unpack("<QQ", digest[:16])
        cases.append({"salt": salt, "node": node, "spread_s": spread, "draw": draw % 10000,
                      "spread_ms": delay % (spread * 1000 + 1)})
    write("share", "Share draws and spread delays (SPEC 2.2).", cases)


class Chain:
    """A key chain as a device sees it (SPEC 2.3, 2.5)."""

    def __init__(self):
        self.roots = [Key(1), Key(2), Key(3)]
        self.number, self.frozen = 0, 0
        self.head = sha256(b"".join(k.public for k in self.roots))
        self.keys = {(2, 0): (1, 1, PUBLISHER.public), (3, 0): (1, 1, RELEASE.public)}

    def statement(self, op, role, key_id, generation, key, signers=(0, 1), number=None, nonce=b""):
        body = struct.pack("<BBBBHH32s32s", 1 | op << 4, role | key_id << 4, signers[0] | signers[1] << 4, 0,
                           self.number + 1 if number is None else number, generation, self.head, key)
        return body + b"".join(self.roots[i].sign(b"meshfw-keychang1", body, nonce) for i in signers)

    def take(self, data):
        op, role, key_id = data[0] >> 4, data[1] & 15, data[1] >> 4
        self.number += 1
        self.head = sha256(data[:72])
        if role != 1:
            self.keys[role, key_id] = (op, struct.unpack_from("<H", data, 6)[0], data[40:72])

    def record(self):
        out = struct.pack("<HBB", self.number, self.frozen, 0) + self.head + b"".join(k.public for k in self.roots)
        for place in ((2, 0), (2, 1), (3, 0), (3, 1)):
            out += struct.pack("<BBH32s", *(lambda s, g, k: (s, 0, g, k))(*self.keys.get(place, (0, 0, bytes(32)))))
        assert len(out) == 276
        return out


def keychanges():
    chain = Chain()
    cases = [{"result": 0, "object": b"", "digest": chain.head, "keyset": chain.record()}]

    def case(data, result=0):
        if result == 0:
            chain.take(data)
        cases.append({"result": result, "object": data, "digest": sha256(data[:72]), "keyset": chain.record()})

    old = chain.statement(1, 2, 1, 2, Key(17).public)
    twin = chain.statement(1, 2, 1, 2, Key(17).public, nonce=b"again")
    case(old)
    case(twin, -9)  # the same statement with other signatures: no fork
    case(chain.statement(2, 2, 0, 1, PUBLISHER.public, signers=(2, 0)))
    case(old, -9)
    before = Chain()
    before.number, before.head = chain.number, chain.head
    replace = chain.statement(1, 1, 1, 3, Key(4).public, signers=(0, 2))
    chain.roots[1] = Key(4)
    case(replace)
    case(before.statement(1, 3, 1, 9, Key(33).public), -9)  # another third statement, but by the root just replaced
    case(before.statement(1, 3, 1, 9, Key(33).public, number=4), -11)  # follows another head
    before.head = chain.head
    case(before.statement(1, 3, 1, 9, Key(33).public, number=4), -13)  # signed by the root just replaced
    case(chain.statement(1, 3, 0, 2, Key(34).public, signers=(1, 2)))
    fork = chain.statement(1, 3, 0, 3, Key(35).public, signers=(1, 0), number=4)
    chain.frozen = 1
    case(fork, -14)
    write("keychange", "Key changes applied one after the other, result and keyset record after each (SPEC 2.3, 2.5).", cases)


def receipts():
    cases = []
    for base, count in ((0, 1), (4, 7), (65288, 248), (100, 247)):
        nibbles = bytearray(noise(base + count, (count + 1) // 2))
        if count % 2:
            nibbles[-1] &= 15
        f = {"key_id": count % 2, "network": 0x0102, "generation": 1, "round": 65535 - count, "base": base, "count": count,
             "nibbles": bytes(nibbles)}
        body = struct.pack("<BBHHHHH", 1, f["key_id"], f["network"], f["generation"], f["round"], base, count) + nibbles
        cases.append({**f, "pub": RELEASE.public, "object": body + RELEASE.sign(b"meshfw-receipt-1", bytes(body))})
    write("receipt", "Receipts (SPEC 2.4).", cases)


def reports():
    cases = []
    for i in range(8):
        f = {"node": 1 if i == 0 else int.from_bytes(noise(i, 4), "little"), "serial": i * 9001, "running": i, "target": i + 1,
             "phase": i, "reason": 15 - i}
        body = struct.pack("<IHHHB", f["node"], f["serial"], f["running"], f["target"], f["phase"] | f["reason"] << 4)
        key = noise(200 + i, 16)
        cases.append({**f, "key": key, "entry": body + siphash(key, body)})
    write("report", "Report entries (SPEC 1.4).", cases)


def frames():
    cases = []
    for i, size in enumerate((0, 1, 7, 25, 199, 200)):
        f = {"type": 1 + i, "key_id": i & 1, "network": 0x0102, "source": 0x01020304 + i, "counter": (i + 1) << 24 | 77 * i,
             "round": 1000 + i, "hop": i, "body": noise(300 + i, size)}
        head = struct.pack("<BBHI", 0x10 | f["type"], f["key_id"], f["network"], f["source"])
        boot, seq = f["counter"] >> 24, f["counter"] & 0xFFFFFF
        head += boot.to_bytes(3, "little") + seq.to_bytes(3, "little") + struct.pack("<HB", f["round"], f["hop"])
        assert len(head) == 17
        key = noise(400 + i, 16)
        cases.append({**f, "key": key, "frame": head + f["body"] + siphash(key, head + f["body"])})
    write("frame", "Frames with their tags (SPEC 1).", cases)


def tree(data, salt):
    """Number of chunks and root, by whole levels at once (SPEC 3)."""
    level, total = 0, 0
    while True:
        pieces = [data[i:i + 192] for i in range(0, len(data), 192)]
        hashes = [sha256(b"meshfw-chunk---1" + salt + struct.pack("<BIH", level, i, len(p)) + p)[:12]
                  for i, p in enumerate(pieces)]
        total += len(pieces)
        if len(pieces) == 1:
            return total, hashes[0]
        data, level = b"".join(hashes), level + 1


def trees():
    cases = []
    for i, size in enumerate((1, 191, 192, 193, 384, 3071, 3072, 3073, 49151, 49152, 49153, 131072, 786432, 786433, 1 << 24)):
        salt = noise(500 + i, 8)
        positions, root = tree(noise(600 + i, size), salt)
        cases.append({"size": size, "seed": 600 + i, "salt": salt, "positions": positions, "root": root})
    write("tree", "Chunk trees over the noise of tests/lib/vectors.h (SPEC 3).", cases)


def leb128(n):
    out = b""
    while True:
        out += bytes([n & 127 | (128 if n > 127 else 0)])
        n >>= 7
        if n == 0:
            return out


def relocs():
    cases = []
    for i, (size, words, base_a, base_b, align) in enumerate((
            (64, (), 0x8000, 0x20000, 4), (64, (0,), 0x8000, 0x20000, 4), (64, (15,), 0x20000, 0x8000, 4),
            (66, (0, 1, 2, 3, 15), 0x8000, 0x20000, 4), (3001, (5, 128, 133, 200, 400, 749), 0xFFFFFF00, 0x100, 4),
            (1200, tuple(range(300)), 0, 0x12345678, 4), (70000, (0, 16383, 16384 + 129, 17499), 0x1000, 0x3000, 4),
            (64, (), 0x8000, 0x20000, 512), (64, (1,), 0x8000, 0x20000, 8), (1000, (3, 200), 0x8000, 0x20000, 256),
            (2000, tuple(range(260)), 0x8000, 0x20000, 256), (100, (24,), 0x8000, 0x20000, 4096))):
        image = bytearray(noise(700 + i, size))
        other = bytearray(image)
        for w in words:
            struct.pack_into("<I", other, 4 * w, struct.unpack_from("<I", image, 4 * w)[0] + base_b - base_a & 0xFFFFFFFF)
        deltas, after = b"", 0
        for w in words:
            deltas += leb128(w - after)
            after = w + 1
        listed = struct.pack("<HBBII", 0x4C52, 1, align.bit_length() - 3, base_a, len(words)) + deltas
        listed += bytes(-len(listed) % align)
        cases.append({"size": size, "seed": 700 + i, "base_a": base_a, "base_b": base_b, "align": align,
                      "words": ",".join(map(str, words)) or "-", "list": listed if words else b"",
                      "payload_sha256": sha256((listed if words else b"") + image), "other_sha256": sha256(other)})
    magic = b"RL" + noise(799, 30)
    for align in (4, 128):
        empty = struct.pack("<HBBII", 0x4C52, 1, align.bit_length() - 3, 0x8000, 0)
        empty += bytes(-len(empty) % align)
        cases.append({"size": 32, "seed": 0, "image": magic, "base_a": 0x8000, "base_b": 0x20000, "align": align, "words": "-",
                      "list": empty, "payload_sha256": sha256(empty + magic), "other_sha256": sha256(magic)})
    write("reloc", "Relocation lists of two links, image a the noise of `seed` unless given (SPEC 4).", cases)


if __name__ == "__main__":
    self_check()
    for step in (manifests, directives, shares, keychanges, receipts, reports, frames, trees, relocs):
        step()
