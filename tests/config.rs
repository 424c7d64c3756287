//! The configuration as the command reads it: files, order, fragments, masks, mistakes.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use abide::config::{CheckKind, Config};
use abide_core::config::OnFailure;
use abide_testing::{Run, Tree};

fn write(tree: &Tree, path: &str, text: &str) {
    let path = tree.path(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn load(tree: &Tree) -> Config {
    Config::load(&tree.root(), None).unwrap()
}

#[test]
fn without_any_file_the_defaults_hold() {
    assert_eq!(load(&Tree::running("1.0")), Config::default());
}

#[test]
fn the_administrators_file_changes_single_keys_of_the_vendors() {
    let tree = Tree::running("1.0");
    write(&tree, "usr/lib/abide/abide.toml", "[assess]\ntest_window = '5min'\ntries = 5\n");
    write(&tree, "etc/abide/abide.toml", "[assess]\ntries = 2\n");
    let assess = load(&tree).assess;
    assert_eq!((assess.test_window, assess.tries), (Duration::from_secs(300), 2));
}

#[test]
fn fragments_are_read_by_name_whatever_folder_they_are_in() {
    let tree = Tree::running("1.0");
    write(&tree, "etc/abide/abide.toml", "[assess]\ntries = 1\n");
    write(&tree, "etc/abide/abide.d/10-first.toml", "[assess]\ntries = 2\non_failure = 'retry'\n");
    write(&tree, "usr/lib/abide/abide.d/20-second.toml", "[assess]\ntries = 3\n");
    write(&tree, "etc/abide/abide.d/30-no.conf", "not even TOML");
    let assess = load(&tree).assess;
    assert_eq!((assess.tries, assess.on_failure), (3, OnFailure::Retry));
}

#[test]
fn of_fragments_with_one_name_etc_wins_over_run_over_usr() {
    let tree = Tree::running("1.0");
    for (folder, tries) in [("usr/lib", 1), ("run", 2), ("etc", 3)] {
        write(&tree, &format!("{folder}/abide/abide.d/x.toml"), &format!("[assess]\ntries = {tries}\n"));
        assert_eq!(load(&tree).assess.tries, tries);
    }
}

#[test]
fn an_update_brings_its_own_test_window_and_checks() {
    let mut tree = Tree::running("1.0");
    write(&tree, "etc/abide/abide.toml", "[assess]\ntest_window = '10min'\n");
    tree.stage("2.0", "b");
    tree.abide(&["apply"]).ok();
    tree.boot_with_initrd("2.0");
    // The root of 2.0.
    let fragment = "[assess]\ntest_window = '1s'\ndeadline = '30s'\n\
                    [[check]]\nname = 'new'\nkind = 'file'\npath = '/new'\n";
    write(&tree, "usr/lib/abide/abide.d/20-edge.toml", fragment);
    let shown = tree.abide(&["config"]).ok().stdout;
    let place = tree.path("usr/lib/abide/abide.d/20-edge.toml").display().to_string();
    assert!(shown.contains(&format!("# {place}:2\n")), "{shown}");
    write(&tree, "new", "");
    tree.abide(&["assess"]).ok();
    assert_eq!(tree.status()["checks"][0]["name"], "new");
}

#[test]
fn what_is_in_force_is_shown_with_its_place() {
    let tree = Tree::running("1.0");
    write(&tree, "etc/abide/abide.toml", "[assess]\n\ntries = 2\n");
    let shown = tree.abide(&["config", "--json"]).ok().json();
    let setting = |key: &str| {
        let settings = shown["settings"].as_array().unwrap();
        settings.iter().find(|s| s["table"] == "assess" && s["key"] == key).unwrap().clone()
    };
    assert_eq!(setting("tries")["value"], 2);
    let file = tree.path("etc/abide/abide.toml");
    assert_eq!(setting("tries")["from"], format!("{}:3", file.display()));
    assert_eq!(setting("deadline")["from"], "default");
    write(&tree, "etc/abide/abide.toml", "[assess]\ntris = 2\n");
    tree.abide(&["config"]).fails(2);
}

#[test]
fn a_link_to_dev_null_masks_a_fragment() {
    let tree = Tree::running("1.0");
    write(&tree, "usr/lib/abide/abide.d/x.toml", "[assess]\ntries = 7\n");
    fs::create_dir_all(tree.path("etc/abide/abide.d")).unwrap();
    symlink("/dev/null", tree.path("etc/abide/abide.d/x.toml")).unwrap();
    assert_eq!(load(&tree).assess.tries, Config::default().assess.tries);
}

#[test]
fn a_fragment_changes_one_key_of_a_check_and_switches_another_off() {
    let tree = Tree::running("1.0");
    write(
        &tree,
        "usr/lib/abide/abide.toml",
        "[[check]]\nname = 'app'\nkind = 'unit'\nunits = 'app.service'\ninterval = '1min'\n\
         [[check]]\nname = 'net'\nkind = 'network'\n",
    );
    write(
        &tree,
        "etc/abide/abide.d/site.toml",
        "[[check]]\nname = 'app'\ninterval = '5s'\n[[check]]\nname = 'net'\nenabled = false\n",
    );
    let checks = load(&tree).checks;
    assert_eq!(checks.len(), 1);
    assert_eq!(checks[0].interval, Duration::from_secs(5));
    assert!(matches!(&checks[0].kind, CheckKind::Unit(unit) if unit.units == ["app.service"]));
}

#[test]
fn the_config_option_replaces_the_main_files_but_not_the_fragments() {
    let tree = Tree::running("1.0");
    write(&tree, "etc/abide/abide.toml", "[assess]\ntries = 1\n");
    write(&tree, "etc/abide/abide.d/x.toml", "[assess]\non_failure = 'retry'\n");
    write(&tree, "tmp/mine.toml", "[assess]\ntest_window = '1min'\n");
    let assess = Config::load(&tree.root(), Some(&tree.path("tmp/mine.toml"))).unwrap().assess;
    assert_eq!((assess.tries, assess.on_failure), (Config::default().assess.tries, OnFailure::Retry));
    assert_eq!(assess.test_window, Duration::from_secs(60));
}

#[test]
fn a_mistake_is_an_error_of_usage_that_names_file_line_and_remedy() {
    let tree = Tree::running("1.0");
    write(&tree, "etc/abide/abide.d/site.toml", "[assess]\n\ntest_windw = '5min'\n");
    let run = tree.abide(&["check"]).fails(2);
    let file = tree.path("etc/abide/abide.d/site.toml");
    assert_eq!(
        run.stderr,
        format!(
            "abide: {}:3: unknown key 'test_windw' in [assess]; did you mean 'test_window'?\n",
            file.display()
        )
    );
}

#[test]
fn a_file_that_was_named_and_is_not_there_is_an_error() {
    let tree = Tree::running("1.0");
    let run = tree.abide(&["--config", "/no/such.toml", "check"]).fails(2);
    assert!(run.stderr.starts_with("abide: /no/such.toml: cannot read"), "{}", run.stderr);
}

#[test]
fn every_mistake_in_a_check_is_told_with_its_line() {
    for (keys, problem) in [
        ("kind = 'unit'", "f:1: [[check]]: needs units = [\"app.service\"]"),
        ("kind = 'unit'\nunits = 'app'", "f:4: units: 'app' is not the name of a unit"),
        ("kind = 'untit'", "f:3: kind: 'untit' is not known; did you mean 'unit'?"),
        ("kind = 'network'\nconnect = 'host'", "f:4: connect: 'host' is not HOST:PORT"),
        ("kind = 'command'", "f:1: [[check]]: needs command"),
        ("kind = 'system'\ntimeout = 'infinity'", "f:4: timeout: must be a finite span of time"),
        ("kind = 'system'\ntimeout = 0", "f:4: timeout: must be more than 0"),
        ("kind = 'system'\ninterval = '1ms'", "f:4: interval: must be at least 100ms"),
        ("kind = 'system'\nunits = 'a.service'", "f:4: unknown key 'units' in [[check]]"),
        ("kind = 'http'", "f:1: [[check]]: needs url"),
        ("kind = 'http'\nurl = 'http://x'\nmethod = 'PUT'", "f:5: method: 'PUT' is not known"),
        ("kind = 'process'", "f:1: [[check]]: needs program"),
        ("kind = 'file'", "f:1: [[check]]: needs path"),
        ("kind = 'file'\npath = 'x'", "f:4: path: 'x' is not an absolute path"),
        ("kind = 'mount'\npath = '/x'\nwritable = 1", "f:5: writable: must be true or false"),
        (
            "kind = 'disk'\npath = '/x'\nfree_percent = 101",
            "f:5: free_percent: must be a number from 1 to 100",
        ),
        ("kind = 'kernel'\ntaints = 'dye'", "f:4: taints: 'dye' is not known; did you mean 'die'?"),
        ("kind = 'clock'\nmax_error = 'soon'", "f:4: max_error: must be"),
        ("kind = 'confirm'\nsilence = 'confirm'", "f:4: silence: needs wait"),
        ("kind = 'command'\ncommand = ''", "f:4: command: must be a program, such as"),
        ("kind = 'command'\ncommand = ['']", "f:4: command: must be a program, such as"),
        ("kind = 'command'\ncommand = [' ', 'x']", "f:4: command: must be a program, such as"),
        ("kind = 'command'\ncommand = []", "f:4: command: must be a program, such as"),
        ("kind = 'command'\ncommand = \"  \\n\\t\"", "f:4: command: must be a program, such as"),
        ("kind = 'command'\ncommand = \"# later\"", "f:4: command: must be a program, such as"),
        ("kind = 'command'\ncommand = \"\\n  # one\\n\\n#two\"", "f:4: command: must be a program, such as"),
        ("", "f:1: [[check]]: needs kind = \"system\""),
    ] {
        let error = Config::parse("f", &format!("[[check]]\nname = 'x'\n{keys}\n")).unwrap_err().to_string();
        assert!(error.starts_with(problem), "{keys}: {error}");
    }
}

#[test]
fn two_checks_of_one_name_in_one_file_are_refused() {
    let check = "[[check]]\nname = 'x'\nkind = 'system'\n";
    let error = Config::parse("f", &format!("{check}{check}")).unwrap_err().to_string();
    assert_eq!(error, "f:5: name: is already the name of another check");
}

#[test]
fn a_check_that_waits_longer_than_the_deadline_is_refused() {
    let text = "[[check]]\nname = 'operator'\nkind = 'confirm'\nwait = '20min'\n";
    let error = Config::parse("f", text).unwrap_err().to_string();
    let why = "its start_delay, plus its wait if it has one, must be shorter than the deadline, 20min";
    assert_eq!(error, format!("configuration: check 'operator': {why}"));
}

/// The TOML blocks of a page.
fn examples(page: &str) -> Vec<String> {
    page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).map(str::to_owned).collect()
}

#[test]
fn every_example_in_the_documentation_is_understood() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let vendors = "[[check]]\nname = 'uplink'\nkind = 'network'\n\
                   [[check]]\nname = 'orchestrator'\nkind = 'http'\nurl = 'http://x'\n";
    let mut count = 0;
    for page in ["README.md", "docs/reference/configuration.md", "docs/how-to/check-health.md"] {
        let Ok(text) = fs::read_to_string(folder.join(page)) else { continue };
        for example in examples(&text) {
            let tree = Tree::running("1.0");
            // A fragment changes checks that are written elsewhere.
            if example.contains("abide.d/") {
                write(&tree, "usr/lib/abide/abide.toml", vendors);
            }
            write(&tree, "etc/abide/abide.d/x.toml", &example);
            Config::load(&tree.root(), None).unwrap_or_else(|e| panic!("{page}: {e}\n{example}"));
            count += 1;
        }
    }
    assert!(count >= 3);
}

