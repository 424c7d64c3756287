//! The reader finds what is put in by hand.

use std::collections::BTreeMap;

use crate::floors::House;
use crate::lexer::tokens;
use crate::source::Source;
use crate::tree::Tree;
use crate::{circles, rules};

/// A tree of these files, whose first one is `src/lib.rs` of the crate `made`.
fn tree(files: &[(&str, &str)]) -> Tree {
    let files: BTreeMap<&str, &str> = files.iter().copied().collect();
    let mut tree = Tree::default();
    tree.add("made", "src/lib.rs", &|path| files.get(path).map(|text| (*text).into())).unwrap();
    tree
}

/// The imports between these files, as `from → to`, without `src/`.
fn edges(files: &[(&str, &str)]) -> Vec<String> {
    let tree = tree(files);
    let name = |file: usize| tree.files[file].path.trim_start_matches("src/");
    tree.edges().iter().map(|edge| format!("{} → {}", name(edge.from), name(edge.to))).collect()
}

const TWO: &str = "mod a; mod b;";

#[test]
fn two_files_that_import_each_other_are_a_circle() {
    let tree = tree(&[
        ("src/lib.rs", TWO),
        ("src/a.rs", "use crate::b::B;\npub struct A;"),
        ("src/b.rs", "pub struct B;\nimpl B { fn a(&self) -> crate::a::A { todo!() } }"),
    ]);
    assert_eq!(circles::files(&tree), ["src/a.rs", "src/b.rs"]);
    let story = circles::story(&tree, "src/a.rs");
    assert_eq!(
        story.lines().collect::<Vec<_>>(),
        [
            "src/a.rs is in a circle:",
            "  src/a.rs:1 imports crate::b::B of src/b.rs",
            "  src/b.rs:2 imports crate::a::A of src/a.rs",
        ]
    );
}

#[test]
fn a_circle_of_three_is_found_and_a_diamond_is_none() {
    let lib = ("src/lib.rs", "mod a; mod b; mod c;");
    let (a, b) = (("src/a.rs", "use crate::b::f;"), ("src/b.rs", "use crate::c::g;"));
    let circle = tree(&[lib, a, b, ("src/c.rs", "fn g() { crate::a::h() }")]);
    assert_eq!(circles::files(&circle), ["src/a.rs", "src/b.rs", "src/c.rs"]);
    let diamond = tree(&[lib, ("src/a.rs", "use crate::{b::f, c::g};"), b, ("src/c.rs", "fn g() {}")]);
    assert_eq!(circles::files(&diamond), [""; 0]);
}

#[test]
fn a_folder_that_re_exports_what_imports_it_is_a_circle() {
    let lib = ("src/lib.rs", "mod a;");
    let face = "mod b;\npub use b::B;\npub const LIMIT: u8 = 1;";
    let circle = tree(&[lib, ("src/a/mod.rs", face), ("src/a/b.rs", "use super::LIMIT; pub struct B;")]);
    assert_eq!(circles::files(&circle), ["src/a/mod.rs", "src/a/b.rs"]);
}

#[test]
fn a_re_export_leads_to_the_file_that_holds_the_item() {
    let files = [
        ("src/lib.rs", TWO),
        ("src/a/mod.rs", "mod inner;\npub use inner::Thing as Other;"),
        ("src/a/inner.rs", "pub struct Thing;"),
        ("src/b.rs", "use crate::a; fn f(_: a::Other) {}"),
    ];
    assert_eq!(edges(&files), ["a/mod.rs → a/inner.rs", "b.rs → a/inner.rs"]);
}

#[test]
fn nested_imports_and_paths_in_the_code_are_read() {
    let lib = ("src/lib.rs", "mod a; mod b; mod c; mod d;");
    let rest = [("src/b.rs", ""), ("src/c.rs", ""), ("src/d/mod.rs", "mod e;"), ("src/d/e.rs", "")];
    let with = |text: &'static str| {
        let all: Vec<(&str, &str)> = [lib, ("src/a.rs", text)].into_iter().chain(rest).collect();
        edges(&all)
    };
    let three = ["a.rs → b.rs", "a.rs → c.rs", "a.rs → d/e.rs"];
    assert_eq!(with("use crate::{b::{self, X}, c::Y as Z, d::e::*};"), three);
    assert_eq!(with("pub(crate) use super::{b::X, c, d::{e}};"), three);
    assert_eq!(with("fn f() { use crate::b; b::x(); vec![made::c::Y; super::d::e::N]; }"), three);
    assert_eq!(
        with("use crate::d; fn f() -> d::e::T { println!(\"{}\", crate::b::x(&|| crate::c::Y)) }"),
        three
    );
}

