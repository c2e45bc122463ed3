#!/usr/bin/env python3
"""Writes crypto.txt: questions to a table of cryptographic functions, answered by published vectors and by generate.py's own arithmetic.

Signatures: RFC 8032 section 7.1 (made again here from the seeds), the same with S + L, keys of small order with signatures that
fulfil the equation, SHA-256 of FIPS 180-4's examples and of every length around the block's, SipHash-2-4 of the paper's appendix A
and of every length up to 63. Takes a few seconds and always writes the same bytes.
"""

import hashlib
import sys

sys.dont_write_bytecode = True  # importing generate.py leaves nothing here
from generate import BASE, D, L, P, add, compress, multiply, noise, point, recover_x, sha512_int, siphash, write

MESSAGE_1024 = bytes.fromhex(
    "08b8b2b733424243760fe426a4b54908632110a66c2f6591eabd3345e3e4eb98fa6e264bf09efe12ee50f8f54e9f77b1e355f6c50544e23fb1433ddf73be"
    "84d879de7c0046dc4996d9e773f4bc9efe5738829adb26c81b37c93a1b270b20329d658675fc6ea534e0810a4432826bf58c941efb65d57a338bbd2e2664"
    "0f89ffbc1a858efcb8550ee3a5e1998bd177e93a7363c344fe6b199ee5d02e82d522c4feba15452f80288a821a579116ec6dad2b3b310da903401aa62100"
    "ab5d1a36553e06203b33890cc9b832f79ef80560ccb9a39ce767967ed628c6ad573cb116dbefefd75499da96bd68a8a97b928a8bbc103b6621fcde2beca1"
    "231d206be6cd9ec7aff6f6c94fcd7204ed3455c68c83f4a41da4af2b74ef5c53f1d8ac70bdcb7ed185ce81bd84359d44254d95629e9855a94a7c1958d1f8"
    "ada5d0532ed8a5aa3fb2d17ba70eb6248e594e1a2297acbbb39d502f1a8c6eb6f1ce22b3de1a1f40cc24554119a831a9aad6079cad88425de6bde1a9187e"
    "bb6092cf67bf2b13fd65f27088d78b7e883c8759d2c4f5c65adb7553878ad575f9fad878e80a0c9ba63bcbcc2732e69485bbc9c90bfbd62481d9089beccf"
    "80cfe2df16a2cf65bd92dd597b0707e0917af48bbb75fed413d238f5555a7a569d80c3414a8d0859dc65a46128bab27af87a71314f318c782b23ebfe808b"
    "82b0ce26401d2e22f04d83d1255dc51addd3b75a2b1ae0784504df543af8969be3ea7082ff7fc9888c144da2af58429ec96031dbcad3dad9af0dcbaaaf26"
    "8cb8fcffead94f3c7ca495e056a9b47acdb751fb73e666c6c655ade8297297d07ad1ba5e43f1bca32301651339e22904cc8c42f58c30c04aafdb038dda08"
    "47dd988dcda6f3bfd15c4b4c4525004aa06eeff8ca61783aacec57fb3d1f92b0fe2fd1a85f6724517b65e614ad6808d6f6ee34dff7310fdc82aebfd904b0"
    "1e1dc54b2927094b2db68d6f903b68401adebf5a7e08d78ff4ef5d63653a65040cf9bfd4aca7984a74d37145986780fc0b16ac451649de6188a7dbdf191f"
    "64b5fc5e2ab47b57f7f7276cd419c17a3ca8e1b939ae49e488acba6b965610b5480109c8b17b80e1b7b750dfc7598d5d5011fd2dcc5600a32ef5b52a1ecc"
    "820e308aa342721aac0943bf6686b64b2579376504ccc493d97e6aed3fb0f9cd71a43dd497f01f17c0e2cb3797aa2a2f256656168e6c496afc5fb93246f6"
    "b1116398a346f1a641f3b041e989f7914f90cc2c7fff357876e506b50d334ba77c225bc307ba537152f3f1610e4eafe595f6d9d90d11faa933a15ef13695"
    "46868a7f3a45a96768d40fd9d03412c091c6315cf4fde7cb68606937380db2eaaa707b4c4185c32eddcdd306705e4dc1ffc872eeee475a64dfac86aba41c"
    "0618983f8741c5ef68d3a101e8a3b8cac60c905c15fc910840b94c00a0b9d0")

# Seed, public key, message, signature: RFC 8032, 7.1.
RFC8032 = (
    ("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60", "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", b"",
     "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"),
    ("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb", "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", b"\x72",
     "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"),
    ("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7", "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", b"\xaf\x82",
     "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"),
    ("f5e5767cf153319517630f226876b86c8160cc583bc013744c6bf255f5cc0ee5", "278117fc144c72340f67d0f2316e8386ceffbf2b2428c9c51fef7c597f1d426e", MESSAGE_1024,
     "0aab4c900501b3e24d7cdf4663326a3a87df5e4843b2cbdb67cbf6e460fec350aa5371b1508f9f4528ecea23c436d94b5e8fcd4f681e30a6ac00a9704a188a03"),
    ("833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42", "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
     hashlib.sha512(b"abc").digest(),
     "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704"),
)

