//! systemd's own tools as judges of the model: `systemd-analyze compare-versions`
//! for versions, `bootctl list` for entries and their order.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use abide_core::boot::model::{order, version};
use abide_core::boot::{Access, BootDirs, LoaderVars, Quirks};
use abide_core::root::Root;
use abide_testing::dice::Dice;
use abide_testing::process::downloader;
use abide_testing::program;
use abide_testing::skip::skipped;
use abide_testing::uki as fixture;
use serde_json::Value;

#[test]
fn versions_compare_as_systemd_analyze_says() {
    if !works("systemd-analyze") {
        return skipped("the order of versions", "no systemd-analyze (package systemd)");
    }
    let parts = ["0", "1", "2", "10", "007", "a", "b", "rc", ".", "-", "_", "^", "~", "+"];
    let mut dice = Dice(1);
    for _ in 0..200 {
        // The tool wants no version that begins with a `-`.
        let [a, b] = [(); 2].map(|()| format!("0{}", dice.words(&parts, 6)));
        let is = |operator: &str| {
            let judge = program("systemd-analyze").args(["compare-versions", &a, operator, &b]).status();
            judge.unwrap().success()
        };
        let judged = match (is("lt"), is("gt")) {
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            _ => Ordering::Equal,
        };
        assert_eq!(version::compare(&a, &b), judged, "{a} and {b}");
    }
}

/// Whether this program of systemd can be started here.
fn works(name: impl AsRef<OsStr>) -> bool {
    program(name).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// `bootctl` of this system or, since Debian's package would install a boot loader with it,
/// the one out of that package, unpacked below `target/`; or why there is none.
fn bootctl() -> Result<PathBuf, String> {
    if works("bootctl") {
        return Ok("bootctl".into());
    }
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bootctl");
    let path = dir.join("usr/bin/bootctl");
    if !works(&path) {
        fs::create_dir_all(&dir).map_err(|error| format!("cannot create {}: {error}", dir.display()))?;
        let script = "version=$(dpkg-query -W -f '${Version}' systemd); \
            apt-get download -q systemd-boot=$version || apt-get download -q systemd-boot || \
            { apt-get update -q; apt-get download -q systemd-boot; }; dpkg -x systemd-boot_*.deb .";
        let done = downloader("sh").args(["-euc", script]).current_dir(&dir).output().unwrap();
        if !works(&path) {
            let text = String::from_utf8_lossy(&done.stderr);
            let cause = text.lines().last().unwrap_or("it does not start here");
            return Err(format!("no bootctl (package systemd-boot): {cause}"));
        }
    }
    Ok(path)
}

/// An ESP with entries of both types, no two with one id. (bootctl wants XBOOTLDR on a
/// device of its own.)
fn plant(dice: &mut Dice, dir: &Path) {
    let path = dir.join("efi");
    for folder in ["EFI/Linux", "loader/entries"] {
        fs::create_dir_all(path.join(folder)).unwrap();
    }
    fs::write(path.join("linux"), "x").unwrap();
    let mut ids = BTreeSet::new();
    for _ in 0..2 + dice.roll(7) {
        let stem =
            format!("{}_{}", dice.pick(&["edge", "core"]), dice.words(&["1", "2", ".", "_2", "-2", "rc"], 3));
        let is_uki = dice.roll(3) > 0;
        if !ids.insert((stem.clone(), is_uki)) {
            continue;
        }
        let counter = dice.pick(&["", "", "+3", "+2-1", "+0-3", "+0", "+003-0", "+x", "+1-", "-1"]);
        let key = dice.pick(&["edge", "core", ""]);
        let version = dice.words(&["0", "1", "2", ".", "_", "~", "-", "^", "a"], 4);
        if is_uki {
            let id = if key.is_empty() { String::new() } else { format!("IMAGE_ID={key}\n") };
            let osrel = format!("{id}PRETTY_NAME=\"The {stem}\"\nIMAGE_VERSION=0{version}\n");
            let sections = [(".osrel", osrel.as_bytes()), (".cmdline", &b"quiet"[..])];
            fs::write(path.join(format!("EFI/Linux/{stem}{counter}.efi")), fixture::pe(0x8664, &sections))
                .unwrap();
        } else {
            let key = if key.is_empty() { String::new() } else { format!("sort-key {key}\n") };
            let machine = dice.pick(&["", "", "machine-id 0123456789abcdef0123456789abcdef\n"]);
            let text =
                format!("title The {stem}\n{key}{machine}version 0{version}\nlinux /linux\noptions a  b\n");
            fs::write(path.join(format!("loader/entries/{stem}{counter}.conf")), text).unwrap();
        }
    }
}

/// What both say of an entry, in words.
type Told = (String, PathBuf, Option<String>, Option<String>, Option<String>, Option<(u64, u64)>);

fn told_by_bootctl(bootctl: &Path, dir: &Path) -> Vec<Told> {
    let output = program(bootctl)
        .args(["list", "--json=short", "--no-pager"])
        .env("SYSTEMD_ESP_PATH", dir.join("efi"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let values = serde_json::Deserializer::from_str(&text).into_iter::<Value>().map(Result::unwrap);
    // Before 254 one object after the other, then one array.
    let flat = values.flat_map(|v| match v {
        Value::Array(all) => all,
        one => vec![one],
    });
    flat.filter(|v| v["path"].is_string())
        .map(|v| {
            let text = |key: &str| v[key].as_str().map(str::to_owned);
            let tries = v["triesLeft"].as_u64().map(|left| (left, v["triesDone"].as_u64().unwrap_or(0)));
            (
                text("id").unwrap(),
                text("path").unwrap().into(),
                text("title"),
                text("sortKey"),
                text("version"),
                tries,
            )
        })
        .collect()
}

fn told_by_the_model(dir: &Path) -> Vec<Told> {
    let dirs = BootDirs::find(&Root::at(dir), &LoaderVars::default(), Access::Read).unwrap();
    order::order(&dirs.entries(&Quirks::NEWEST).unwrap(), &Quirks::NEWEST)
        .into_iter()
        .map(|e| {
            let tries = e.name.counter().map(|c| (u64::from(c.left), u64::from(c.done)));
            (e.id(), dir.join("efi").join(e.path()), e.title, e.sort_key, e.version, tries)
        })
        .collect()
}

/// Where bootctl and the loader differ by design or by mistake, the trees have no such entries:
/// capitals (bootctl folds no ids), one id twice (its comparison of counters is never reached),
/// names with `~` (it refuses them) or `auto-` (it lists them), Type #1 entries whose files are not there (it lists
/// them, too), counters beyond an `int` (it refuses the whole file).
#[test]
fn entries_and_their_order_are_those_of_bootctl() {
    let bootctl = match bootctl() {
        Ok(bootctl) => bootctl,
        Err(why) => return skipped("the order of entries", &why),
    };
    let mut counted = 0;
    for seed in 0..100 {
        let dir = tempfile::tempdir().unwrap();
        plant(&mut Dice(seed), dir.path());
        let judged = told_by_bootctl(&bootctl, dir.path());
        assert_eq!(told_by_the_model(dir.path()), judged, "tree of seed {seed}");
        counted += judged.len();
    }
    assert!(counted > 300, "bootctl saw {counted} entries only");
}
