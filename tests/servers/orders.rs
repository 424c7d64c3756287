//! Updates that a hawkBit server assigns.

use std::fs;
use std::sync::LazyLock;

use abide_testing::Image;
use abide_testing::hawkbit::{HawkBit, Uploaded, repository, wait_for};
use abide_testing::skip::skipped;
use serde_json::json;

use crate::Node;
use crate::node::said;

/// One for all tests, which have machines of their own.
static HAWKBIT: LazyLock<Result<HawkBit, String>> =
    LazyLock::new(|| HawkBit::start(&repository(env!("CARGO_MANIFEST_DIR"))));

/// What every test begins with; without a server it ends there.
fn server() -> Option<&'static HawkBit> {
    HAWKBIT.as_ref().inspect_err(|why| skipped("a test with hawkBit", why)).ok()
}

fn upload(hawkbit: &HawkBit, name: &str, version: &str, slot: &str) -> Uploaded {
    let file = format!("edge_{version}.raw.zst");
    hawkbit.upload(name, version, &[(&file, &Image::new(version, slot).zst())])
}

/// The machine is known to the server from its first poll on.
fn node(hawkbit: &HawkBit, name: &str, more: &str) -> Node {
    let node = Node::of(&hawkbit.url, name, more);
    let runs = node.run();
    assert!(runs.iter().all(|run| run.code == 0), "{}", said(&runs));
    node
}

#[test]
fn a_machine_registers_itself_with_its_attributes() {
    let Some(hawkbit) = server() else { return };
    assert!(!hawkbit.knows("attributes"));
    node(hawkbit, "attributes", "attributes = { site = 'north' }");
    assert!(hawkbit.knows("attributes"));
    let attributes = hawkbit.attributes("attributes");
    assert_eq!(attributes["version"], "1.0");
    assert_eq!(attributes["image"], "edge");
    assert_eq!(attributes["site"], "north");
}

#[test]
fn a_rollout_succeeds_on_each_machine_after_its_commit() {
    let Some(hawkbit) = server() else { return };
    let mut nodes = [1, 2].map(|number| node(hawkbit, &format!("rollout-{number}"), ""));
    let version = upload(hawkbit, "rollout", "2.0", "b");
    let rollout = hawkbit.rollout("rollout", "rollout-", &version);
    for node in &mut nodes {
        wait_for("no action", || hawkbit.newest_action(&node.name).is_some());
        assert!(node.settle(), "{}", said(&node.run()));
        node.tree.boot_with_initrd("2.0");
        // The id of the action survives the reboot, and success is not reported before the commit.
        node.run();
        let action = hawkbit.newest_action(&node.name).unwrap();
        assert_eq!(hawkbit.action(&node.name, action), "open");
        assert_eq!(hawkbit.rollout_status(rollout).0, "running");
        node.tree.abide(&["commit", "--now"]).ok();
        node.run();
        assert_eq!(hawkbit.action(&node.name, action), "well");
        let said = hawkbit.said(&node.name, action);
        let expected = [
            "running: 2.0 will be installed",
            "download: download started",
            "downloaded: downloaded and verified",
            "running: 2.0 is staged in the other slot",
            "running: 2.0 is on trial, try 1 of 3",
            "finished: 2.0 is committed",
        ];
        assert_eq!(said, expected);
    }
    wait_for("the rollout does not end", || hawkbit.rollout_status(rollout).0 == "finished");
    assert_eq!(hawkbit.rollout_status(rollout).1["finished"], 2);
}

#[test]
fn a_bad_image_is_reported_with_its_reason_and_then_refused() {
    let Some(hawkbit) = server() else { return };
    let mut node = node(hawkbit, "bad", "");
    let version = upload(hawkbit, "bad", "2.0", "b");
    let action = hawkbit.assign("bad", &version, json!({}));
    assert!(node.settle());
    node.tree.boot_with_initrd("2.0");
    node.tree.abide(&["rollback", "--reason", "it smells of burning"]).ok();
    node.tree.boot_with_initrd("1.0");
    node.run();
    assert_eq!(hawkbit.action("bad", action), "badly");
    let (_, reason) = hawkbit.statuses("bad", action).pop().unwrap();
    assert!(reason.contains("2.0 was rolled back to 1.0: it smells of burning"), "{reason}");
    assert!(reason.contains("phase: userspace"), "{reason}");
    // Assigned again it is refused, with that reason, and nothing is fetched.
    let other = upload(hawkbit, "other", "1.5", "b");
    hawkbit.assign("bad", &other, json!({ "type": "soft" }));
    let again = hawkbit.assign("bad", &version, json!({}));
    for _ in 0..3 {
        node.run();
    }
    assert_eq!(hawkbit.action("bad", again), "badly");
    let (_, reason) = hawkbit.statuses("bad", again).pop().unwrap();
    assert!(reason.contains("it failed on this machine") && reason.contains("smells"), "{reason}");
    assert!(!node.reboots());
}

