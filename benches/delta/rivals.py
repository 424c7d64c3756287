"""The other tools, each as its manual recommends it for a large image, in several settings where these matter."""
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from measure import Failed, measure, shell, total

BLOCK = 4096
# RAUC's squashfs: sizes of its blocks that are tried.
RAUC_BLOCKS = [4096, 16384]
# desync and casync: smallest, average and largest chunk in KiB. Less to fetch than with their default, 16:64:256.
CHUNKS = "4:16:64"


class Job:
    """An older and a newer root, a folder to serve, and one to work in."""

    def __init__(self, old, new, folder, server):
        self.old, self.new, self.folder, self.server = old, new, folder, server
        self.served = Path(server.folder)
        self.out = folder / "out.raw"

    def made(self, run, what=None):
        """What was fetched for the run that ended just now, after a look at what it made."""
        asked = self.server.take()
        if subprocess.run(["cmp", "-s", self.new, what or self.out], check=False).returncode:
            raise Failed("it made another root")
        (what or self.out).unlink()
        return dict(run, bytes=sum(sent for _, sent in asked), requests=len(asked))

    def reset(self):
        """Forgets what was requested and served."""
        for path in list(self.served.iterdir()):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        for path in list(self.folder.glob("*")):
            if path != self.served:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.server.take()


def full(job):
    """The whole root, as small as zstd makes it at this level."""
    shell(f"zstd -q -9 --long=27 -T2 '{job.new}' -o '{job.served}/full.zst'")
    run = shell(f"curl -sSf '{job.server.url}/full.zst' | zstd -q -dc --long=27 >'{job.out}'")
    return job.made(run)


def zsync_plain(job):
    make = measure(["zsyncmake", "-b", BLOCK, "-u", job.server.url + "/new.raw", "-o", job.served / "new.zsync", job.new])
    (job.served / "new.raw").symlink_to(job.new)
    return zsync(job, make, job.old)


def zsync_gz(job):
    # zsyncmake writes the compressed file beside the plain one.
    (job.served / "new.raw").symlink_to(job.new)
    make = measure(["zsyncmake", "-z", "-u", job.server.url + "/new.raw.gz", "-o", "new.zsync", "new.raw"], cwd=job.served)
    return zsync(job, make, job.old)


def zsync(job, make, old):
    run = measure(["zsync", "-q", "-i", old, "-o", job.out, job.server.url + "/new.zsync"], cwd=job.folder)
    return dict(job.made(run), make=make)


def desync(job, chunks=CHUNKS):
    tool = tool_desync()
    old, new = job.folder / "old.caibx", job.served / "new.caibx"
    measure([tool, "make", "-m", chunks, old, job.old])
    (job.served / "store").mkdir()
    make = measure([tool, "make", "-m", chunks, "-s", job.served / "store", new, job.new])
    run = measure(
        [tool, "extract", "-s", job.server.url + "/store", "--seed", f"{old}:{job.old}", job.server.url + "/new.caibx", job.out]
    )
    return dict(job.made(run), make=make, setting=chunks)


def casync(job, chunks=CHUNKS):
    size = ":".join(str(int(part) * 1024) for part in chunks.split(":"))
    (job.served / "store").mkdir()
    make = measure(
        ["casync", "make", "--compression=zstd", "--chunk-size=" + size, f"--store={job.served}/store", job.served / "new.caibx", job.new]
    )
    run = measure(
        ["casync", "extract", f"--store={job.server.url}/store", "--seed=" + str(job.old), job.server.url + "/new.caibx", job.out]
    )
    return dict(job.made(run), make=make, setting=chunks)


def patch_from(job):
    size = max(job.old.stat().st_size, job.new.stat().st_size)
    long = max(27, size.bit_length())
    make = shell(f"zstd -q -9 --long={long} --patch-from='{job.old}' '{job.new}' -o '{job.served}/patch'")
    run = shell(
        f"curl -sSf '{job.server.url}/patch' -o '{job.folder}/patch'; "
        f"zstd -q -d --long={long} --patch-from='{job.old}' '{job.folder}/patch' -o '{job.out}'"
    )
    return dict(job.made(run), make=make)


