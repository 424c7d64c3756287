#!/usr/bin/env python3
"""`make bench-delta`: what a machine fetches of a new root, with Abide and with other tools.

Builds pairs of Debian roots (see roots.py), publishes the newer one of each with every tool, and makes it again from
the older one and a web server on loopback. Roots and results stay in target/bench-delta; the page and the figure in
docs/explanation are written from all results. Needs root.

`ABIDE_BENCH_DELTA` selects the pairs (`P1 erofs`, …; a part of the name does) and `ABIDE_BENCH_DELTA_TOOLS` the tools;
`ABIDE_BENCH_DELTA=quick` makes a small pair, runs the tools that are installed, and writes no page. `ABIDE` is the
executable, `ABIDE_BENCH_DIR` another folder for roots and results.
"""
import fcntl
import json
import os
import random
import shutil
import sys
from pathlib import Path

import cage
import report
import roots
from abide import Machine, full_only, publish
from measure import Failed, measure, shell
from rivals import RIVALS, WORK, Job, tool_desync
from server import Server

# How often each of the two runs whose times are compared is repeated.
RUNS = 5


def requests(asked):
    """What was requested of a release: the UKI does not count, since the other tools fetch a root only."""
    return [(name, sent) for name, sent in asked if ".efi" not in name]


def warm(*paths):
    """All inputs are in the page cache before each run."""
    for path in paths:
        shell(f"cat '{path}' >/dev/null")


