//! The index, the links, and the width of the lines.

use std::fs;
use std::path::{Path, PathBuf};

use abide_testing::program;

use crate::{files, page, pages, short, top};

const INDEX: &str = "docs/README.md";
/// In characters, as CONTRIBUTING.md says.
const WIDTH: usize = 100;

#[test]
fn every_page_is_linked_from_the_index() {
    let linked: Vec<PathBuf> =
        links(&page(INDEX)).iter().map(|target| resolve(&top().join(INDEX), target)).collect();
    for page in pages().iter().filter(|page| !page.ends_with(INDEX)) {
        assert!(linked.contains(page), "{INDEX} does not link {}", short(page));
    }
    assert!(
        links(&page("README.md")).iter().any(|target| target == INDEX),
        "README.md does not link {INDEX}"
    );
}

#[test]
fn every_relative_link_leads_to_a_file_and_a_heading() {
    for page in pages() {
        check(&page);
    }
}

#[test]
fn every_link_works_where_the_pages_are_installed() {
    let tree = tempfile::tempdir().unwrap();
    let destination = format!("DESTDIR={}", tree.path().display());
    let make = program("make").current_dir(top()).args(["-s", "install-docs", &destination]).output();
    let make = make.unwrap();
    assert!(make.status.success(), "{}", String::from_utf8_lossy(&make.stderr));
    let installed = crate::files(&tree.path().join("usr/share/doc/abide"));
    let installed: Vec<&PathBuf> =
        installed.iter().filter(|file| file.extension().is_some_and(|e| e == "md")).collect();
    assert_eq!(installed.len(), pages().len());
    installed.into_iter().for_each(|page| check(page));
}

#[test]
fn every_unit_names_a_page_that_is_installed() {
    let units = crate::files(&top().join("systemd-units"));
    for unit in units {
        let text = fs::read_to_string(&unit).unwrap();
        for url in text.lines().filter_map(|line| line.strip_prefix("Documentation=")) {
            let file = url.strip_prefix("file:///usr/share/doc/abide/");
            let file = file.unwrap_or_else(|| panic!("{}: {url}", short(&unit)));
            assert!(top().join(file).exists(), "{}: no page {file}", short(&unit));
        }
    }
}

#[test]
fn prose_is_wrapped_at_one_width() {
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let mut code = false;
        for (number, line) in text.lines().enumerate() {
            code ^= line.trim_start().starts_with("```");
            // A table's row, a link's target and a comment cannot be wrapped.
            let fixed = ["|", "[", "<!--"].iter().any(|begin| line.starts_with(begin));
            let width = line.chars().count();
            let place = format!("{}:{}", short(&page), number + 1);
            assert!(code || fixed || width <= WIDTH, "{place}: {width} characters");
        }
    }
}

#[test]
fn every_path_that_a_page_for_contributors_names_exists() {
    let contributors = |page: &&PathBuf| {
        page.ends_with("CONTRIBUTING.md") || page.starts_with(top().join("docs/contributing"))
    };
    for page in pages().iter().filter(contributors) {
        for path in paths(&fs::read_to_string(page).unwrap()) {
            assert!(top().join(&path).exists(), "{}: no file or folder {path}", short(page));
        }
    }
}

/// The paths that a text names as code; not patterns, commands, and what a build makes.
fn paths(text: &str) -> Vec<String> {
    let prose = prose(text);
    let words = prose.split('`').skip(1).step_by(2).filter(|word| word.contains('/'));
    words
        .filter(|word| !word.contains([' ', '*']) && !word.starts_with("target/"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_path_is_what_a_text_names_as_code_and_a_checkout_has() {
    let text = "`src/a.rs` and/or `b.rs`\n\n```sh\ncat `core/b`\n```\n\n`tests/*.rs`, `ls qemu/guest`, `target/x`, \
        `c/`\n";
    assert_eq!(paths(text), ["src/a.rs", "c/"]);
}

/// Fails if a relative link of a page leads nowhere.
fn check(page: &Path) {
    let text = fs::read_to_string(page).unwrap();
    for target in links(&text) {
        let file = resolve(page, &target);
        assert!(file.exists(), "{}: no file {target}", short(page));
        if let Some((_, anchor)) = target.split_once('#') {
            let headings = headings(&fs::read_to_string(&file).unwrap());
            assert!(headings.iter().any(|h| h == anchor), "{}: no heading for {target}", short(page));
        }
    }
}

/// The targets of all relative links, outside of code.
fn links(text: &str) -> Vec<String> {
    let prose = prose(text);
    let targets = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.filter(|target| !target.contains("://")).map(str::to_owned).collect()
}

/// The text without fenced blocks.
fn prose(text: &str) -> String {
    text.split("\n```").step_by(2).collect::<Vec<_>>().join("\n")
}

/// The file that a link on a page leads to.
fn resolve(page: &Path, target: &str) -> PathBuf {
    let file = target.split('#').next().unwrap_or_default();
    if file.is_empty() {
        return page.to_path_buf();
    }
    let mut path = page.parent().unwrap().to_path_buf();
    for part in file.split('/') {
        match part {
            "." => {}
            ".." => {
                path.pop();
            }
            name => path.push(name),
        }
    }
    path
}

/// The anchors of a page's headings, as GitHub makes them.
fn headings(text: &str) -> Vec<String> {
    let mut anchors: Vec<String> = vec![];
    for line in prose(text).lines().filter(|line| line.starts_with('#')) {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let title = title.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
        let anchor: String = title.map(|c| if c == ' ' { '-' } else { c }).collect();
        let same = anchors.iter().filter(|known| **known == anchor).count();
        anchors.push(if same == 0 { anchor } else { format!("{anchor}-{same}") });
    }
    anchors
}

#[test]
fn an_anchor_is_made_as_github_makes_it() {
    let text =
        "# A page\n\n## `[update.window]`: when\n\n## It's `a_b`, too\n\n```sh\n# code\n```\n\n## A page\n";
    assert_eq!(headings(text), ["a-page", "updatewindow-when", "its-a_b-too", "a-page-1"]);
}

/// The claims of this page are those that have a test.
#[test]
fn every_test_that_the_page_about_trust_names_exists() {
    let code: Vec<String> = ["tests", "src", "core/src"]
        .iter()
        .flat_map(|folder| files(&top().join(folder)))
        .filter(|file| file.extension().is_some_and(|e| e == "rs"))
        .map(|file| fs::read_to_string(file).unwrap())
        .collect();
    let text = page("docs/explanation/trust.md");
    let named: Vec<&str> =
        text.split('`').skip(1).step_by(2).filter(|word| word.matches('_').count() > 3).collect();
    assert!(named.len() > 30, "{named:?}");
    for name in named {
        assert!(code.iter().any(|text| text.contains(&format!("fn {name}()"))), "there is no test {name}");
    }
}
