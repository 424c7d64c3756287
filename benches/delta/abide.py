"""Abide: a machine below a folder, with plain files as its slots, and a signed feed."""
import os
import shutil
import struct
import subprocess
from pathlib import Path

from measure import Failed, measure, shell

IMAGE = "edge"
GUID = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"


def tool():
    """The executable that `make` built, or `ABIDE`."""
    here = Path(__file__).resolve().parents[2]
    return os.environ.get("ABIDE", str(here / "target/out/abide"))


def partuuid(slot):
    return f"00000000-0000-4000-8000-00000000000{slot}"


def uki(version, slot):
    """The smallest PE file with the sections of a UKI; its kernel is none."""
    osrel = f"ID={IMAGE}\nIMAGE_ID={IMAGE}\nIMAGE_VERSION={version}\n"
    sections = [
        (b".osrel", osrel.encode()),
        (b".cmdline", f"root=PARTUUID={partuuid(slot)} panic=10".encode()),
        (b".uname", b"6.12.0-test"),
        (b".linux", b"\xc3" * 8192),
        (b".initrd", version.encode()),
    ]
    align = lambda size, to: -(-size // to) * to
    start = raw = align(64 + 4 + 20 + 240 + 40 * len(sections), 512)
    optional = bytearray(240)
    struct.pack_into("<H30xII", optional, 0, 0x020B, 4096, 512)
    struct.pack_into("<I", optional, 60, start)
    struct.pack_into("<I", optional, 108, 16)
    head = b"MZ".ljust(60, b"\0") + struct.pack("<I", 64) + b"PE\0\0" + struct.pack("<HH12xHH", 0x8664, len(sections), 240, 0x22)
    head += bytes(optional)
    body, virtual = b"", 4096
    for name, content in sections:
        size = align(len(content), 512)
        head += name.ljust(8, b"\0") + struct.pack("<IIII16x", len(content), virtual, size, raw)
        body += content.ljust(size, b"\0")
        raw, virtual = raw + size, virtual + align(len(content), 4096)
    return head.ljust(start, b"\0") + body


def variable(name, data):
    return (f"sys/firmware/efi/efivars/{name}-{GUID}", b"\x06\0\0\0" + data)


def text(value):
    return (value + "\0").encode("utf-16-le")


class Machine:
    """A machine that runs 1.0 from slot a, whose root is `old`. Slot b holds another root of the size of `new`."""

    def __init__(self, folder, old, new_len):
        self.folder = Path(folder)
        self.new_len = new_len
        shutil.rmtree(self.folder, ignore_errors=True)
        files = [
            (f"efi/EFI/Linux/{IMAGE}_1.0.efi", uki("1.0", "a")),
            ("proc/cmdline", f"root=PARTUUID={partuuid('a')} panic=10".encode()),
            ("proc/sys/kernel/random/boot_id", b"boot-1\n"),
            variable("LoaderInfo", text("systemd-boot 257.13")),
            variable("LoaderFeatures", struct.pack("<Q", 0xFFFF)),
            variable("LoaderEntrySelected", text(f"{IMAGE}_1.0.efi")),
        ]
        for name, data in files:
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        keys = self.folder / "usr/lib/abide/keys"
        keys.mkdir(parents=True)
        minisign("-G", "-W", "-f", "-p", keys / "release.pub", "-s", self.folder / "release.key")
        for slot, node in (("a", "sda2"), ("b", "sda3")):
            for link in (f"by-partlabel/rootfs_{slot}", f"by-partuuid/{partuuid(slot)}"):
                path = self.folder / "dev/disk" / link
                path.parent.mkdir(parents=True, exist_ok=True)
                path.symlink_to(f"../../{node}")
        os.link(Path(old).resolve(), self.folder / "dev/sda2")
        self.reset()

    @property
    def slot(self):
        """The file of the slot that is written."""
        return self.folder / "dev/sda3"

    def reset(self):
        """As if nothing had been installed. The slot holds bytes that no release has."""
        shutil.rmtree(self.folder / "efi/EFI/abide", ignore_errors=True)
        for path in ("run", "var"):
            shutil.rmtree(self.folder / path, ignore_errors=True)
        (self.folder / "efi/EFI/Linux/staged.uki").unlink(missing_ok=True)
        self.slot.unlink(missing_ok=True)
        if self.new_len <= 2 << 30:
            shell(f"head -c {self.new_len} /dev/zero | tr '\\0' '\\125' >'{self.slot}'; sync '{self.slot}'")
        else:
            with open(self.slot, "wb") as file:
                file.truncate(self.new_len)

    def write(self, source, prefix=()):
        """Installs from a folder or a URL, and looks at what the slot holds."""
        run = measure([*prefix, tool(), "-v", "--root", self.folder, "write", source])
        return run

    def check(self, new):
        if subprocess.run(["cmp", "-s", new, self.slot], check=False).returncode:
            raise Failed("abide write: the slot holds another root")

    def sign(self, folder):
        minisign("-S", "-W", "-s", self.folder / "release.key", "-m", Path(folder) / "SHA256SUMS", "-x", Path(folder) / "SHA256SUMS.minisig")


def minisign(*words):
    subprocess.run(["minisign", *map(str, words)], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def publish(folder, old, new):
    """Publishes 2.0 with a patch from 1.0; what it took. `old` and `new` are linked into the folder."""
    folder = Path(folder)
    older = folder.parent / "older"
    older.mkdir(exist_ok=True)
    for path, target in ((older / f"{IMAGE}_1.0.root.raw", old), (folder / f"{IMAGE}_2.0.root.raw", new)):
        path.unlink(missing_ok=True)
        path.symlink_to(target)
    (folder / f"{IMAGE}_2.0.efi").write_bytes(uki("2.0", "b"))
    made = measure([tool(), "publish", folder, "--from", older / f"{IMAGE}_1.0.root.raw"])
    (folder / f"{IMAGE}_2.0.root.raw").unlink()
    return made


def full_only(folder, machine):
    """A local folder with the full file alone, without map and patch."""
    local = folder.parent / "local"
    shutil.rmtree(local, ignore_errors=True)
    local.mkdir()
    for name in (f"{IMAGE}_2.0.root.raw.zst", f"{IMAGE}_2.0.efi"):
        shutil.copy(folder / name, local / name)
    shell("sha256sum edge_2.0.* >SHA256SUMS", cwd=local)
    machine.sign(local)
    return local