#[test]
fn tests_comments_and_strings_import_nothing() {
    let text = r###"
        //! Of [`crate::b::B`].
        /* crate::b::B /* nested */ use crate::b::B; */
        const A: &[&str] = &["use crate::b::B;", r#"crate::b::B " crate::b::B"#, "\" crate::b::B"];
        fn f<'a>(x: &'a str) -> impl Sized + use<'a> { ('"', b'\'', x, "crate::b::B") }
        #[cfg(test)]
        use crate::b::B;
        #[cfg(test)]
        #[allow(dead_code)]
        pub(crate) const fn only_here() -> crate::b::B { crate::b::B }
        #[cfg(all(test, unix))]
        mod tests { use crate::b::B; }
    "###;
    assert_eq!(edges(&[("src/lib.rs", TWO), ("src/a.rs", text), ("src/b.rs", "")]), [""; 0]);
    // What follows is read again.
    let text = format!("{text}\nuse crate::b::B;");
    assert_eq!(edges(&[("src/lib.rs", TWO), ("src/a.rs", &text), ("src/b.rs", "")]), ["a.rs → b.rs"]);
}

#[test]
fn files_for_tests_are_told_from_the_others() {
    let files =
        [("src/lib.rs", "#[cfg(test)] mod a; mod b;"), ("src/a.rs", "use crate::b;"), ("src/b.rs", "")];
    let tree = tree(&files);
    assert_eq!(tree.test_files, ["src/a.rs"]);
    assert_eq!(tree.files.len(), 2);
}

#[test]
fn an_import_from_above_and_from_a_neighbour_is_found() {
    let house = House(&[&["src/lib.rs"], &["src/a"], &["src/b.rs", "src/c.rs"], &["src/a/low"]]);
    let tree = tree(&[
        ("src/lib.rs", "mod a; mod b; mod c;"),
        ("src/a/mod.rs", "mod low; mod high; use high::H; use crate::b::B;"),
        ("src/a/high.rs", "use super::low::L;"),
        ("src/a/low/mod.rs", "use crate::b::B;"),
        ("src/b.rs", "use crate::a::low::L;\nuse crate::c::C;"),
        ("src/c.rs", ""),
    ]);
    let wrong: Vec<String> = tree.edges().iter().filter_map(|edge| house.judge(edge, &tree.files)).collect();
    assert_eq!(
        wrong,
        [
            "src/a/low/mod.rs:1 imports crate::b::B: src/b.rs is above it, src/a/low must not know it",
            "src/b.rs:2 imports crate::c::C: src/c.rs is its neighbour, src/b.rs must not know it",
        ]
    );
}

#[test]
fn forbidden_words_are_found_wherever_they_stand() {
    let text = "#[path = \"x.rs\"]\nmod b;\nfn f() { unsafe { g() } }\nmod m {\n#[cfg(feature = \"full\")] fn h() {}\n}";
    let files = [("src/lib.rs", "mod a;"), ("src/a.rs", text), ("src/a/b.rs", "")];
    let faults = rules::faults(&tree(&files).files[1]);
    let places: Vec<&str> = faults.iter().filter_map(|fault| Some(fault.split_once(": ")?.0)).collect();
    assert_eq!(places, ["src/a.rs:1", "src/a.rs:5", "src/a.rs:3"], "{faults:#?}");
}

#[test]
fn a_dependency_that_only_tests_use_is_found() {
    let tree =
        tree(&[("src/lib.rs", "use serde_json::Value;\n#[cfg(test)] mod tests { use tempfile::tempdir; }")]);
    let manifest =
        "[dependencies]\nserde-json = \"1\"\ntempfile = \"3\"\n\n[dev-dependencies]\nproptest = \"1\"\n";
    assert_eq!(rules::unused(manifest, &tree, &["made"]), ["tempfile"]);
}

#[test]
fn the_names_of_tests_are_read_in_modules_and_in_macros() {
    let text =
        "#[test] fn a() {} mod m { #[test] #[ignore] pub fn b() {} fn no() {} } m! { #[test] fn c() {} }";
    assert_eq!(rules::tests(&tokens(text).unwrap()), ["a", "b", "c"]);
}

#[test]
fn a_bracket_without_its_other_half_is_an_error() {
    assert_eq!(Source::parse("fn f() {\n(\n}").unwrap_err(), "line 3: `}` closes nothing");
    assert_eq!(Source::parse("fn f() {\n").unwrap_err(), "line 1: no `}` follows");
}
