"""read_tfevents.py FILE: prints "step tag value" for each scalar of a TensorBoard event file.

Written from the TFRecord and protobuf specifications, apart from csrc/run/tensorboard.c. Exits 1 where
a checksum, a length or a field is wrong.
"""
import struct
import sys
import time


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


assert crc32c(b"123456789") == 0xE3069283  # the standard's check value


def masked(data):
    crc = crc32c(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def fields(data):
    at, out = 0, {}
    while at < len(data):
        key, at = varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = varint(data, at)
        elif kind == 1:
            value, at = struct.unpack_from("<d", data, at)[0], at + 8
        elif kind == 2:
            n, at = varint(data, at)
            value, at = data[at:at + n], at + n
            assert len(value) == n
        elif kind == 5:
            value, at = struct.unpack_from("<f", data, at)[0], at + 4
        else:
            raise ValueError(f"wire type {kind}")
        out[key >> 3] = value
    assert at == len(data)
    return out


def main():
    with open(sys.argv[1], "rb") as file:
        data = file.read()
    at, n = 0, 0
    while at < len(data):
        length, check = struct.unpack_from("<QI", data, at)
        assert check == masked(data[at:at + 8]), f"length at byte {at}"
        event = data[at + 12:at + 12 + length]
        assert struct.unpack_from("<I", data, at + 12 + length)[0] == masked(event), f"event at byte {at}"
        event = fields(event)
        assert abs(event[1] - time.time()) < 600, f"wall time {event[1]}"
        if n == 0:
            assert event[3] == b"brain.Event:2", event
        else:
            value = fields(fields(event[5])[1])
            print(event[2], value[1].decode(), "%.9g" % value[2])
        at, n = at + 16 + length, n + 1


main()
