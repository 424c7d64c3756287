//! `abide write` within bounds: its memory does not grow with the image, it works in a small control
//! group, and it shows its progress. `ABIDE_BOUNDS_GIB` sets the size of the large image (1).

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use abide_testing::emt_node::{NodeKind, build_uuid, mapped_cmdline, node};
use abide_testing::image::{front, noise, zst};
use abide_testing::process::executable;
use abide_testing::skip::skipped;
use abide_testing::{Image, Tree, program};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const MIB: u64 = 1 << 20;

/// A slot, and an image packed with zstd whose root takes all of it: a quarter noise, the rest zeros.
fn image(tree: &Tree, size: u64) -> PathBuf {
    image_for(tree, "dev/sda3", &Image::new("2.0", "b"), &[], size)
}

/// The same for the slot of a node that makes its hash tree itself.
fn image_with_tree(tree: &Tree, size: u64) -> PathBuf {
    fs::OpenOptions::new().write(true).open(tree.path("dev/sda5")).unwrap().set_len(size / 64).unwrap();
    let file_system = tree.path("ext4");
    let words = ["-q", "-F", "-t", "ext4", "-b", "4096", "-U", &build_uuid(2)];
    let made = program("mke2fs").args(words).arg(&file_system).arg(format!("{}k", size / 1024)).output();
    assert!(made.unwrap().status.success());
    let mut head = vec![0; 4096];
    File::open(file_system).unwrap().read_exact(&mut head).unwrap();
    let image = Image::with_cmdline("3.1", &mapped_cmdline(&build_uuid(2)));
    image_for(tree, "dev/sda6", &image, &head, size)
}

/// An image with the UKI of `image`, whose root begins with `head`.
fn image_for(tree: &Tree, slot: &str, image: &Image, head: &[u8], size: u64) -> PathBuf {
    fs::OpenOptions::new().write(true).open(tree.path(slot)).unwrap().set_len(size).unwrap();
    let esp = image.bytes()[1 << 20..2 << 20].to_vec();
    let parts =
        [("esp", gpt::partition_types::EFI, MIB), ("rootfs", gpt::partition_types::LINUX_ROOT_X64, size)];
    let (table, starts, disk_len) = front(&parts);
    let mut root = noise(4 << 20, 1);
    root.resize(16 << 20, 0);
    let mut first = root.clone();
    first[..head.len()].copy_from_slice(head);
    let root = zst(&root);
    let path = tree.path(&format!("{size}.zst"));
    let mut file = File::create(&path).unwrap();
    file.write_all(&zst(&[table, esp].concat())).unwrap();
    file.write_all(&zst(&first)).unwrap();
    for _ in 1..size / (16 * MIB) {
        file.write_all(&root).unwrap();
    }
    file.write_all(&zst(&vec![0; usize::try_from(disk_len - starts[1] - size).unwrap()])).unwrap();
    path
}

