//! What `abide status` prints after a rollback, word for word.

use crate::{SHORT, booted, command, configure, on_trial, program};

#[test]
fn after_a_rollback_the_status_shows_what_failed_why_and_what_to_do() {
    let mut tree = on_trial();
    booted(&tree, &[]);
    program(&tree, "usr/bin/uplink", "exit 0");
    program(&tree, "usr/bin/app", "echo reading /etc/app.conf; echo cannot open the database >&2; sleep 600");
    let text = SHORT.to_owned() + &command("uplink", "") + &command("app", "timeout = '300ms'");
    configure(&tree, &text);
    tree.abide(&["assess"]).fails(1);
    tree.boot_with_initrd("1.0");
    let status = tree.abide(&["status"]).ok().stdout;
    let time = tree.status()["failures"][0]["time"].as_str().unwrap().to_owned();
    assert_eq!(
        status.replace(&time, "2026-01-02T03:04:05Z"),
        "\
* slot a  1.0          fallback: check 'app': /usr/bin/app did not end within 300ms: cannot open the database
  slot b  2.0          failed, does not boot
update   2.0          FAILED
failed   2.0          after 1 of 3 tries, 2026-01-02T03:04:05Z
         phase:  checks (its checks ran)
         reason: check 'app': /usr/bin/app did not end within 300ms: cannot open the database
         last output of check app:
         | reading /etc/app.conf
         | cannot open the database
         refused until `abide forget 2.0`
next     1.0 remains the committed system; write a fixed version
"
    );
}

#[test]
fn a_kernel_that_never_reported_is_told_in_the_same_way() {
    let mut tree = abide_testing::Tree::running("1.0");
    tree.stage("2.0", "b");
    tree.abide(&["apply"]).ok();
    for _ in 0..3 {
        tree.boot();
    }
    tree.boot_with_initrd("1.0");
    let status = tree.abide(&["status"]).ok().stdout;
    assert!(status.contains("after 3 of 3 tries, "), "{status}");
    assert!(
        status.contains("phase:  loader (the boot loader started it; no report came from its initramfs)"),
        "{status}"
    );
}
