"""The roots: Debian systems in pairs of an older and a newer version, each built the same way every time.

With the snapshot archive, the packages are those of one day, always the same. Where it cannot be reached, those of the
archive as it is now. The older root of a pair has the older of the two versions that the suite and its security
updates have of a package.
"""
import lzma
import os
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

# Day of the packages, and the time that every file gets.
DAY = "20261129T000000Z"
EPOCH = "1795910400"
SNAPSHOT = "http://snapshot.debian.org/archive/{}/" + DAY
ARCHIVE = "http://deb.debian.org/{}"
UUID = "7a0d1c1e-0000-4000-8000-000000000001"

BASE = """systemd systemd-sysv udev dbus openssh-server python3 containerd runc nginx curl iproute2 vim-tiny less procps
 kmod ca-certificates cryptsetup-bin krb5-user rsync tzdata locales netbase ifupdown sudo""".split()
MORE = BASE + ["podman", "tcpdump", "python3-requests"]
# Of P1 and P2, the source packages that were updated.
UPDATED = ["openssh", "openssl", "nginx", "runc", "krb5"]

# Name of a tree: suite, packages, which source packages have their older version (all of them: None), which kernel.
TREES = {
    "trixie-old": ("trixie", BASE, UPDATED, None),
    "trixie-new": ("trixie", BASE, [], None),
    "trixie-more": ("trixie", MORE, [], None),
    "bookworm-old": ("bookworm", BASE, None, None),
    "bookworm-new": ("bookworm", BASE, [], None),
}

# Name of a pair: file system, older tree, its kernel, newer tree, its kernel, whether modules are unpacked.
PAIRS = {
    "P1 erofs": ("erofs", "trixie-old", "new", "trixie-new", "new", False),
    "P1 ext4": ("ext4", "trixie-old", "new", "trixie-new", "new", False),
    "P1 squashfs": ("squashfs", "trixie-old", "new", "trixie-new", "new", False),
    "P2 erofs": ("erofs", "trixie-old", "old", "trixie-new", "new", True),
    "P3 erofs": ("erofs", "trixie-new", "new", "trixie-more", "new", False),
    "P4 erofs": ("erofs", "bookworm-old", "old", "bookworm-new", "new", True),
}
WHAT = {
    "P1": "trixie, {} packages updated",
    "P2": "the same and another kernel, modules unpacked",
    "P3": "trixie, {} packages added or updated",
    "P4": "bookworm to its security updates, {} packages and the kernel",
}
KERNEL = {"trixie": "linux-image-amd64", "bookworm": "linux-image-amd64"}


def run(*words, **options):
    options.setdefault("stdout", subprocess.DEVNULL)
    return subprocess.run([str(word) for word in words], check=True, **options)


class Archive:
    """Debian's packages of one suite and its security updates."""

    def __init__(self, folder, suite):
        self.suite = suite
        self.base, self.is_pinned = mirror(folder)
        self.packages = {}
        for archive, name in (("debian", suite), ("debian-security", suite + "-security")):
            self._read(folder, archive, name)

    def _read(self, folder, archive, name):
        path = folder / f"{name}.xz"
        if not path.exists():
            url = f"{self.base.format(archive)}/dists/{name}/main/binary-amd64/Packages.xz"
            with urllib.request.urlopen(url, timeout=60) as answer:
                path.write_bytes(answer.read())
        for text in lzma.open(path, "rt").read().split("\n\n"):
            fields = dict(line.split(": ", 1) for line in text.split("\n") if ": " in line and line[0] != " ")
            if "Package" in fields:
                fields["Url"] = f"{self.base.format(archive)}/{fields['Filename']}"
                self.packages.setdefault(fields["Package"], {})[fields["Version"]] = fields

    def sources(self):
        """Lines for sources.list."""
        check = "[check-valid-until=no] " if self.is_pinned else ""
        return "".join(
            f"deb {check}{self.base.format(archive)} {name} main\n"
            for archive, name in (("debian", self.suite), ("debian-security", self.suite + "-security"))
        )

    def older(self, name):
        return sorted(self.packages[name], key=Version)[0]

    def newest(self, name):
        return sorted(self.packages[name], key=Version)[-1]

    def pins(self, sources):
        """apt's preferences that choose the older version of these source packages, or of all of them."""
        text = ""
        for name, versions in self.packages.items():
            source = next(iter(versions.values())).get("Source", name).split()[0]
            if len(versions) > 1 and (sources is None or source in sources):
                text += f"Package: {name}\nPin: version {self.older(name)}\nPin-Priority: 1001\n\n"
        return text

    def kernel(self, folder, which):
        """The package with the older or the newer kernel."""
        meta = self.packages[KERNEL[self.suite]]
        version = self.older(KERNEL[self.suite]) if which == "old" else self.newest(KERNEL[self.suite])
        name = next(word for word in meta[version]["Depends"].split(", ") if word.startswith("linux-image-")).split()[0]
        fields = self.packages[name][version]
        path = folder / Path(fields["Filename"]).name
        if not path.exists():
            part = path.with_suffix(".part")
            with urllib.request.urlopen(fields["Url"], timeout=60) as answer:
                part.write_bytes(answer.read())
            part.rename(path)
        return path