# Message, how often, digest: the examples of FIPS 180-4 (FIPS 180-2, appendix B, and the project's of NIST).
FIPS180 = (
    (b"abc", 1, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    (b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"),
    (b"a" * 1000, 1000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39cc" + "c7112cd0"),
)


def signed(seed, message):
    digest = hashlib.sha512(seed).digest()
    scalar = int.from_bytes(digest[:32], "little") & (2**254 - 8) | 2**254
    public = compress(multiply(scalar, BASE))
    r = sha512_int(digest[32:], message) % L
    point_r = compress(multiply(r, BASE))
    return public, point_r + ((r + sha512_int(point_r, public, message) * scalar) % L).to_bytes(32, "little")


def verify_case(group, pub, message, sig, good):
    return {"group": group, "pub": pub, "message": message, "sig": sig, "good": int(good)}


def rfc8032():
    cases = []
    for seed, pub, message, sig in RFC8032:
        pub, sig = bytes.fromhex(pub), bytes.fromhex(sig)
        assert signed(bytes.fromhex(seed), message) == (pub, sig)
        cases.append(verify_case("rfc8032", pub, message, sig, True))
    for _, pub, message, sig in RFC8032:
        sig = bytes.fromhex(sig)
        s = int.from_bytes(sig[32:], "little")
        for k in range(1, 16):
            if s + k * L < 2**256:
                cases.append(verify_case("noncanonical", bytes.fromhex(pub), message, sig[:32] + (s + k * L).to_bytes(32, "little"), False))
    return cases


def small_order_encodings():
    """The points of order 1, 2, 4 and 8, each in every encoding that a lax decoder takes: y + p, and a sign where x is 0."""
    y, torsion = 2, None
    while torsion is None:
        try:
            candidate = multiply(L, point(recover_x(y, 0), y))
            torsion = candidate if compress(multiply(4, candidate)) != compress((0, 1, 1, 0)) else None
        except AssertionError:
            pass
        y += 1
    out = set()
    for k in range(8):
        p = multiply(k, torsion)
        encoded = compress(p)
        y = int.from_bytes(encoded, "little") & (2**255 - 1)
        for value in (y, y + P):
            for sign in ((0, 1) if p[0] % P == 0 else (encoded[31] >> 7,)):
                if value < 2**255:
                    out.add((value | sign << 255).to_bytes(32, "little"))
    assert len(out) == 14
    return sorted(out)


def small_order():
    """Signatures under keys of small order that a check of the equation alone takes: h is a multiple of 8, so h A is 0."""
    cases = []
    for pub in small_order_encodings():
        for n in range(1000):
            message = b"message %d" % n
            r = sha512_int(pub, message) % L
            point_r = compress(multiply(r, BASE))
            if sha512_int(point_r, pub, message) % L % 8 == 0:
                break
        cases.append(verify_case("smallorder", pub, message, point_r + r.to_bytes(32, "little"), False))
        # And as R of a signature.
        cases.append(verify_case("smallorder", bytes.fromhex(RFC8032[0][1]), b"", pub + bytes(32), False))
    return cases


def own():
    """Messages of every length around the blocks of SHA-512, and keys that are on no curve."""
    cases = []
    for n in (1, 31, 47, 48, 63, 64, 65, 111, 112, 113, 127, 128, 191, 192, 200, 300):
        message = noise(n, n)
        pub, sig = signed(noise(1000 + n, 32), message)
        cases.append(verify_case("own", pub, message, sig, True))
    bad, y = 0, 2
    while bad < 8:
        try:
            recover_x(y, 0)
        except AssertionError:
            bad += 1
            cases.append(verify_case("offcurve", y.to_bytes(32, "little"), b"", cases[0]["sig"], False))
        y += 1
    return cases


def sha256_cases():
    cases = []
    for message, times, digest in FIPS180:
        assert hashlib.sha256(message * times).hexdigest() == digest
        cases.append({"group": "sha256", "message": message, "times": times, "piece": 0, "digest": bytes.fromhex(digest)})
    for n in [*range(0, 130), 1000, 4096]:
        message = noise(n, n)
        for piece in ((0, 1, 7, 63, 64, 65) if n in (63, 64, 65, 129, 1000) else (0,)):
            cases.append({"group": "sha256", "message": message, "times": 1, "piece": piece, "digest": hashlib.sha256(message).digest()})
    return cases


def siphash_cases():
    key = bytes(range(16))
    assert siphash(key, bytes(range(15))) == 0xa129ca6149be45e5.to_bytes(8, "little")
    cases = [{"group": "siphash", "key": key, "message": bytes(range(n)), "hash": siphash(key, bytes(range(n)))} for n in range(64)]
    return cases + [{"group": "siphash", "key": noise(1, 16), "message": noise(n, n), "hash": siphash(noise(1, 16), noise(n, n))}
                    for n in (100, 229, 255, 256, 300)]


if __name__ == "__main__":
    assert D * 121666 % P == -121665 % P and compress(add(BASE, multiply(L - 1, BASE))) == compress((0, 1, 1, 0))
    write("crypto", "Questions to struct mp_crypto, chosen in generate_crypto.py.", rfc8032() + small_order() + own() + sha256_cases() + siphash_cases())
