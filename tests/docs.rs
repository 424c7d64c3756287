//! The documents tell the truth: their examples are run on a machine that is a folder.
//!
//! In each page, from top to bottom and on one machine:
//! - a block ```` ```console ```` holds commands after `# `, each with its output and, where it is
//!   not 0, `[exit code N]`; `…` stands for anything within a line. `systemctl reboot` boots the
//!   tree as the loader's model would. The image `edge_2.0.raw.zst` is there.
//! - a block ```` ```json COMMAND ```` is what the command answers; a text `…` stands for anything.
//! - a block ```` ```toml ```` is a configuration without mistakes. (The pages about the
//!   configuration hold parts of one, too; tests/config.rs reads these.)

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use abide::config::Config;
use serde_json::Value;
use support::tree::digest;
use support::{Image, Run, Tree};

const IMAGE: &str = "edge_2.0.raw.zst";

/// A fenced block: what stands behind the fence, and its lines.
struct Block {
    place: String,
    info: String,
    lines: Vec<String>,
}

#[test]
fn the_examples_of_every_page_do_what_they_say() {
    for page in pages() {
        let mut tree = Tree::running("1.0");
        publish(&tree);
        if page.ends_with("follow-a-feed.md") {
            follow(&tree);
        }
        for block in blocks(&page) {
            match block.info.split_once(' ').unwrap_or((&block.info, "")) {
                ("console", "") => session(&mut tree, &block),
                ("json", command) if !command.is_empty() => answer(&mut tree, command, &block),
                ("toml", _) if !page.ends_with("configuration.md") && !page.ends_with("trial.md") => {
                    Config::parse(&block.place, &block.lines.join("\n")).unwrap();
                }
                _ => {}
            }
        }
    }
}

/// The image and its checksum, and what a machine with EMT says of its own.
fn publish(tree: &Tree) {
    let image = Image::new("2.0", "b").zst();
    fs::write(tree.path(&format!("{IMAGE}.sha256sum")), format!("{}  {IMAGE}\n", digest(&image))).unwrap();
    fs::write(tree.path(IMAGE), image).unwrap();
    fs::create_dir_all(tree.path("etc")).unwrap();
    fs::write(tree.path("etc/image-id"), "IMAGE_UUID=0a1b2c\n").unwrap();
}

/// The machine follows a folder that has the image.
fn follow(tree: &Tree) {
    let feed = tree.path("srv/images");
    fs::create_dir_all(&feed).unwrap();
    let image = fs::read(tree.path(IMAGE)).unwrap();
    fs::write(feed.join(IMAGE), &image).unwrap();
    fs::write(feed.join("SHA256SUMS"), format!("{}  {IMAGE}\n", digest(&image))).unwrap();
    fs::create_dir_all(tree.path("etc/abide")).unwrap();
    fs::write(tree.path("etc/abide/abide.toml"), "[update]\nfeed = '/srv/images'\n").unwrap();
}

#[test]
fn every_command_is_described() {
    let text = fs::read_to_string(top().join("docs/reference/commands.md")).unwrap();
    let help = Tree::running("1.0").abide(&["--help"]).ok().stdout;
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names =
        commands.take_while(|line| !line.is_empty()).filter_map(|line| line.split_whitespace().next());
    for name in names.filter(|name| *name != "help") {
        assert!(
            text.contains(&format!("| `{name}")),
            "docs/reference/commands.md does not describe `{name}`"
        );
    }
}

#[test]
fn every_link_between_the_pages_leads_to_a_file() {
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or_default();
            if !file.is_empty() && !file.contains("://") {
                let file = page.parent().unwrap().join(file);
                assert!(file.exists(), "{}: no file {}", page.display(), file.display());
            }
        }
    }
}

#[test]
fn the_example_configuration_changes_nothing_and_what_it_shows_is_understood() {
    let text = fs::read_to_string(top().join("packaging/abide.toml.example")).unwrap();
    assert_eq!(Config::parse("example", &text).unwrap(), Config::default());
    let uncommented = |line: &str| line.strip_prefix('#').filter(|l| !l.starts_with(' ')).map(str::to_owned);
    let shown: Vec<String> = text.lines().filter_map(uncommented).collect();
    let shown = Config::parse("example", &shown.join("\n")).unwrap();
    assert_eq!((shown.assess, shown.checks.len()), (Config::default().assess, 3));
    assert!(shown.slots.is_some());
}

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn pages() -> Vec<PathBuf> {
    let mut pages = files(&top().join("docs"));
    pages.push(top().join("README.md"));
    pages.retain(|file| file.extension().is_some_and(|e| e == "md"));
    pages.sort();
    pages
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn blocks(page: &Path) -> Vec<Block> {
    let text = fs::read_to_string(page).unwrap();
    let mut blocks: Vec<Block> = vec![];
    let mut open = false;
    for (number, line) in text.lines().enumerate() {
        match (open, line.trim_start().strip_prefix("```")) {
            (false, Some(info)) => {
                let place = format!("{}:{}", page.strip_prefix(top()).unwrap().display(), number + 1);
                blocks.push(Block { place, info: info.to_owned(), lines: vec![] });
                open = true;
            }
            (true, Some("")) => open = false,
            (true, _) => blocks.last_mut().unwrap().lines.push(line.to_owned()),
            (false, None) => {}
        }
    }
    assert!(!open, "{}: a block is not closed", page.display());
    blocks
}

/// Runs the commands of a block and compares what they say.
fn session(tree: &mut Tree, block: &Block) {
    let mut lines = block.lines.iter().peekable();
    while let Some(line) = lines.next() {
        let command =
            line.strip_prefix("# ").unwrap_or_else(|| panic!("{}: no command: {line}", block.place));
        let mut expected = vec![];
        while let Some(line) = lines.next_if(|line| !line.starts_with("# ")) {
            expected.push(line.as_str());
        }
        let code = expected.last().and_then(|last| last.strip_prefix("[exit code ")?.strip_suffix(']'));
        let code = code.map_or(0, |code| {
            expected.pop();
            code.parse().unwrap()
        });
        let run = run(tree, command, &block.place).fails(code);
        let said = run.stdout + &run.stderr;
        let said: Vec<&str> = said.lines().collect();
        let same = said.len() == expected.len() && said.iter().zip(&expected).all(|(s, e)| fits(s, e));
        assert!(same, "{}: # {command}\n{}", block.place, said.join("\n"));
    }
}

fn answer(tree: &mut Tree, command: &str, block: &Block) {
    let expected: Value =
        serde_json::from_str(&block.lines.join("\n")).unwrap_or_else(|e| panic!("{}: {e}", block.place));
    let said = run(tree, command, &block.place).ok().json();
    assert!(same_json(&said, &expected), "{}: {command}\n{said:#}", block.place);
}

fn run(tree: &mut Tree, command: &str, place: &str) -> Run {
    let words = words(command);
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["systemctl", "reboot"] => {
            reboot(tree);
            Run { code: 0, stdout: String::new(), stderr: String::new() }
        }
        [name @ ("abide" | "os-update-tool.sh" | "os-update.sh"), rest @ ..] => {
            let file = |word: &str| match word.starts_with(IMAGE) {
                true => tree.path(word).display().to_string(),
                false => word.to_owned(),
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

/// Boots what the loader's model says, on the root that belongs to it.
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
