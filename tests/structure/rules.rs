//! Rules for single files and for the crates' dependencies.

use std::collections::BTreeSet;
use std::fs;

use crate::lexer::{Token, tokens};
use crate::source::Source;
use crate::tree::{File, Tree};
use crate::{SHIPPED, none, rust_files, top};

/// The most lines that a file may have.
const MAX_LINES: usize = 500;

/// The one file with unsafe code.
const UNSAFE: &str = "core/src/sys.rs";

/// What is wrong with a file.
pub fn faults(file: &File) -> Vec<String> {
    let File { path, lines, marks } = file;
    let at = |lines: &[usize], what: &str| {
        lines.iter().map(|line| format!("{path}:{line}: {what}")).collect::<Vec<_>>()
    };
    let mut faults = at(&marks.paths, "`#[path]`: give the file its place in the tree");
    faults.extend(at(&marks.features, "`cfg(feature)`: what only one executable needs belongs to its crate"));
    if path != UNSAFE {
        faults.extend(at(&marks.unsafe_code, &format!("`unsafe` belongs into {UNSAFE}")));
    }
    if *lines > MAX_LINES {
        faults.push(format!("{path} has {lines} lines: part it, {MAX_LINES} is the limit"));
    }
    faults
}

/// The names in one section of a Cargo.toml.
pub fn dependencies(manifest: &str, section: &str) -> Vec<String> {
    let heading = format!("[{section}]");
    let lines = manifest.lines().skip_while(|line| *line != heading).skip(1);
    let lines = lines.take_while(|line| !line.starts_with('['));
    lines.filter_map(|line| Some(line.split_once('=')?.0.trim().into())).collect()
}

/// What a crate depends on without a use outside of its tests.
pub fn unused(manifest: &str, tree: &Tree, roots: &[&str]) -> Vec<String> {
    let named: BTreeSet<&str> = roots.iter().flat_map(|root| tree.first_words(root)).collect();
    let dependencies = dependencies(manifest, "dependencies").into_iter();
    dependencies.filter(|name| !named.contains(name.replace('-', "_").as_str())).collect()
}

#[test]
fn no_file_is_long_unsafe_switched_or_out_of_place() {
    none(&SHIPPED.files.iter().flat_map(faults).collect::<Vec<_>>());
    // Tests count as lines, too.
    for folder in ["src", "core/src", "initramfs/src"] {
        for path in rust_files(&top().join(folder)) {
            let lines = fs::read_to_string(&path).unwrap().lines().count();
            assert!(lines <= MAX_LINES, "{} has {lines} lines, {MAX_LINES} is the limit", path.display());
        }
    }
}

/// The most characters of a test's name.
const MAX_NAME: usize = 72;

/// The names of the tests among these tokens.
pub fn tests(tokens: &[Token]) -> Vec<&str> {
    let mut names = Vec::new();
    let mut is_test = false;
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Group('[', words) if matches!(words.as_slice(), [word] if word.word() == "test") => {
                is_test = true
            }
            Token::Group(_, inside) => names.extend(tests(inside)),
            Token::Word(word, _) if word == "fn" && is_test => {
                names.extend(tokens.get(at + 1).map(Token::word));
                is_test = false;
            }
            _ => {}
        }
    }
    names
}

#[test]
fn a_tests_name_has_at_most_72_characters() {
    let mut wrong = Vec::new();
    for folder in ["core/src", "fuzz", "qemu/src", "src", "tests"] {
        for path in rust_files(&top().join(folder)) {
            let tokens = tokens(&fs::read_to_string(&path).unwrap()).unwrap();
            let long = tests(&tokens).into_iter().filter(|name| name.len() > MAX_NAME);
            wrong
                .extend(long.map(|name| format!("{}: {name} has {} characters", path.display(), name.len())));
        }
    }
    none(&wrong);
}

/// The one file of the tests that starts programs.
const PROCESS: &str = "tests/support/process.rs";

#[test]
fn tests_start_programs_without_the_environment_of_whoever_runs_them() {
    let mut wrong = Vec::new();
    for path in rust_files(&top().join("tests")) {
        let text = fs::read_to_string(&path).unwrap();
        let source = Source::parse(&text).unwrap();
        let path = path.strip_prefix(top()).unwrap().display().to_string();
        let starts =
            source.mentions.iter().filter(|(path, _)| path.ends_with(&["Command".into(), "new".into()]));
        if path != PROCESS {
            wrong.extend(
                starts.map(|(_, line)| format!("{path}:{line}: `Command::new`: {PROCESS} has `program`")),
            );
        }
    }
    none(&wrong);
}

#[test]
fn every_file_belongs_to_a_crate() {
    let known: BTreeSet<&str> =
        SHIPPED.files.iter().map(|file| &file.path).chain(&SHIPPED.test_files).map(String::as_str).collect();
    let mut lost = Vec::new();
    for folder in ["src", "core/src", "initramfs/src"] {
        for path in rust_files(&top().join(folder)) {
            let path = path.strip_prefix(top()).unwrap().to_str().unwrap().to_owned();
            if !known.contains(path.as_str()) {
                lost.push(format!("{path}: no `mod` names it"));
            }
        }
    }
    none(&lost);
}

#[test]
fn the_crates_use_what_they_depend_on_and_nothing_of_the_tests() {
    const CRATES: &[(&str, &[&str], &[&str])] = &[
        ("core/Cargo.toml", &["abide_core"], &[]),
        ("initramfs/Cargo.toml", &["abide_initramfs", "the initramfs executable"], &["abide-core"]),
        ("Cargo.toml", &["abide", "the executable"], &["abide-core", "abide-initramfs"]),
    ];
    let mut wrong = Vec::new();
    for (path, roots, below) in CRATES {
        let manifest = fs::read_to_string(top().join(path)).unwrap();
        let unused = unused(&manifest, &SHIPPED, roots).into_iter();
        wrong.extend(unused.map(|name| format!("{path}: {name} is used by tests at most")));
        let own =
            dependencies(&manifest, "dependencies").into_iter().filter(|name| name.starts_with("abide"));
        assert_eq!(own.collect::<Vec<_>>(), *below, "{path}");
    }
    none(&wrong);
}
