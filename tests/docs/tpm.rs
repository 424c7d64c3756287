//! The scripts on the page about TPM policies, run by Abide, with a stub in place of systemd-pcrlock.

use std::fs;
use std::path::Path;

use abide_testing::{Run, Tree, program};

use crate::{blocks, top};

const PAGE: &str = "docs/how-to/tpm.md";

/// Writes down what it is asked, and which variants there are when a policy is made.
const STUB: &str = r#"#!/bin/sh
case $1 in
lock-uki)
    test -f "$2" || exit 1
    echo "${2##*/}" > "${3#--pcrlock=}" ;;
make-policy)
    echo "$2: $(cat VARIANTS/* | tr '\n' ' ')" >> LOG ;;
esac
"#;

/// A machine with the page's scripts, whose output is below the machine.
struct Machine {
    tree: Tree,
}

impl Machine {
    fn new() -> Self {
        let it = Self { tree: Tree::running("1.0") };
        let scripts = blocks(&top().join(PAGE)).into_iter().filter(|block| block.info == "sh");
        let mut folders = 0;
        for script in scripts {
            let text = script.lines.join("\n");
            let text =
                text.replace("/var/lib/pcrlock.d", it.tree.path("var/lib/pcrlock.d").to_str().unwrap());
            let words = script.lines[1].split([' ', ',']);
            for path in words.filter_map(|word| word.strip_prefix("/etc/abide/")) {
                it.install(&format!("etc/abide/{path}"), &text);
                folders += 1;
            }
        }
        assert_eq!(folders, 3, "{PAGE}");
        let path = |name: &str| it.tree.path(name).to_str().unwrap().to_owned();
        let variants = path("var/lib/pcrlock.d/650-uki.pcrlock.d");
        it.install("stub/systemd-pcrlock", &STUB.replace("VARIANTS", &variants).replace("LOG", &path("log")));
        it
    }

    fn install(&self, path: &str, text: &str) {
        let (path, plain) = (self.tree.path(path), self.tree.path("plain"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&plain, text).unwrap();
        // Written by another process: a child of another thread would inherit the file, open for writing.
        Run::of(program("install").args(["-m", "755"]).args([&plain, &path])).ok();
    }

    /// Runs Abide where systemd-pcrlock is the stub.
    fn abide(&self, words: &[&str]) -> Run {
        let path = std::env::var("PATH").unwrap();
        let stub = self.tree.path("stub");
        Run::of(self.tree.command().args(words).env("PATH", format!("{}:{path}", stub.display())))
    }

    /// The policies that were made since the last time.
    fn policies(&self) -> Vec<String> {
        let log = self.tree.path("log");
        let text = fs::read_to_string(&log).unwrap_or_default();
        fs::remove_file(log).unwrap_or_default();
        text.lines().map(|line| line.trim().to_owned()).collect()
    }
}

#[test]
fn the_policy_is_for_both_systems_until_one_of_them_is_kept() {
    let mut machine = Machine::new();
    machine.tree.stage("2.0", "b");
    machine.abide(&["apply"]).ok();
    assert_eq!(machine.policies(), ["--pcr=11: edge_1.0.efi staged.uki"]);
    machine.tree.boot_with_initrd("2.0");
    machine.abide(&["commit", "--now"]).ok();
    assert_eq!(machine.policies(), ["--pcr=11: edge_2.0.efi"]);

    machine.tree.boot_with_initrd("2.0");
    machine.tree.stage("3.0", "a");
    machine.abide(&["apply"]).ok();
    assert_eq!(machine.policies(), ["--pcr=11: edge_2.0.efi staged.uki"]);
    machine.tree.boot_with_initrd("3.0");
    machine.abide(&["rollback"]).ok();
    assert!(machine.policies().is_empty());
    machine.tree.boot_with_initrd("2.0");
    machine.abide(&["report", "--settle"]).ok();
    assert_eq!(machine.policies(), ["--pcr=11: edge_2.0.efi"]);
}

#[test]
fn without_a_tpm_the_update_is_refused_and_stays_staged() {
    let machine = Machine::new();
    machine.tree.stage("2.0", "b");
    machine.install("stub/systemd-pcrlock", "#!/bin/sh\necho 'No TPM2 device found.' >&2\nexit 1\n");
    let run = machine.abide(&["apply"]).fails(6);
    assert!(
        run.stderr.contains("prepare.d/50-pcrlock refuses 2.0: exit status: 1: No TPM2"),
        "{}",
        run.stderr
    );
    assert_eq!(machine.tree.entries(), ["edge_1.0.efi"]);
}

#[test]
fn the_scripts_of_the_page_have_no_mistakes() {
    if !["/usr/bin/shellcheck", "/bin/shellcheck"].iter().any(|path| Path::new(path).exists()) {
        abide_testing::skip::skipped("the_scripts_of_the_page_have_no_mistakes", "there is no shellcheck");
        return;
    }
    let machine = Machine::new();
    for folder in ["prepare.d", "committed.d"] {
        let script = machine.tree.path(&format!("etc/abide/{folder}/50-pcrlock"));
        Run::of(program("shellcheck").arg(script)).ok();
    }
}
