"""Makes a root from a map, a patch and an old root, by docs/reference/delta.md alone.

usage: decoder.py MAP FULL NEW [PATCH OLD]
Without a patch, or where it does not fit, regions come from the full file.
"""
import hashlib
import os
import struct
import subprocess
import sys
import tempfile


def decompress(frame, prefix):
    """Decompresses a frame with a prefix, with the zstd(1) of the distribution."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "prefix")
        with open(path, "wb") as file:
            file.write(prefix)
        words = ["zstd", "-dcq", "--memory=64MB"] + (["--patch-from=" + path] if prefix else [])
        done = subprocess.run(words, input=frame, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        return done.stdout if done.returncode == 0 else b""


def read_map(data):
    magic, version, size, length, digest, full = struct.unpack_from("<8sIIQ32sQ", data)
    assert magic == b"ABIDEMAP" and version == 1
    count = -(-length // size)
    assert len(data) == 64 + 44 * count
    regions = [struct.unpack_from("<32sQI", data, 64 + 44 * number) for number in range(count)]
    return size, length, digest, full, regions


def read_patch(file, size, digest):
    magic, version, its_size, old_length, its_digest = struct.unpack("<8sIIQ32s", file.read(56))
    assert magic == b"ABIDEPAT" and version == 1 and its_size == size and its_digest == digest
    while head := file.read(6):
        count, length = struct.unpack("<HI", head)
        assert count <= 1024 and length <= (8 << 20) + (64 << 10)
        ranges = [struct.unpack("<QI", file.read(12)) for _ in range(count)]
        assert sum(size for _, size in ranges) <= 8 << 20
        assert all(offset + size <= old_length for offset, size in ranges)
        yield ranges, file.read(length)


def patched(record, old):
    ranges, frame = record
    prefix = b""
    for offset, size in ranges:
        old.seek(offset)
        prefix += old.read(size)
    return decompress(frame, prefix) if frame else prefix


def main(map_path, full_path, new_path, patch_path=None, old_path=None):
    with open(map_path, "rb") as file:
        size, length, digest, full_length, regions = read_map(file.read())
    assert os.path.getsize(full_path) == full_length
    records = iter(())
    if patch_path:
        patch, old = open(patch_path, "rb"), open(old_path, "rb")
        records = read_patch(patch, size, digest)
    fetched = 0
    with open(full_path, "rb") as full, open(new_path, "wb") as new:
        for wanted, offset, frame_length in regions:
            record = next(records, None)
            region = patched(record, old) if record else b""
            if hashlib.sha256(region).digest() != wanted:
                full.seek(offset)
                region = decompress(full.read(frame_length), b"")
                fetched += 1
            assert hashlib.sha256(region).digest() == wanted
            new.write(region)
    with open(new_path, "rb") as new:
        data = new.read()
    assert len(data) == length and hashlib.sha256(data).digest() == digest
    print(f"{len(regions)} regions, {fetched} of them from the full file")


main(*sys.argv[1:])
