"""The page and the figure."""
import os

from rivals import WORK
from roots import DAY, WHAT, mirror

MIB = 1 << 20
TOOLS = ["full", "RAUC", "zsync", "desync", "casync", "patch-from", "xdelta3", "Abide"]
TITLES = {"full": "full file", "patch-from": "zstd --patch-from", "RAUC": "RAUC's index"}
MAX_MEMORY = 64


def title(tool):
    return TITLES.get(tool, tool)


def millions(count):
    return f"{count / 1e6:.1f}"


def seconds(run):
    return f"{run['seconds']:.1f}" if "seconds" in run else "–"


def ratio(value, at_most):
    return f"{value:.2f}{'' if value <= at_most else ' (**missed**)'}"


def pairs(results):
    return [(name, found) for name, found in results.items() if "Abide" in found]


def limits(results):
    """What is promised, what was measured, and whether it holds."""
    lines = []

    def add(what, measured, at_most, unit=""):
        verdict = "holds" if measured <= at_most else "**missed**"
        lines.append(f"| {what} | {at_most:g}{unit} | {measured:.2f}{unit} | {verdict} |\n")

    for name, found in pairs(results):
        ours = found["Abide"]
        if name == "P1 erofs" and "full" in found:
            add("P1 erofs: bytes, of the full file's", 100 * ours["bytes"] / found["full"]["bytes"], 2, " %")
        rivals = {tool: found[tool]["bytes"] for tool in ("RAUC", "zsync", "desync") if tool in found}
        if rivals:
            best = min(rivals, key=rivals.get)
            add(f"{name}: bytes, of those of {title(best)}, the best of zsync, desync and RAUC", ours["bytes"] / rivals[best], 1)
        if "full" in found:
            add(f"{name}: bytes, of the full file's", 100 * ours["bytes"] / found["full"]["bytes"], 102, " %")
        if name == "P1 erofs":
            add("P1 erofs: time of the installation, of that from a local full file", ours["seconds"] / ours["local"]["seconds"], 1)
        if "publishing" in found:
            other = found["publishing"]
            add(f"{name}: CPU time of `publish --from`, of that of `zstd -9` and `desync make`", ours["make"]["cpu"] / other["cpu"], 1)
            add(f"{name}: time of the same", ours["make"]["seconds"] / other["seconds"], 1)
        add(f"{name}: requests for each file", ours["most"], 1)
        add(f"{name}: peak memory of the installation", ours["memory"], MAX_MEMORY, " MiB")
    return "".join(lines)


def sizes(results):
    text = "| pair | raw | " + " | ".join(title(tool) for tool in TOOLS) + " |\n"
    text += "| --- | ---: | " + " | ".join("---:" for _ in TOOLS) + " |\n"
    for name, found in pairs(results):
        cells = [millions(found[tool]["bytes"]) if tool in found else "–" for tool in TOOLS]
        text += f"| {name} | {found['raw'] / 1e6:.0f} | " + " | ".join(cells) + " |\n"
    return text


def costs(name, found):
    text = f"\n### {name}\n\n"
    text += "| | setting | 10⁶ bytes | requests | seconds | CPU seconds | peak memory, MiB | made in CPU seconds | made with MiB |\n"
    text += "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n"
    for tool in TOOLS:
        if tool not in found:
            text += f"| {title(tool)} | did not run | | | | | | | |\n"
            continue
        run = found[tool]
        make = run.get("make")
        cells = [run.get("setting", ""), millions(run["bytes"]), str(run["requests"]), seconds(run)]
        cells += [f"{run['cpu']:.1f}", f"{run['memory']:.0f}"] if "cpu" in run else ["–", "–"]
        cells += [f"{make['cpu']:.1f}", f"{make['memory']:.0f}"] if make else ["", ""]
        text += f"| {title(tool)} | " + " | ".join(cells) + " |\n"
    return text


def machine():
    model = next(line.split(": ", 1)[1].strip() for line in open("/proc/cpuinfo", encoding="utf-8") if line.startswith("model name"))
    kernel = os.uname().release.split("-")[0]
    return f"{os.cpu_count()} cores ({model}), Linux {kernel}"


def page(results, differing):
    pinned = mirror(WORK)[1] if differing else False
    text = f"""# Sizes of delta updates

`make bench-delta` wrote this page on {machine()}.

What a machine with the older root of a pair fetches to get the newer one, with everything it needs
to know before, such as indexes and signatures. Every tool ran on the same roots, and what it made
was compared with the newer root.{load(results)}

![bytes to fetch](delta.svg)

## Bytes to fetch, in millions

"""
    text += sizes(results)
    text += "\n## Limits\n\n| | at most | measured | |\n| --- | ---: | ---: | --- |\n" + limits(results)
    if "cage" in results:
        text += cage(results["cage"])
    text += "\n## Costs\n"
    for name, found in pairs(results):
        if name != "8 GiB":
            text += costs(name, found)
    text += full_files(results)
    return text + notes(differing, pinned)


