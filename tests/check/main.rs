//! `abide check` and `abide assess` on machines that are folders, with a systemctl that reports what the
//! test needs.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod assess;
mod bus;
mod events;
mod every_boot;
mod greenboot;
mod kinds;
mod once;
mod prepare;
mod printable;
mod rearm;
mod scripts;
mod status;

use std::fs;

use abide_testing::Tree;

/// A program of the tree, in shell.
pub fn program(tree: &Tree, path: &str, script: &str) {
    let path = tree.path(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let text = path.with_extension("text");
    fs::write(&text, format!("#!/bin/sh\n{script}\n")).unwrap();
    // Written by another process: a child of another thread would inherit the file, open for writing,
    // and the kernel does not execute such a file.
    let copied = abide_testing::program("install").args(["-m", "755"]).args([&text, &path]).status().unwrap();
    assert!(copied.success());
    fs::remove_file(text).unwrap();
}

/// A systemd that has booted, with these units failed.
pub fn booted(tree: &Tree, failed: &[&str]) {
    let failed = failed.join("\\n");
    program(
        tree,
        "usr/bin/systemctl",
        &format!(
            "case $1 in\n\
             list-units) printf '{failed}' ;;\n\
             show) shift; while test \"$1\" != --; do shift; done; shift\n\
             for unit; do case $unit in\n\
             default.target) printf 'Id=multi-user.target\\nActiveState=active\\n\\n' ;;\n\
             *.timer) printf 'Id=%s\\nActiveState=active\\nSubState=waiting\\n\\n' $unit ;;\n\
             timed*) printf 'Id=%s\\nLoadState=loaded\\nActiveState=failed\\nSubState=failed\\nTriggeredBy=timed.timer\\n\\n' $unit ;;\n\
             *.service) printf 'Id=%s\\nLoadState=loaded\\nActiveState=failed\\nSubState=failed\\nTriggeredBy=\\n\\n' $unit ;;\n\
             *) printf 'Id=%s\\nActiveState=inactive\\n\\n' $unit ;;\n\
             esac; done ;;\n\
             esac"
        ),
    );
}

/// The administrator's configuration.
pub fn configure(tree: &Tree, text: &str) {
    fs::create_dir_all(tree.path("etc/abide")).unwrap();
    fs::write(tree.path("etc/abide/abide.toml"), text).unwrap();
}

/// A check that runs `/usr/bin/NAME` of the tree.
pub fn command(name: &str, keys: &str) -> String {
    format!(
        "[[check]]\nname = '{name}'\nkind = 'command'\ncommand = ['/usr/bin/{name}']\ninterval = '100ms'\n{keys}\n"
    )
}

/// Limits for tests.
pub const SHORT: &str = "[assess]\ntest_window = '300ms'\ndeadline = '20s'\n";

/// 2.0 runs, on trial, with 1.0 beside it.
pub fn on_trial() -> Tree {
    let mut tree = Tree::running("1.0");
    tree.stage("2.0", "b");
    tree.abide(&["apply"]).ok();
    tree.boot_with_initrd("2.0");
    tree
}