def xdelta3(job):
    window = f"-B {1 << 30}"
    make = shell(f"xdelta3 -q -e -9 -S none {window} -s '{job.old}' -c '{job.new}' | zstd -q -19 -T2 >'{job.served}/patch'")
    run = shell(
        f"curl -sSf '{job.server.url}/patch' | zstd -q -dc | xdelta3 -q -d {window} -s '{job.old}' -c >'{job.out}'"
    )
    return dict(job.made(run), make=make)


def rauc(job):
    """RAUC's `block-hash-index`, computed by its documented rule.

    It needs the kernel's nbd and device mapper. The index has 32 bytes for each 4 KiB; blocks that the old slot does
    not have are read through the bundle's squashfs, whose blocks are compressed as a whole.
    """
    digest = lambda block: hashlib.sha256(block).digest()
    with open(job.old, "rb") as file:
        have = {digest(block) for block in iter(lambda: file.read(BLOCK), b"")}
    with open(job.new, "rb") as file:
        missing = [digest(block) not in have for block in iter(lambda: file.read(BLOCK), b"")]
    best = None
    for size in RAUC_BLOCKS:
        needed = sorted({number * BLOCK // size for number, is_missing in enumerate(missing) if is_missing})
        frames, packed = job.folder / "frames", job.folder / "frames.squashfs"
        with open(job.new, "rb") as file, open(frames, "wb") as to:
            for number in needed:
                file.seek(number * size)
                to.write(file.read(size))
        measure(["mksquashfs", frames, packed, "-b", size, "-comp", "zstd", "-quiet", "-no-progress", "-noappend"])
        fetched = len(missing) * 32 + packed.stat().st_size
        requests = 1 + sum(1 for place, number in enumerate(needed) if place == 0 or number != needed[place - 1] + 1)
        if best is None or fetched < best["bytes"]:
            best = {"bytes": fetched, "requests": requests, "setting": f"{size >> 10}K"}
        packed.unlink()
    return best


def tool_desync():
    """desync as it is installed, or else unpacked from Debian's unstable distribution, the only one that has it."""
    found = shutil.which("desync") or str(WORK / "desync/usr/bin/desync")
    if not Path(found).exists():
        apt = WORK / "apt"
        (apt / "lists/partial").mkdir(parents=True, exist_ok=True)
        (apt / "sources.list").write_text("deb http://deb.debian.org/debian sid main\n")
        options = [f"Dir::Etc::sourcelist={apt}/sources.list", "Dir::Etc::sourceparts=/nonexistent", f"Dir::State::lists={apt}/lists"]
        words = ["apt-get", "-qq"] + [word for option in options for word in ("-o", option)]
        measure(words + ["update"])
        measure(words + ["download", "desync"], cwd=apt)
        shell(f"dpkg-deb -x desync_*.deb '{WORK}/desync'", cwd=apt)
    return found


# Where results, roots and tools are kept.
WORK = Path(os.environ.get("ABIDE_BENCH_DIR", Path(__file__).resolve().parents[2] / "target/bench-delta"))


def best(*runs):
    """The run that fetched least."""
    return min(runs, key=lambda run: run["bytes"])


def zsync_best(job):
    plain = dict(zsync_plain(job), setting="plain")
    job.reset()
    try:
        return best(plain, dict(zsync_gz(job), setting="gzip"))
    except Failed as why:
        print(f"zsync of a compressed file: left out: {why}", flush=True)
        return plain


RIVALS = {
    "full": full,
    "RAUC": rauc,
    "zsync": zsync_best,
    "desync": desync,
    "casync": casync,
    "patch-from": patch_from,
    "xdelta3": xdelta3,
}
__all__ = ["Job", "RIVALS", "total"]