def load(results):
    """Says so where the machine did other work, too: it makes times longer, by chance."""
    loads = [found["Abide"]["load"] for _, found in pairs(results) if "load" in found["Abide"]]
    if max(loads, default=0) <= os.cpu_count():
        return ""
    return f"""

The machine did other work at the same time (load average up to {max(loads):.0f}). Compare times with caution,
and CPU seconds rather."""


def cage(run):
    return f"""
## On a small machine

P1 on erofs, in a control group (version {run['kind']}) with 128 MB of memory and a fifth of a
processor: installed by its patch in {run['seconds']:.0f} s with {run['cpu']:.1f} CPU seconds. The process had at most
{run['memory']:.0f} MiB. The group reached {run['used'] / 1e6:.0f} MB, with the page cache, which the kernel then takes back.
"""


def full_files(results):
    text = "\n## The full file\n\nSingle frames, so that each region can be fetched alone, against one frame (`zstd -9 --long=27`):\n\n"
    text += "| pair | one frame | Abide's | ratio | map | patch |\n| --- | ---: | ---: | ---: | ---: | ---: |\n"
    for name, found in pairs(results):
        if "full" in found:
            ours, other = found["Abide"], found["full"]["bytes"]
            text += f"| {name} | {millions(other)} | {millions(ours['full'])} | {ours['full'] / other:.3f} | {ours['map'] / 1e6:.3f} | {millions(ours['patch'])} |\n"
    return text


def notes(differing, pinned):
    text = "\n## Pairs\n\n"
    for name, what in WHAT.items():
        full = next((pair for pair in differing if pair.startswith(name)), None)
        if full:
            text += f"- {name}: {what.format(len(differing[full]))}.\n"
    if pinned:
        text += f"\nThe packages are those of {DAY[:8]} in Debian's snapshot archive.\n"
    else:
        text += f"""
The packages are those of Debian's archive when the roots were built: the snapshot archive, which
has those of {DAY[:4]}-{DAY[4:6]}-{DAY[6:8]} for good, could not be reached. An older root has, of the two versions that
the suite and its security updates have of a package, the older one.
"""
    if "P1 erofs" in differing:
        text += "\nUpdated in P1:\n\n```text\n" + "\n".join(differing["P1 erofs"]) + "\n```\n"
    return text + NOTES


NOTES = """
## Columns

- *full file*: `zstd -9 --long=27`, streamed.
- *RAUC's index*: computed by the rule of its `block-hash-index`, since it needs kernel modules: 32
  bytes for each 4 KiB of the new root, and the blocks of a squashfs (zstd) that hold 4 KiB which
  the old root does not have; of the block sizes 4 and 16 KiB the better; one request for each run
  of blocks.
- *zsync*: the plain file in blocks of 4 KiB, or the file compressed by `zsyncmake -z`, whichever is
  less.
- *desync* and *casync*: chunks of 4 to 64 KiB, with which they fetch less than with their default
  of 16 to 256 KiB; the old root is the seed, and desync has its index already.
- *zstd --patch-from*: level 9, the whole old root as the prefix. *xdelta3*: level 9 with a source
  window of 1 GiB, packed by `zstd -19`.
- A dash, or *did not run*: not measured, or the tool failed.
- *Abide*: `abide write URL/` with list, signature, map and patch, into a plain file as the slot. It
  verifies every region before it writes it, flushes the slot and reads it back. The other tools
  write a plain file and neither flush nor read it. The UKI is not counted.
- Caches are warm. *CPU seconds* and *peak memory* are those of the client, with `curl` where it has
  no client of its own; the server is not counted. *made* is what the publisher needs.
- The times of P1 on erofs are medians of several runs by turns; the others are single runs.
- *8 GiB*: an image that is nearly all holes, with the first 64 MiB of P1's roots at two places.
- `ABIDE_BENCH_DELTA` and `ABIDE_BENCH_DELTA_TOOLS` select what runs; see `benches/delta/main.py`.
"""

WIDTH, LEFT, BAR = 720, 150, 13


def figure(results):
    """Bars of the bytes to fetch, for each pair."""
    body, y = "", 10
    for name, found in pairs(results):
        if name == "8 GiB":
            continue
        most = max(found[tool]["bytes"] for tool in TOOLS if tool in found)
        body += label(LEFT, y + 12, "start", f"{name}: 10⁶ bytes to fetch")
        y += 20
        for tool in TOOLS:
            if tool not in found:
                continue
            width = found[tool]["bytes"] / most * (WIDTH - LEFT - 60)
            colour = "#1a7f37" if tool == "Abide" else "#8c959f"
            body += label(LEFT - 6, y + 11, "end", title(tool))
            body += f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR}" fill="{colour}"/>\n'
            body += label(LEFT + width + 4, y + 11, "start", millions(found[tool]["bytes"]))
            y += BAR + 4
        y += 14
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" font-family="sans-serif" font-size="12">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n{body}</svg>\n'
    )


def label(x, y, anchor, text):
    return f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}">{text}</text>\n'