/// `| `key` | type | `"default"` | …`
fn documented(page: &str, heading: &str) -> Vec<(String, String)> {
    let section = page.split(heading).nth(1).unwrap();
    let section = section.split("\n#").next().unwrap();
    section
        .lines()
        .filter_map(|line| {
            let mut cells = line.trim_matches('|').split('|').map(str::trim);
            let key = cells.next()?.strip_prefix('`')?.strip_suffix('`')?;
            Some((key.to_owned(), cells.nth(1)?.trim_matches('`').to_owned()))
        })
        .collect()
}

#[test]
fn the_documented_defaults_of_the_trial_are_the_real_ones() {
    let page = include_str!("../docs/reference/configuration.md");
    let keys = documented(page, "## `[assess]`");
    assert_eq!(keys.len(), 7);
    let text: String = keys.iter().map(|(key, default)| format!("{key} = {default}\n")).collect();
    assert_eq!(Config::parse("f", &format!("[assess]\n{text}")).unwrap(), Config::default());
}

#[test]
fn every_key_that_a_kind_of_check_has_is_documented() {
    let page = include_str!("../docs/reference/configuration.md");
    for (kind, needed) in [
        ("system", ""),
        ("unit", "units = 'a.service'"),
        ("network", ""),
        ("command", "command = 'true'"),
        ("http", "url = 'http://x'"),
        ("process", "program = 'x'"),
        ("file", "path = '/x'"),
        ("mount", "path = '/x'"),
        ("disk", "path = '/x'"),
        ("kernel", ""),
        ("clock", ""),
        ("confirm", ""),
    ] {
        let check = format!("[[check]]\nname = 'x'\nkind = '{kind}'\n{needed}\nno_such_key = 1\n");
        let error = Config::parse("f", &check).unwrap_err().to_string();
        let known = error.split("known are: ").nth(1).unwrap_or_else(|| panic!("{error}"));
        let mut documented = documented(page, &format!("### `kind = \"{kind}\"`"));
        documented.extend(self::documented(page, "## `[[check]]`"));
        let mut documented: Vec<&str> = documented.iter().map(|(key, _)| key.as_str()).collect();
        let mut known: Vec<&str> = known.split(", ").collect();
        documented.sort_unstable();
        known.sort_unstable();
        known.dedup();
        assert_eq!(documented, known, "{kind}");
    }
}

#[test]
fn a_reader_that_closes_the_pipe_ends_the_output_quietly() {
    let tree = Tree::running("1.0");
    for words in [&["config", "--json"][..], &["config"], &["list"], &["status", "--json"], &["rollback"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let run = Run::of(tree.command().args(words).stdout(writer));
        assert_eq!(run.code, tree.abide(words).code, "{words:?}: {}", run.stderr);
        assert!(!run.stderr.contains("pipe"), "{words:?}: {}", run.stderr);
    }
}

#[test]
fn a_result_that_cannot_be_written_is_an_error() {
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let run = Run::of(Tree::running("1.0").command().args(["config", "--json"]).stdout(full)).fails(1);
    assert!(run.stderr.starts_with("abide: cannot write to standard output: "), "{}", run.stderr);
}