class Version:
    """A version in dpkg's order."""

    def __init__(self, text):
        self.text = text

    def __lt__(self, other):
        words = ["dpkg", "--compare-versions", self.text, "lt", other.text]
        return subprocess.run(words, check=False).returncode == 0


def mirror(folder):
    """The archive that the roots come from, and whether it is a pinned one; decided once."""
    kept = folder / "mirror"
    if not kept.exists():
        try:
            with urllib.request.urlopen(SNAPSHOT.format("debian") + "/dists/trixie/Release", timeout=20):
                kept.write_text(SNAPSHOT)
        except (urllib.error.URLError, OSError):
            kept.write_text(ARCHIVE)
    return kept.read_text(), kept.read_text() == SNAPSHOT


def tree(folder, name):
    """Builds a tree, and lists its packages beside it."""
    path = folder / "trees" / name
    if path.exists():
        return path
    suite, packages, older, _ = TREES[name]
    archive = Archive(folder, suite)
    path.parent.mkdir(exist_ok=True)
    new = path.with_name(name + ".new")
    run("rm", "-rf", "--one-file-system", new)
    preferences = folder / f"{name}.pref"
    preferences.write_text(archive.pins(older))
    listing = folder / f"{name}.packages"
    run(
        "mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--include=" + ",".join(packages),
        '--aptopt=Acquire::Check-Valid-Until "false"', "--dpkgopt=path-exclude=/usr/share/man/*",
        f'--setup-hook=copy-in "{preferences}" /etc/apt/preferences.d/',
        f'--customize-hook=chroot "$1" dpkg-query -W >"{listing}"',
        '--customize-hook=rm -rf "$1"/etc/apt/preferences.d/* "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*.bin',
        suite, new, "-", input=archive.sources(), text=True, env=dict(os.environ, SOURCE_DATE_EPOCH=EPOCH),
        stdout=subprocess.DEVNULL,
    )
    new.rename(path)
    return path


def with_kernel(folder, name, which, unpacked):
    """A tree with a kernel: a folder of its own, of hard links where possible."""
    path = folder / "trees" / f"{name}-kernel-{which}{'-unpacked' if unpacked else ''}"
    if path.exists():
        return path
    base = tree(folder, name)
    new = path.with_name(path.name + ".new")
    run("rm", "-rf", "--one-file-system", new)
    run("cp", "-al", base, new)
    run("dpkg-deb", "-x", Archive(folder, TREES[name][0]).kernel(folder, which), new / "kernel")
    (new / "usr/lib/modules").mkdir(parents=True, exist_ok=True)
    modules = new / "kernel/usr/lib/modules"
    for found in (modules if modules.exists() else new / "kernel/lib/modules").iterdir():
        found.rename(new / "usr/lib/modules" / found.name)
    for found in (new / "kernel/boot").glob("vmlinuz*"):
        (new / "boot").mkdir(exist_ok=True)
        found.rename(new / "boot" / found.name)
    run("rm", "-rf", new / "kernel")
    if unpacked:
        run("sh", "-ec", f'find "{new}/usr/lib/modules" -name "*.ko.xz" -print0 | xargs -0r -P2 -n64 xz -d')
    new.rename(path)
    return path


def image(folder, system, name, which, unpacked):
    """The file system of a tree."""
    path = folder / "images" / f"{name}-{which}{'-unpacked' if unpacked else ''}.{system}"
    if path.exists():
        return path
    source = with_kernel(folder, name, which, unpacked)
    path.parent.mkdir(exist_ok=True)
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    if system == "erofs":
        run("mkfs.erofs", "-T", EPOCH, "-U", UUID, new, source)
    elif system == "squashfs":
        run("mksquashfs", source, new, "-comp", "zstd", "-quiet", "-no-progress", "-all-time", EPOCH, "-mkfs-time", EPOCH)
    else:
        used = int(subprocess.check_output(["du", "-s", "--block-size=1M", source]).split()[0])
        env = dict(os.environ, E2FSPROGS_FAKE_TIME=EPOCH)
        with open(new, "wb") as file:
            file.truncate((used * 5 // 4 + 64) << 20)
        run("mke2fs", "-q", "-F", "-t", "ext4", "-U", UUID, "-E", f"hash_seed={UUID}", "-d", source, new, env=env)
    # A slot has whole blocks.
    with open(new, "r+b") as file:
        file.truncate(-(-new.stat().st_size // 4096) * 4096)
    new.rename(path)
    return path


def pair(folder, name):
    """The older and the newer root of a pair."""
    system, old, old_kernel, new, new_kernel, unpacked = PAIRS[name]
    return image(folder, system, old, old_kernel, unpacked), image(folder, system, new, new_kernel, unpacked)


def differing(folder, name):
    """How many packages differ in a pair, and which."""
    _, old, _, new, _, _ = PAIRS[name]
    lists = [dict(line.split("\t") for line in (folder / f"{tree}.packages").read_text().splitlines()) for tree in (old, new)]
    return sorted(f"{package} {version}" for package, version in lists[1].items() if lists[0].get(package) != version)