/// The peak memory of the write of an image just before its end, in bytes. The write then waits for the
/// last byte of the image.
fn peak(tree: &Tree, path: &Path) -> u64 {
    let mut writer =
        tree.command().args(["write", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut input = writer.stdin.take().unwrap();
    let mut image = File::open(path).unwrap();
    let all_but_the_last = image.metadata().unwrap().len() - 1;
    std::io::copy(&mut Read::by_ref(&mut image).take(all_but_the_last), &mut input).unwrap();
    let status = fs::read_to_string(format!("/proc/{}/status", writer.id())).unwrap();
    let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
    let peak = kib.unwrap().parse::<u64>().unwrap() * 1024;
    std::io::copy(&mut image, &mut input).unwrap();
    drop(input);
    assert!(writer.wait().unwrap().success());
    peak
}

#[test]
fn memory_stays_below_48_mib_and_does_not_grow_with_the_image() {
    let large = std::env::var("ABIDE_BOUNDS_GIB").map_or(1, |gib| gib.parse().unwrap()) * 1024 * MIB;
    for with_tree in [false, true] {
        let [small, large] = [256 * MIB, large].map(|size| {
            let tree = if with_tree { node(NodeKind::Verity) } else { Tree::running("1.0") };
            let image = if with_tree { image_with_tree(&tree, size) } else { image(&tree, size) };
            peak(&tree, &image)
        });
        println!("with a hash tree: {with_tree}: {} and {} KiB", small / 1024, large / 1024);
        assert!(large < 48 * MIB, "{} MiB", large / MIB);
        assert!(large.saturating_sub(small) < 4 * MIB, "grows from {} to {} KiB", small / 1024, large / 1024);
    }
}

/// A control group with 128 MB of memory and a fifth of a processor, of either version; the files that
/// add a process to it. None if this machine does not allow one.
fn control_group() -> Option<Vec<PathBuf>> {
    let name = format!("abide-test-{}", std::process::id());
    let make = |dir: &Path, limits: &[(&str, &str)]| -> Option<PathBuf> {
        fs::create_dir(dir).ok()?;
        limits.iter().try_for_each(|(file, value)| fs::write(dir.join(file), value)).ok()?;
        Some(dir.join("cgroup.procs"))
    };
    let base = Path::new("/sys/fs/cgroup");
    if base.join("memory").is_dir() {
        let memory = make(&base.join("memory").join(&name), &[("memory.limit_in_bytes", "128000000")])?;
        let cpu = [("cpu.cfs_period_us", "100000"), ("cpu.cfs_quota_us", "20000")];
        return Some(vec![memory, make(&base.join("cpu").join(&name), &cpu)?]);
    }
    fs::write(base.join("cgroup.subtree_control"), "+memory +cpu").ok()?;
    Some(vec![make(&base.join(&name), &[("memory.max", "128000000"), ("cpu.max", "20000 100000")])?])
}

#[test]
fn it_runs_in_a_control_group_of_128_mb_and_a_fifth_of_a_processor() {
    let Some(groups) = control_group() else {
        return skipped("a write in a small control group", "no control groups: they need root");
    };
    let tree = Tree::running("1.0");
    let path = image(&tree, 256 * MIB);
    let enter: Vec<String> = groups.iter().map(|g| format!("echo $$ >'{}' &&", g.display())).collect();
    let mut shell = program("sh");
    shell.args(["-c", &format!("{} exec \"$@\"", enter.join(" ")), "sh"]).arg(executable());
    let output = shell.arg("--root").arg(tree.dir.path()).arg("write").arg(path).output().unwrap();
    for group in &groups {
        fs::remove_dir(group.parent().unwrap()).unwrap();
    }
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn progress_comes_as_json_events_and_ends_with_the_result() {
    let tree = Tree::running("1.0");
    let path = image(&tree, 64 * MIB);
    let run = tree.abide(&["write", path.to_str().unwrap(), "--progress=json"]).ok();
    let events: Vec<serde_json::Value> =
        run.stdout.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let (last, before) = events.split_last().unwrap();
    assert_eq!(
        (&last["event"], &last["version"], &last["slot"]),
        (&"staged".into(), &"2.0".into(), &"b".into())
    );
    assert_eq!((&last["bytes"], &last["schema"]), (&(64 * MIB).into(), &1.into()));
    assert!(before.iter().all(|e| e["event"] == "progress" && e["total"] == 64 * MIB));
    let done: Vec<u64> = before.iter().map(|e| e["done"].as_u64().unwrap()).collect();
    assert!(done.is_sorted() && done.last() == Some(&(64 * MIB)), "{done:?}");
    let run = tree.abide(&["write", "/no/such/image", "--progress=json"]).fails(3);
    let event: serde_json::Value = serde_json::from_str(run.stdout.trim()).unwrap();
    assert_eq!((&event["event"], &event["exit_code"]), (&"failed".into(), &3.into()));
}

#[test]
fn a_write_that_is_over_soon_says_nothing_on_the_way() {
    let tree = Tree::running("1.0");
    let path = image(&tree, 16 * MIB);
    let run = tree.abide(&["write", path.to_str().unwrap()]).ok();
    assert_eq!(run.stderr, "");
    assert!(run.stdout.contains("written and read back in"), "{}", run.stdout);
}

#[test]
fn a_signal_in_mid_write_ends_it_with_a_word_about_what_that_means() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let tree = Tree::running("1.0");
        let bytes = fs::read(image(&tree, 64 * MIB)).unwrap();
        // A test that is run in the background of a shell inherits that SIGINT is ignored.
        let mut writer = program("env")
            .arg("--default-signal")
            .arg(executable())
            .arg("--root")
            .arg(tree.dir.path())
            .args(["write", "-", "--progress=json"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = writer.stdin.take().unwrap();
        input.write_all(&bytes[..bytes.len() / 2]).unwrap();
        // Once the root is being written.
        let mut line = String::new();
        BufReader::new(writer.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains("\"progress\""), "{line}");
        kill(Pid::from_raw(i32::try_from(writer.id()).unwrap()), signal).unwrap();
        let output = writer.wait_with_output().unwrap();
        drop(input);
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&output.status), Some(signal as i32));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains("run `abide write` again"), "{stderr}");
        tree.abide(&["apply"]).fails(5);
    }
}
