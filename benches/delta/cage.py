"""A control group with 128 MB of memory and a fifth of a processor, of version 2 or 1."""
import os
from pathlib import Path

MEMORY = 128_000_000
PERIOD, QUOTA = 100_000, 20_000
TOP = Path("/sys/fs/cgroup")
NAME = "abide-bench"


class Cage:
    """The group; a command with `prefix` in front of it runs in it."""

    def __init__(self):
        self.kind = "2" if (TOP / "cgroup.controllers").exists() else "1"
        if self.kind == "2":
            folders = [TOP / NAME]
            settings = {"memory.max": MEMORY, "memory.swap.max": 0, "cpu.max": f"{QUOTA} {PERIOD}"}
            self.peak_file = TOP / NAME / "memory.peak"
        else:
            folders = [TOP / "memory" / NAME, TOP / "cpu" / NAME]
            settings = {"memory.limit_in_bytes": MEMORY, "cpu.cfs_period_us": PERIOD, "cpu.cfs_quota_us": QUOTA}
            self.peak_file = TOP / "memory" / NAME / "memory.max_usage_in_bytes"
        self.folders = folders
        for folder in folders:
            folder.mkdir(exist_ok=True)
            for name, value in settings.items():
                if (folder / name).exists():
                    (folder / name).write_text(str(value))
        joins = "".join(f"echo 0 >{folder}/cgroup.procs; " for folder in folders)
        self.prefix = ["sh", "-ec", joins + 'exec "$@"', "sh"]

    def peak(self):
        """The most memory that the group had, with its page cache, in bytes."""
        return int(self.peak_file.read_text())

    def __enter__(self):
        return self

    def __exit__(self, *_words):
        for folder in self.folders:
            os.rmdir(folder)