def median(runs):
    return sorted(runs, key=lambda run: run["seconds"])[len(runs) // 2]


def ours(job, runs=1):
    """Publishes and installs by patch, beside the full file from a local folder."""
    machine = Machine(job.folder / "machine", job.old, job.new.stat().st_size)
    make = publish(job.served, job.old, job.new)
    machine.sign(job.served)
    local = full_only(job.served, machine)
    by_patch, by_full = [], []
    for _ in range(runs):
        for source, taken in ((job.server.url + "/", by_patch), (local, by_full)):
            machine.reset()
            warm(job.old, *job.served.glob("*.zst"))
            job.server.take()
            taken.append(machine.write(source))
            machine.check(job.new)
            if taken is by_patch:
                asked = requests(job.server.take())
    result = dict(median(by_patch), make=make, requests=len(asked), bytes=sum(sent for _, sent in asked))
    result["memory"] = max(run["memory"] for run in by_patch)
    result["local"], result["load"] = median(by_full), os.getloadavg()[0]
    result["most"] = max(sum(1 for name, _ in asked if name == path) for path, _ in asked)
    result["full"] = next(job.served.glob("*.root.raw.zst")).stat().st_size
    result["patch"] = next(job.served.glob("*.root.from-*.patch")).stat().st_size
    result["map"] = next(job.served.glob("*.root.map")).stat().st_size
    return result


def publishing(job):
    """What the publisher's work is compared with."""
    zstd = shell(f"zstd -q -9 -c '{job.new}' >'{job.folder}/full.zst'")
    tool = tool_desync()
    desync = measure([tool, "make", "-s", job.folder, job.folder / "new.caibx", job.new])
    return {"seconds": zstd["seconds"] + desync["seconds"], "cpu": zstd["cpu"] + desync["cpu"], "memory": 0.0}


def workplace():
    """A folder of this process, with one that is served."""
    folder = WORK / f"work-{os.getpid()}"
    (folder / "served").mkdir(parents=True, exist_ok=True)
    return folder


def keep(name, found):
    """Adds to the results, which another run may have changed meanwhile."""
    with open(WORK / "results.json", "a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        results = json.loads(file.read() or "{}")
        results[name] = {**results.get(name, {}), **found}
        file.truncate(0)
        file.write(json.dumps(results, indent=1))
    return results


def bench(name, pair, results, wanted):
    """Runs the tools on one pair."""
    folder = workplace()
    found = results.setdefault(name, {})
    found["raw"] = pair[1].stat().st_size
    with Server(folder / "served") as server:
        job = Job(*pair, folder, server)
        for tool, run in {**RIVALS, "Abide": lambda job: ours(job, RUNS if name == "P1 erofs" else 1), "publishing": publishing}.items():
            if wanted and tool not in wanted:
                continue
            job.reset()
            warm(*pair)
            try:
                found[tool] = run(job)
                print(f"{name} {tool}: {found[tool]}", flush=True)
            except (Failed, OSError) as why:
                found.pop(tool, None)
                print(f"{name} {tool}: left out: {why}", flush=True)
        job.reset()


def large(folder):
    """A pair of 8 GiB, nearly all of it holes: the first 64 MiB of P1's roots at two places."""
    old, new = roots.pair(folder, "P1 erofs")
    made = []
    for source, name in ((old, "large-old.raw"), (new, "large-new.raw")):
        path = folder / "images" / name
        made.append(path)
        if not path.exists():
            shell(
                f"truncate -s 8G '{path}.new'; for at in 0 5G; do dd if='{source}' of='{path}.new' bs=1M count=64 conv=notrunc,sparse"
                f" oflag=seek_bytes seek=$at status=none; done; mv '{path}.new' '{path}'"
            )
    return tuple(made)


def bench_large(results):
    folder = workplace()
    with Server(folder / "served") as server:
        job = Job(*large(WORK), folder, server)
        job.reset()
        results["8 GiB"] = dict(ours(job), raw=8 << 30)
        print(f"8 GiB: {results['8 GiB']}", flush=True)
        job.reset()


def bench_cage(results):
    """A whole update of P1 in 128 MB of memory and a fifth of a processor."""
    folder = workplace()
    with Server(folder / "served") as server, cage.Cage() as fence:
        job = Job(*roots.pair(WORK, "P1 erofs"), folder, server)
        job.reset()
        machine = Machine(folder / "machine", job.old, job.new.stat().st_size)
        publish(job.served, job.old, job.new)
        machine.sign(job.served)
        run = machine.write(server.url + "/", fence.prefix)
        machine.check(job.new)
        results["cage"] = dict(run, kind=fence.kind, used=fence.peak())
        print(f"control group: {results['cage']}", flush=True)
        job.reset()


def quick():
    """A pair of 12 MiB: whether everything runs."""
    source = random.Random(1)
    old = source.randbytes(12 << 20)
    new = old[: 5 << 20] + source.randbytes(5000) + old[5 << 20 : -5000]
    WORK.mkdir(parents=True, exist_ok=True)
    pair = WORK / "quick-old.raw", WORK / "quick-new.raw"
    pair[0].write_bytes(old)
    pair[1].write_bytes(new)
    results = {}
    bench("quick", pair, results, words("ABIDE_BENCH_DELTA_TOOLS") or ["full", "zsync", "patch-from", "xdelta3", "Abide"])
    ran = results["quick"]
    shutil.rmtree(workplace())
    if "Abide" not in ran or ran["Abide"]["bytes"] > 20_000 or ran["Abide"]["most"] != 1:
        sys.exit("bench-delta: Abide did not install the small pair by its patch")
    report.page({"P1 erofs": ran}, {})
    report.figure({"P1 erofs": ran})


def words(name):
    return [word for word in os.environ.get(name, "").split(",") if word]


def main():
    wanted = os.environ.get("ABIDE_BENCH_DELTA", "")
    if wanted == "quick":
        return quick()
    WORK.mkdir(parents=True, exist_ok=True)
    results = {}
    runs = {name: lambda name=name: bench(name, roots.pair(WORK, name), results, words("ABIDE_BENCH_DELTA_TOOLS")) for name in roots.PAIRS}
    runs |= {"8 GiB": lambda: bench_large(results), "control group": lambda: bench_cage(results)}
    for name, run in runs.items():
        if wanted in name:
            run()
            key = "cage" if name == "control group" else name
            keep(key, results[key])
    shutil.rmtree(workplace())
    results = json.loads((WORK / "results.json").read_text())
    results = {name: results[name] for name in [*roots.PAIRS, "8 GiB", "cage"] if name in results}
    docs = Path(__file__).resolve().parents[2] / "docs/explanation"
    text = report.page(results, {name: roots.differing(WORK, name) for name in roots.PAIRS if name in results})
    print(text)
    (docs / "delta.md").write_text(text)
    (docs / "delta.svg").write_text(report.figure(results))
    return None


if __name__ == "__main__":
    main()
