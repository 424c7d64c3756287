//! The documentation is true: its examples are run, its links lead somewhere, and everything that a user can
//! type or read is described.
//!
//! In each page, from top to bottom and on one machine that is a folder:
//! - a block ```` ```console ```` has commands after `# `, each with its output and, if it is not 0,
//!   `[exit code N]`; `…` stands for anything within a line. `systemctl reboot` boots the tree as the loader
//!   model would. The image `edge_2.0.raw.zst` is there.
//! - a block ```` ```json COMMAND ```` is the output of the command; a text `…` stands for anything.
//! - a block ```` ```toml ```` is a configuration without mistakes.
//!
//! The tutorial is run by a shell instead, as a reader would.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod described;
mod links;
mod session;
mod tpm;
mod tutorial;

use std::fs;
use std::path::{Path, PathBuf};

use abide::config::Config;
use abide_testing::Tree;

/// A fenced block: what stands behind the fence, and its lines.
struct Block {
    place: String,
    info: String,
    lines: Vec<String>,
}

#[test]
fn the_examples_of_every_page_do_what_they_say() {
    for page in pages().iter().filter(|page| !page.ends_with(tutorial::PAGE)) {
        let mut tree = Tree::running("1.0");
        session::publish(&tree);
        if page.ends_with("follow-a-feed.md") {
            session::follow(&tree);
        }
        if page.ends_with("how-to/emt.md") {
            session::be_healthy(&tree);
        }
        for block in blocks(page) {
            match block.info.split_once(' ').unwrap_or((&block.info, "")) {
                ("console", "") => session::run(&mut tree, &block),
                ("json", command) if !command.is_empty() => session::answer(&mut tree, command, &block),
                // The fragments on this page need the rest of a configuration; tests/config.rs reads them.
                ("toml", _) if !page.ends_with("configuration.md") => {
                    Config::parse(&block.place, &block.lines.join("\n")).unwrap();
                }
                _ => {}
            }
        }
    }
}

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A page below the top folder.
fn page(name: &str) -> String {
    fs::read_to_string(top().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// All pages: those at the top, and those below `docs`.
fn pages() -> Vec<PathBuf> {
    let mut pages = files(&top().join("docs"));
    pages.extend(fs::read_dir(top()).unwrap().map(|entry| entry.unwrap().path()));
    pages.retain(|file| file.extension().is_some_and(|e| e == "md"));
    pages.sort();
    pages
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// A path below the top folder.
fn short(path: &Path) -> String {
    path.strip_prefix(top()).unwrap_or(path).display().to_string()
}

fn blocks(page: &Path) -> Vec<Block> {
    let text = fs::read_to_string(page).unwrap();
    let mut blocks: Vec<Block> = vec![];
    let mut open = false;
    for (number, line) in text.lines().enumerate() {
        match (open, line.trim_start().strip_prefix("```")) {
            (false, Some(info)) => {
                let place = format!("{}:{}", short(page), number + 1);
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
