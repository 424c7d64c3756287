//! Disks made up from a seed: whatever an administrator, an image builder or an accident may have
//! left where the loader looks.

use std::collections::BTreeSet;

use abide_qemu::pe::{append_sections, executable};
use abide_qemu::small_disk::File;
use abide_testing::dice::Dice;

use super::judged::Tree;

/// Text between the last `+` and the suffix, and what is none.
const COUNTERS: [&str; 30] = [
    "",
    "",
    "",
    "",
    "",
    "",
    "+3",
    "+3-0",
    "+2-1",
    "+1-2",
    "+0-3",
    "+0-3",
    "+0",
    "+0-0",
    "+003-000",
    "+01-1",
    "+10-0",
    "+2147483647",
    "+1-2147483647",
    "+2147483648",
    "+1-2147483648",
    "+99999999999999999999",
    "+x",
    "+",
    "+1-",
    "-1",
    "+0x4",
    "+1-0x3",
    "+1-2-3",
    "+1+2-0",
];

const VERSION_PARTS: [&str; 12] = ["0", "1", "2", "10", "007", ".", ".", "-", "_", "~", "^", "rc"];

/// The disk of a seed.
pub fn generate(seed: u64) -> Tree {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    // The first numbers of seeds that lie close together are alike.
    for _ in 0..4 {
        dice.roll(2);
    }
    let dice = &mut dice;
    let mut names = Names::default();
    let mut esp =
        vec![file("EFI/systemd/systemd-bootx64.efi", b"The judge brings the loader along.".to_vec())];
    let count = 1 + dice.roll(6);
    entries(dice, &mut names, &mut esp, count);
    let mut xbootldr = dice.happens(25).then(|| {
        let mut files = Vec::new();
        let mut others = Names { ids: names.ids.clone(), ..Names::default() };
        let count = 1 + dice.roll(3);
        entries(dice, &mut others, &mut files, count);
        names.ids = others.ids;
        files
    });
    if dice.happens(50) {
        esp.push(file("loader/loader.conf", loader_conf(dice, &names.ids).into_bytes()));
    }
    let variables = variables(dice, &names.ids);
    // What is cut off cannot be loaded, but still be read by the loader.
    let mut broken = Vec::new();
    let partitions =
        [("esp", &mut esp)].into_iter().chain(xbootldr.iter_mut().map(|files| ("xbootldr", files)));
    for (partition, file) in
        partitions.flat_map(|(name, files)| files.iter_mut().map(move |file| (name, file)))
    {
        let is_program = file.path.to_lowercase().ends_with(".efi") && file.content.starts_with(b"MZ");
        if is_program && dice.happens(6) {
            file.content.truncate(file.content.len() - 512);
            broken.push(format!("{partition}:{}", file.path));
        }
    }
    Tree { esp, xbootldr, variables, broken }
}

fn file(path: &str, content: Vec<u8>) -> File {
    File { path: path.to_owned(), content, read_only: false }
}

/// Names that are taken: FAT knows no case.
#[derive(Default)]
struct Names {
    files: BTreeSet<String>,
    /// What settings may name.
    ids: Vec<String>,
    programs: usize,
}

fn entries(dice: &mut Dice, names: &mut Names, files: &mut Vec<File>, count: usize) {
    let mut last = String::new();
    for _ in 0..count {
        let is_uki = dice.happens(60);
        // Sometimes another form of the entry before.
        let stem = if !last.is_empty() && dice.happens(20) { last.clone() } else { stem(dice) };
        last.clone_from(&stem);
        let counter = dice.pick(&COUNTERS);
        let suffix = match is_uki {
            true => dice.pick(&[".efi", ".efi", ".efi", ".EFI", ".Efi"]),
            false => dice.pick(&[".conf", ".conf", ".conf", ".CONF"]),
        };
        let name = format!("{stem}{counter}{suffix}");
        if !names.files.insert(name.to_lowercase()) {
            continue;
        }
        names.ids.extend([format!("{stem}{suffix}"), name.clone()]);
        let read_only = dice.happens(8);
        let (path, content) = match is_uki {
            true => (format!("EFI/Linux/{name}"), uki(dice, &stem)),
            false => (format!("loader/entries/{name}"), conf(dice, names, files).into_bytes()),
        };
        files.push(File { path, content, read_only });
    }
}

fn stem(dice: &mut Dice) -> String {
    match dice.roll(20) {
        0 => dice
            .pick(&["auto-edge", "AUTO-edge", ".edge", "a b", "edge+1", "grün", "x@1", "edge.efi"])
            .to_owned(),
        _ => format!(
            "{}_{}",
            dice.pick(&["edge", "edge", "core", "Edge"]),
            dice.words(&["1", "2", ".0", "_2", "-2", "rc"], 2)
        ),
    }
}

/// A version as an image may have it.
fn version(dice: &mut Dice) -> String {
    dice.words(&VERSION_PARTS, 4)
}

fn quoted(dice: &mut Dice, text: &str) -> String {
    match dice.roll(8) {
        0 => format!("'{text}'"),
        1 | 2 => format!("\"{text}\""),
        _ => text.to_owned(),
    }
}

