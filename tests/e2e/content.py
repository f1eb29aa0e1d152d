# SPDX-License-Identifier: MIT
"""Blocks, CIDs and CARs, written a second time and without a line of the product's, so that they
can contradict it.
"""

import base64
import hashlib

CODEC_RAW, CODEC_DAG_PB, CODEC_DAG_CBOR = 0x55, 0x70, 0x71
IDENTITY, SHA2_256, SHA2_512, BLAKE2B_256 = 0x00, 0x12, 0x13, 0xB220
BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def varint(number):
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out + bytes([number]))


def read_varint(data, at):
    number = shift = 0
    while True:
        byte = data[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number, at


def multihash(data, code=SHA2_256):
    digest = {
        SHA2_256: lambda: hashlib.sha256(data).digest(),
        SHA2_512: lambda: hashlib.sha512(data).digest(),
        BLAKE2B_256: lambda: hashlib.blake2b(data, digest_size=32).digest(),
        IDENTITY: lambda: data,
    }[code]()
    return varint(code) + varint(len(digest)) + digest


def base58(data):
    number, out = int.from_bytes(data, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        out = BASE58[digit] + out
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + out


def cid_text(cid):
    """The usual text form of a binary CID: base58 for version 0, base32 for version 1."""
    if cid[0] == SHA2_256:
        return base58(cid)
    return "b" + base64.b32encode(cid).decode().rstrip("=").lower()


class Block:
    """Some bytes and their CID (version 1)."""

    varint = staticmethod(varint)

    def __init__(self, codec, data, code=SHA2_256, version=1):
        self.codec, self.data = codec, data
        self.mh = multihash(data, code)
        self.cid = self.mh if version == 0 else b"\x01" + varint(codec) + self.mh

    @property
    def text(self):
        return cid_text(self.cid)


def raw_block(data):
    return Block(CODEC_RAW, data)


def dag_pb(links, data):
    """A dag-pb node: links (cid, size) in order, then its data."""
    out = b""
    for cid, size in links:
        link = b"\x0a" + varint(len(cid)) + cid + b"\x12\x00\x18" + varint(size)
        out += b"\x12" + varint(len(link)) + link
    return out + b"\x0a" + varint(len(data)) + data


def car_header(roots):
    out = b"\xa2\x65roots" + bytes([0x80 | len(roots)])
    for root in roots:
        tagged = b"\0" + root
        out += b"\xd8\x2a\x58" + bytes([len(tagged)]) + tagged
    out += b"\x67version\x01"
    return varint(len(out)) + out


def car_section(cid, data):
    return varint(len(cid) + len(data)) + cid + data


def car(roots, blocks):
    """CARv1."""
    return car_header([root.cid for root in roots]) + b"".join(
        car_section(b.cid, b.data) for b in blocks
    )


CAR_V2_PRAGMA = bytes.fromhex("0aa16776657273696f6e02")


def car_v2(inner, padding=0):
    """The same inside a CARv2 without an index."""
    header = (
        bytes(16)
        + (51 + padding).to_bytes(8, "little")
        + len(inner).to_bytes(8, "little")
        + bytes(8)
    )
    return CAR_V2_PRAGMA + header + bytes(padding) + inner


def car_blocks(data):
    """Every (binary CID, bytes) of a sound CAR of either version."""
    end = len(data)
    at = 0
    if data.startswith(CAR_V2_PRAGMA):
        at = int.from_bytes(data[27:35], "little")
        end = at + int.from_bytes(data[35:43], "little")
    length, at = read_varint(data, at)
    at += length
    out = []
    while at < end:
        length, at = read_varint(data, at)
        cid = read_cid(data, at)
        out.append((cid, data[at + len(cid) : at + length]))
        at += length
    return out


def read_cid(data, at):
    """The binary CID that begins there."""
    start = at
    if data[at] == SHA2_256 and data[at + 1] == 32:
        return data[at : at + 34]
    _, at = read_varint(data, at)
    _, at = read_varint(data, at)
    _, at = read_varint(data, at)
    length, at = read_varint(data, at)
    return data[start : at + length]


def cid_mh(cid):
    """The multihash inside a binary CID."""
    if cid[0] == SHA2_256:
        return cid
    _, at = read_varint(cid, 0)
    _, at = read_varint(cid, at)
    return cid[at:]