#[test]
fn a_cancellation_before_the_reboot_is_accepted() {
    let Some(hawkbit) = server() else { return };
    // No window is open: the update is written, but not applied.
    let window = "[[update.window]]\ndates = [2099-01-01]\nstart = '01:00'\nlength = '2h'\n";
    let node = node(hawkbit, "cancel", window);
    let version = upload(hawkbit, "cancel", "2.0", "b");
    let action = hawkbit.assign("cancel", &version, json!({}));
    assert!(!node.settle());
    assert_eq!(node.tree.status()["slots"][1]["version"], "2.0");
    hawkbit.cancel("cancel", action);
    node.configure(&hawkbit.url, "");
    assert!(!node.settle());
    assert_eq!(hawkbit.action("cancel", action), "canceled");
    assert_eq!(node.tree.entries(), ["edge_1.0.efi"]);
}

#[test]
fn a_cancellation_between_write_and_reboot_is_accepted() {
    let Some(hawkbit) = server() else { return };
    let node = node(hawkbit, "late-cancel", "");
    let version = upload(hawkbit, "late-cancel", "2.0", "b");
    let action = hawkbit.assign("late-cancel", &version, json!({}));
    for part in ["--survey", "--fetch", "--install"] {
        node.tree.abide(&["update", part]).ok();
    }
    hawkbit.cancel("late-cancel", action);
    node.tree.abide(&["update", "--boot"]).ok();
    assert!(!node.settle());
    assert_eq!(hawkbit.action("late-cancel", action), "canceled");
}

#[test]
fn a_cancellation_during_the_trial_is_refused() {
    let Some(hawkbit) = server() else { return };
    let mut node = node(hawkbit, "too-late", "");
    let version = upload(hawkbit, "too-late", "2.0", "b");
    let action = hawkbit.assign("too-late", &version, json!({}));
    assert!(node.settle());
    node.tree.boot_with_initrd("2.0");
    hawkbit.cancel("too-late", action);
    node.run();
    let refused = hawkbit.statuses("too-late", action).into_iter().any(|(kind, _)| kind == "cancel_rejected");
    assert!(refused);
    node.tree.abide(&["commit", "--now"]).ok();
    node.run();
    assert_eq!(hawkbit.action("too-late", action), "well");
}

#[test]
fn a_server_window_delays_the_installation_but_not_the_download() {
    let Some(hawkbit) = server() else { return };
    let node = node(hawkbit, "window", "");
    let version = upload(hawkbit, "window", "2.0", "b");
    let closed = json!({ "maintenanceWindow":
        { "schedule": "0 0 3 1 1 ? 2099", "duration": "01:00:00", "timezone": "+00:00" } });
    let action = hawkbit.assign("window", &version, closed);
    assert!(!node.settle());
    assert_eq!(node.tree.status()["slots"][1]["version"], "2.0");
    assert_eq!(node.tree.status()["feed"]["waiting"], "Waiting for hawkBit's maintenance window");
    let said = hawkbit.said("window", action);
    assert!(said.contains(&"downloaded: downloaded and verified".to_owned()), "{said:?}");
    assert_eq!(said.last().unwrap(), "running: Waiting for hawkBit's maintenance window");
    // Another action has a window that is open.
    let (start, open) = ("0 * * * * ?", "23:00:00");
    let open = json!({ "maintenanceWindow": { "schedule": start, "duration": open, "timezone": "+00:00" } });
    let next = upload(hawkbit, "window", "2.1", "b");
    hawkbit.assign("window", &next, open);
    // Its window opens at the next full minute.
    wait_for("the window does not open", || node.settle());
}

#[test]
fn a_download_only_action_ends_with_the_download() {
    let Some(hawkbit) = server() else { return };
    let node = node(hawkbit, "download", "");
    let version = upload(hawkbit, "download", "2.0", "b");
    let action = hawkbit.assign("download", &version, json!({ "type": "downloadonly" }));
    assert!(!node.settle());
    assert_eq!(hawkbit.action("download", action), "well");
    assert_eq!(node.tree.entries(), ["edge_1.0.efi"]);
}

