//! The tables, and whether the limits are met.

use crate::case::Case;
use crate::results::{Results, Run};

/// The upper bound of Abide's time, as a fraction of another tool's.
struct Limit {
    abide: &'static str,
    peer: &'static str,
    at_most: f64,
}

const LIMITS: [Limit; 10] = [
    Limit { abide: "Abide gz", peer: "EMT's sequence", at_most: 0.25 },
    Limit { abide: "Abide gz, verity", peer: "EMT's sequence, verity", at_most: 0.25 },
    Limit { abide: "Abide gz, verity", peer: "Abide gz", at_most: 1.15 },
    Limit { abide: "Abide zst, verity", peer: "Abide zst", at_most: 1.15 },
    Limit { abide: "Abide gz", peer: "igzip | dd", at_most: 0.75 },
    Limit { abide: "Abide gz", peer: "igzip | dd direct", at_most: 1.0 },
    Limit { abide: "Abide zst", peer: "zstd | dd", at_most: 0.65 },
    Limit { abide: "Abide zst", peer: "zstd | dd direct", at_most: 1.2 },
    Limit { abide: "Abide plain", peer: "dd", at_most: 0.9 },
    Limit { abide: "Abide plain", peer: "dd direct", at_most: 2.0 },
];

/// On an image without zeros, a third more is allowed against the other tools.
const DENSE: f64 = 4.0 / 3.0;

impl Limit {
    fn at_most_dense(&self) -> f64 {
        if self.peer.starts_with("Abide") { self.at_most } else { self.at_most * DENSE }
    }
}

pub fn markdown(results: &Results) -> String {
    let mut text = format!(
        "# Performance\n\
         \n\
         `make bench` wrote this page on {}.\n\
         \n\
         Times are medians. The tools run alternately. Each run starts with cold caches and includes a final\n\
         flush. The target is a loop device with direct I/O over a file, filled again before each run. Abide\n\
         verifies the digest and reads back what it wrote; the other tools run with their defaults.\n\
         \n\
         ![seconds](bench.svg)\n",
        machine()
    );
    text += &ratios(results);
    for (case, tools) in results.cases() {
        text += &format!("\n## {}\n\n", title(case));
        text +=
            "| tool | seconds | MiB sent | MiB on the device | flushes | CPU seconds | peak memory, MiB |\n";
        text += "| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n";
        for (name, run) in tools {
            text += &row(name, &run);
        }
    }
    text + NOTES
}

const NOTES: &str = "
## Columns

- In the comparison with other tools, *sparse* and *dense* are Abide's time divided by the time of
  the tool in the column *against*. The column *at most* before each of them is the highest ratio
  that the benchmark accepts.
- *sent*: what the processes wrote, to any disk, including temporary files and the UKI on the ESP.
  *on the device*: what the target counted. A device counts a range that it zeroed as if it had been
  sent, so Abide's second number is larger than its first.
- *peak memory*: of the largest process. *flushes*: those that the tool requested.
- *direct* is `dd oflag=direct`, otherwise `conv=fsync`. *EMT's sequence*: `sha256sum`, `gunzip` to
  the disk, `dd`, `sync`. *verity*: with a dm-verity tree that is made on the machine: by
  `veritysetup format` after the write, or by Abide during it, on a plain file.
- *sparse*: three quarters of the image are zeros, in runs; *dense*: none. The rest are files of the
  machine that ran the benchmark. *changed*: of every MiB that is not empty, 3 % differ.
- `ABIDE_BENCH`, `ABIDE_BENCH_RUNS` and `ABIDE_BENCH_TOOLS` select what runs; see
  `benches/write/main.rs`.
";

fn title(case: &Case) -> String {
    use crate::case::Change;
    let change = match case.change {
        Change::Full => "Full write",
        Change::Some => "3 % changed",
        Change::None => "Identical",
    };
    let runs = if case.runs == 1 { "one run" } else { "medians" };
    format!("{change}, {}, {} ({runs})", case.kind(), case.size_name())
}

fn row(name: &str, r: &Run) -> String {
    format!(
        "| {} | {:.2} | {} | {} | {} | {:.2} | {} |\n",
        name.replace('|', "\\|"),
        r.seconds,
        r.sent >> 20,
        r.written >> 20,
        r.flushes,
        r.cpu,
        r.memory.div_ceil(1 << 20)
    )
}

fn ratios(results: &Results) -> String {
    let mut text = String::from(
        "\n## Compared with other tools, full write, 1G\n\n| | against | at most | sparse | at most | dense |\n\
         | --- | --- | ---: | ---: | ---: | ---: |\n",
    );
    for limit in &LIMITS {
        let ratio = |case: &str, at_most: f64| {
            let (Some(abide), Some(peer)) = (results.get(case, limit.abide), results.get(case, limit.peer))
            else {
                return "not measured".to_owned();
            };
            let ratio = abide.seconds / peer.seconds;
            format!("{ratio:.2}{}", if ratio <= at_most { "" } else { " (**missed**)" })
        };
        text += &format!(
            "| {} | {} | {:.2} | {} | {:.2} | {} |\n",
            limit.abide,
            limit.peer.replace('|', "\\|"),
            limit.at_most,
            ratio("full-sparse-1G", limit.at_most),
            limit.at_most_dense(),
            ratio("full-dense-1G", limit.at_most_dense()),
        );
    }
    text
}

/// The machine that it ran on.
fn machine() -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let field = |name: &str| {
        info.lines()
            .find(|l| l.starts_with(name))
            .and_then(|l| l.split_once(": "))
            .map_or("?", |(_, v)| v)
            .to_owned()
    };
    let sha = if field("flags").contains("sha_ni") { "with" } else { "without" };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!(
        "{cores} cores ({}, {sha} SHA extensions), Linux {}",
        field("model name"),
        kernel(&read("/proc/sys/kernel/osrelease"))
    )
}

/// The version without a vendor's suffix.
fn kernel(release: &str) -> String {
    release.trim().split('-').next().unwrap_or_default().to_owned()
}