fn uki(dice: &mut Dice, stem: &str) -> Vec<u8> {
    let mut release = String::new();
    if dice.happens(95) {
        release += &format!("PRETTY_NAME=\"The {stem}\"\n");
    }
    for (chance, key) in [(80, "IMAGE_ID"), (50, "ID")] {
        if dice.happens(chance) {
            let id = dice.pick(&["edge", "edge", "core", "Edge"]);
            release += &format!("{key}={}\n", quoted(dice, id));
        }
    }
    for (chance, key) in [(70, "IMAGE_VERSION"), (20, "VERSION"), (40, "VERSION_ID"), (15, "BUILD_ID")] {
        if dice.happens(chance) {
            let version = version(dice);
            release += &format!("{key}={}\n", quoted(dice, &version));
        }
    }
    let mut sections: Vec<(&str, Vec<u8>)> =
        vec![(".cmdline", b"quiet".to_vec()), (".linux", b"no kernel".to_vec())];
    if dice.happens(95) {
        sections.insert(0, (".osrel", release.into_bytes()));
    }
    if dice.happens(12) {
        for n in 0..2 + dice.roll(2) {
            let id = if dice.happens(70) { format!("ID=Profile{n}\n") } else { String::new() };
            sections.push((".profile", format!("{id}TITLE=Number {n}\n").into_bytes()));
        }
    }
    // Where a file is cut off, that is in the kernel, not in the texts.
    sections.push((".dtbauto", b"nothing".to_vec()));
    let sections: Vec<(&str, &[u8])> =
        sections.iter().map(|(name, content)| (*name, content.as_slice())).collect();
    let bytes = append_sections(&executable(&[0xc3]), &sections).unwrap();
    // Some accident.
    if dice.happens(3) { bytes[..bytes.len() / 4].to_vec() } else { bytes }
}

fn conf(dice: &mut Dice, names: &mut Names, files: &mut Vec<File>) -> String {
    names.programs += 1;
    let program = format!("programs/{}.efi", names.programs);
    let mut lines = vec!["# made up".to_owned()];
    for (chance, key, values) in [
        (80, "title", &["The OS", "Edge 1", "\"Quoted\""][..]),
        (60, "sort-key", &["edge", "core", "Edge", "\"edge\"", "'edge'"]),
        (40, "machine-id", &["0123456789abcdef0123456789abcdef", "00000000000000000000000000000001", "x"]),
    ] {
        if dice.happens(chance) {
            lines.push(format!("{key} {}", dice.pick(values)));
        }
    }
    if dice.happens(70) {
        let version = version(dice);
        lines.push(format!("version  {version}"));
    }
    let key = dice.pick(&["efi", "linux", "linux", "uki", "uki-url"]);
    if key == "uki-url" {
        lines.push("uki-url http://example.org/edge.efi".to_owned());
    } else {
        let separator = dice.pick(&["/", "\\"]);
        lines.push(format!("{key} {}", format!("/{program}").replace('/', separator)));
        // Now and then it is not there.
        if dice.happens(95) {
            let kernel =
                append_sections(&executable(&[0xc3]), &[(".osrel", b"ID=x\nNAME=x\n"), (".linux", b"x")]);
            files.push(file(&program, kernel.unwrap()));
        }
    }
    if dice.happens(10) {
        lines.push(format!("profile {}", dice.pick(&["0", "1", "1", "x"])));
    }
    for (chance, line) in [
        (5, "linux /programs/1.efi"),
        (5, "architecture aa64"),
        (10, "architecture X64"),
        (50, "options  quiet  ro"),
    ] {
        if dice.happens(chance) {
            lines.push(line.to_owned());
        }
    }
    lines.push(String::new());
    lines.join(dice.pick(&["\n", "\n", "\r\n"]))
}

/// A pattern that may match something.
fn pattern(dice: &mut Dice, ids: &[String]) -> String {
    let some = ids.get(dice.roll(ids.len().max(1))).cloned().unwrap_or_default();
    match dice.roll(14) {
        0 => "*".to_owned(),
        1 => "edge*".to_owned(),
        2 => "EDGE_*.efi".to_owned(),
        3 => "core_?*".to_owned(),
        4 => "*[0-1].efi".to_owned(),
        5 => "*.conf".to_owned(),
        6 => dice
            .pick(&["@saved", "@SAVED", "@current", "nothing*", "[", "*\\", "edge_[12]*", "*@profile1"])
            .to_owned(),
        7 => some.to_uppercase(),
        8 => some.to_lowercase(),
        9 => format!("{}*", some.chars().take(6).collect::<String>()),
        _ => some,
    }
}

fn loader_conf(dice: &mut Dice, ids: &[String]) -> String {
    let mut lines = vec!["#timeout 3".to_owned()];
    for (chance, key) in [(60, "default"), (30, "preferred"), (10, "default")] {
        if dice.happens(chance) {
            let pattern = pattern(dice, ids);
            let blank = dice.pick(&[" ", "\t", "   "]);
            lines.push(format!("{key}{blank}{}", quoted(dice, &pattern)));
        }
    }
    if dice.happens(20) {
        lines.push("editor no".to_owned());
    }
    lines.push(String::new());
    lines.join("\n")
}

fn variables(dice: &mut Dice, ids: &[String]) -> Vec<(String, String)> {
    let mut variables = Vec::new();
    for (chance, name) in [
        (20, "LoaderEntryOneShot"),
        (20, "LoaderEntryPreferred"),
        (25, "LoaderEntryDefault"),
        (40, "LoaderEntryLastBooted"),
    ] {
        if dice.happens(chance) {
            let value = match name {
                "LoaderEntryLastBooted" => ids.get(dice.roll(ids.len().max(1))).cloned().unwrap_or_default(),
                _ => pattern(dice, ids),
            };
            if !value.is_empty() {
                variables.push((name.to_owned(), value));
            }
        }
    }
    variables
}