#[test]
fn the_end_is_delivered_when_the_server_is_reachable_again() {
    let Some(hawkbit) = server() else { return };
    let mut node = node(hawkbit, "away", "");
    let version = upload(hawkbit, "away", "2.0", "b");
    let action = hawkbit.assign("away", &version, json!({ "type": "soft" }));
    assert!(node.settle());
    node.tree.boot_with_initrd("2.0");
    node.configure("http://127.0.0.1:9", "");
    node.run();
    node.tree.abide(&["commit", "--now"]).ok();
    node.run();
    assert_eq!(hawkbit.action("away", action), "open");
    node.configure(&hawkbit.url, "");
    node.run();
    assert_eq!(hawkbit.action("away", action), "well");
    // The course of the trial is not told after its end.
    let said = hawkbit.said("away", action);
    assert_eq!(said.last().map(String::as_str), Some("finished: 2.0 is committed"), "{said:?}");
    assert!(!said.iter().any(|text| text.contains("is on trial")), "{said:?}");
}

#[test]
fn an_assigned_image_must_be_signed_where_signatures_are_required() {
    let Some(hawkbit) = server() else { return };
    let dir = tempfile::tempdir().unwrap();
    let sh = |command: &str| {
        let mut sh = abide_testing::program("sh");
        sh.args(["-euc", command]).current_dir(dir.path()).stdout(std::process::Stdio::null());
        assert!(sh.status().unwrap().success(), "{command}");
    };
    fs::write(dir.path().join("edge_2.0.raw.zst"), Image::new("2.0", "b").zst()).unwrap();
    sh("minisign -G -W -f -p ours.pub -s ours.key; sha256sum edge_* > SHA256SUMS; \
        minisign -S -s ours.key -m SHA256SUMS");
    let node = node(hawkbit, "signed", "");
    fs::create_dir_all(node.tree.path("etc/abide/keys")).unwrap();
    fs::copy(dir.path().join("ours.pub"), node.tree.path("etc/abide/keys/ours.pub")).unwrap();
    node.configure(&hawkbit.url, "");
    let read = |name: &str| fs::read(dir.path().join(name)).unwrap();
    let image = read("edge_2.0.raw.zst");
    let unsigned = hawkbit.upload("unsigned", "2.0", &[("edge_2.0.raw.zst", &image)]);
    let action = hawkbit.assign("signed", &unsigned, json!({}));
    assert!(!node.settle());
    assert_eq!(hawkbit.action("signed", action), "badly");
    let (_, reason) = hawkbit.statuses("signed", action).pop().unwrap();
    assert!(reason.contains("not signed"), "{reason}");
    assert!(!node.has_fetched("edge_2.0.raw.zst"));
    let files = [
        ("edge_2.0.raw.zst", &image[..]),
        ("SHA256SUMS", &read("SHA256SUMS")),
        ("SHA256SUMS.minisig", &read("SHA256SUMS.minisig")),
    ];
    let signed = hawkbit.upload("signed", "2.0", &files);
    hawkbit.assign("signed", &signed, json!({}));
    assert!(node.settle());
}

#[test]
fn the_error_about_a_wrong_token_does_not_contain_it() {
    let Some(hawkbit) = server() else { return };
    let node = node(hawkbit, "stranger", "");
    node.write_token("wr0ng-token");
    let runs = node.run();
    let text = said(&runs);
    assert_eq!(runs[1].code, 1);
    assert!(text.contains("refuses this machine's token") && !text.contains("wr0ng"), "{text}");
    let ledger = fs::read_to_string(node.tree.path("var/lib/abide/feed/hawkbit.json")).unwrap();
    assert!(!ledger.contains(abide_testing::hawkbit::TOKEN));
}

#[test]
fn an_action_is_confirmed_by_policy_or_at_the_server() {
    let Some(hawkbit) = server() else { return };
    if !hawkbit.set("user.confirmation.flow.enabled", json!(true)) {
        skipped("hawkBit's confirmations", "this version asks for none");
        return;
    }
    let by_policy = node(hawkbit, "confirm", "");
    let waits = node(hawkbit, "unconfirmed", "confirm = 'server'");
    let version = upload(hawkbit, "confirm", "2.0", "b");
    let ask = json!({ "confirmationRequired": true });
    hawkbit.assign("confirm", &version, ask.clone());
    let open = hawkbit.assign("unconfirmed", &version, ask);
    assert!(by_policy.settle());
    assert!(!waits.settle());
    assert_eq!(hawkbit.action("unconfirmed", open), "open");
    assert!(!waits.has_fetched("edge_2.0.raw.zst"));
    assert!(hawkbit.set("user.confirmation.flow.enabled", json!(false)));
}
