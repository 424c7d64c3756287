//! `make bench-delta` on a small pair of roots: its parts fit together, and the numbers are those of a delta.
#![allow(missing_docs, unused_crate_dependencies)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use abide_testing::skip::skipped;
use abide_testing::{Run, program};

#[test]
fn the_benchmark_of_deltas_measures_abide_on_a_small_pair() {
    for tool in ["python3", "minisign", "time", "curl", "zstd"] {
        // The shell has a keyword `time`.
        let found = program("sh").args(["-c", &format!("command -v {tool} | grep -q /")]).status().unwrap();
        if !found.success() {
            return skipped("the benchmark of deltas", &format!("no {tool}"));
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let mut command = program("python3");
    command.args(["-B", concat!(env!("CARGO_MANIFEST_DIR"), "/benches/delta/main.py")]);
    command.env("ABIDE", env!("CARGO_BIN_EXE_abide")).env("ABIDE_BENCH_DIR", dir.path());
    command.env("ABIDE_BENCH_DELTA", "quick").env("ABIDE_BENCH_DELTA_TOOLS", "full,patch-from,Abide");
    let run = Run::of(&mut command).ok();
    for tool in ["full", "patch-from", "Abide"] {
        assert!(run.stdout.contains(&format!("quick {tool}: {{")), "{}", run.stdout);
    }
}
