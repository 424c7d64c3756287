//! Commands of a page, run on a machine that is a folder, and their output compared.

use std::fs;

use abide_testing::tree::digest;
use abide_testing::{Image, Run, Tree, program};
use serde_json::Value;

use crate::Block;

const IMAGE: &str = "edge_2.0.raw.zst";

/// The image and its checksum, and what a machine with EMT says of its own.
pub fn publish(tree: &Tree) {
    let image = Image::new("2.0", "b").zst();
    fs::write(tree.path(&format!("{IMAGE}.sha256sum")), format!("{}  {IMAGE}\n", digest(&image))).unwrap();
    fs::write(tree.path(IMAGE), image).unwrap();
    fs::create_dir_all(tree.path("etc")).unwrap();
    fs::write(tree.path("etc/image-id"), "IMAGE_UUID=0a1b2c\n").unwrap();
}

/// The one check of the machine passes.
pub fn be_healthy(tree: &Tree) {
    fs::create_dir_all(tree.path("etc/abide")).unwrap();
    let check = "[[check]]\nname = 'image'\nkind = 'file'\npath = '/etc/image-id'\n";
    fs::write(tree.path("etc/abide/abide.toml"), check).unwrap();
}

/// The machine follows a folder that has the image.
pub fn follow(tree: &Tree) {
    let feed = tree.path("srv/images");
    fs::create_dir_all(&feed).unwrap();
    let image = fs::read(tree.path(IMAGE)).unwrap();
    fs::write(feed.join(IMAGE), &image).unwrap();
    fs::write(feed.join("SHA256SUMS"), format!("{}  {IMAGE}\n", digest(&image))).unwrap();
    fs::create_dir_all(tree.path("etc/abide")).unwrap();
    let sign = "minisign -G -W -f -p ../ours.pub -s ../ours.key >/dev/null; \
                minisign -S -s ../ours.key -m SHA256SUMS >/dev/null";
    assert!(program("sh").args(["-euc", sign]).current_dir(&feed).status().unwrap().success());
    fs::create_dir_all(tree.path("etc/abide/keys")).unwrap();
    fs::copy(tree.path("srv/ours.pub"), tree.path("etc/abide/keys/ours.pub")).unwrap();
    fs::write(tree.path("etc/abide/abide.toml"), "[update]\nfeed = '/srv/images'\n").unwrap();
}

/// Runs the commands of a block on a tree.
pub fn run(tree: &mut Tree, block: &Block) {
    compare(block, "# ", |words| command(tree, words, &block.place));
}

/// Executes each command of a block, the text behind the prompt, and compares its output and exit code.
pub fn compare(block: &Block, prompt: &str, mut execute: impl FnMut(&str) -> Run) {
    let mut lines = block.lines.iter().peekable();
    while let Some(line) = lines.next() {
        let command =
            line.strip_prefix(prompt).unwrap_or_else(|| panic!("{}: no command: {line}", block.place));
        let mut expected = vec![];
        while let Some(line) = lines.next_if(|line| !line.starts_with(prompt)) {
            expected.push(line.as_str());
        }
        let code = expected.last().and_then(|last| last.strip_prefix("[exit code ")?.strip_suffix(']'));
        let code = code.map_or(0, |code| {
            expected.pop();
            code.parse().unwrap()
        });
        let run = execute(command).fails(code);
        let output = run.stdout + &run.stderr;
        let output: Vec<&str> = output.lines().collect();
        let same = output.len() == expected.len() && output.iter().zip(&expected).all(|(o, e)| fits(o, e));
        assert!(same, "{}: {prompt}{command}\n{}", block.place, output.join("\n"));
    }
}

/// Compares the JSON that a command prints with a block.
pub fn answer(tree: &mut Tree, command: &str, block: &Block) {
    let expected: Value =
        serde_json::from_str(&block.lines.join("\n")).unwrap_or_else(|e| panic!("{}: {e}", block.place));
    let said = self::command(tree, command, &block.place).ok().json();
    assert!(same_json(&said, &expected), "{}: {command}\n{said:#}", block.place);
}

fn command(tree: &mut Tree, command: &str, place: &str) -> Run {
    let words = words(command);
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["systemctl", "reboot"] => {
            reboot(tree);
            Run { code: 0, stdout: String::new(), stderr: String::new() }
        }
        [name @ ("abide" | "os-update-tool.sh" | "os-update.sh"), rest @ ..] => {
            let file = |word: &str| {
                if word.starts_with(IMAGE) { tree.path(word).display().to_string() } else { word.to_owned() }
            };
            let rest: Vec<String> = rest.iter().map(|word| file(word)).collect();
            let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
            let run = tree.called(name, &rest);
            if tree.path("run/abide/reboot-requested").exists() {
                reboot(tree);
            }
            run
        }
        _ => panic!("{place}: `{command}` cannot be run on a tree; use a block of another kind"),
    }
}

/// Boots what the loader model says, on the root that belongs to it.
fn reboot(tree: &mut Tree) {
    let booted = tree.boot();
    let version = booted.trim_start_matches("edge_").split(['+', '_']).next().unwrap();
    let version = version.trim_end_matches(".efi").to_owned();
    tree.abide(&["initrd", "early"]).ok();
    tree.mount_sysroot(&version);
    tree.abide(&["initrd", "root"]).ok();
}

/// Words at spaces, except within double quotes.
fn words(command: &str) -> Vec<String> {
    let parts = command.split('"').enumerate();
    parts
        .flat_map(|(i, part)| match i % 2 {
            0 => part.split_whitespace().map(Into::into).collect::<Vec<String>>(),
            _ => vec![part.to_owned()],
        })
        .collect()
}

/// Whether a line is the expected one, in which `…` stands for anything.
fn fits(line: &str, expected: &str) -> bool {
    let mut parts = expected.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

/// Whether two values are the same, fields in any order, where the text `…` stands for anything.
fn same_json(said: &Value, expected: &Value) -> bool {
    match (said, expected) {
        (_, Value::String(any)) if any == "…" => true,
        (Value::Object(said), Value::Object(expected)) => {
            said.len() == expected.len()
                && expected.iter().all(|(key, value)| said.get(key).is_some_and(|s| same_json(s, value)))
        }
        (Value::Array(said), Value::Array(expected)) => {
            said.len() == expected.len() && said.iter().zip(expected).all(|(s, e)| same_json(s, e))
        }
        _ => said == expected,
    }
}

#[test]
fn an_ellipsis_stands_for_anything_within_a_line() {
    assert!(fits("a b c", "a … c") && fits("abc", "abc") && fits("abc", "a…"));
    assert!(!fits("a b d", "a … c") && !fits("abcd", "abc") && !fits("xabc", "abc"));
}
