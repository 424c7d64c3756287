//! Machines under a real hawkBit server, and under a real gooseBit server.

use std::fs;

use abide_testing::goosebit::GooseBit;
use abide_testing::hawkbit::{HawkBit, TOKEN, Uploaded, repository, wait_for};
use abide_testing::skip::skipped;
use serde_json::json;

use crate::support::edge::{Edge, PATIENCE, image_path};
use crate::support::feed::Feed;

/// What the messages about skipped tests name.
const STORY: &str = "machines under hawkBit";
const GEESE: &str = "machines under gooseBit";

fn upload(hawkbit: &HawkBit, version: &str, variant: &str) -> Uploaded {
    let image = fs::read(image_path(version, variant, "zst")).unwrap();
    hawkbit.upload("edge", version, &[(&format!("edge_{version}.raw.zst"), &image)])
}

/// A machine that asks hawkBit often, by its own units.
fn machine(hawkbit: &HawkBit, name: &str) -> Edge {
    let mut edge = Edge::running(name, "1.0");
    edge.ok("mkdir -p /var/lib/abide && touch /var/lib/abide/follow");
    edge.put("/var/lib/abide/token", TOKEN.as_bytes());
    edge.ok("chmod 600 /var/lib/abide/token");
    let port = hawkbit.url.rsplit(':').next().unwrap();
    edge.configure(&format!(
        "[update]\ninterval = '1min'\njitter = 0\ndownload_spread = 0\n[update.hawkbit]\n\
         url = 'http://10.0.2.2:{port}'\nid = '{name}'\ngateway_token = '/var/lib/abide/token'\n"
    ));
    edge.ok("systemctl start abide-update.timer && systemctl start abide-update.service");
    wait_for("it is not known", || hawkbit.knows(name));
    edge
}

/// Several machines and a server take too long for the daily run: `ABIDE_FLEET=all`. What the machines say to the server
/// is tried on trees every day (`tests/servers`).
fn is_wanted() -> bool {
    std::env::var("ABIDE_FLEET").is_ok_and(|wanted| wanted == "all")
}

#[test]
fn a_rollout_survives_a_power_cut_and_a_bad_image_reports_its_reason() {
    if !is_wanted() {
        return skipped(STORY, "ABIDE_FLEET=all has them");
    }
    let hawkbit = match HawkBit::start(&repository(env!("CARGO_MANIFEST_DIR"))) {
        Ok(hawkbit) => hawkbit,
        Err(why) => return skipped(STORY, &why),
    };
    let names = ["hawk-1", "hawk-2"];
    let mut machines: Vec<Edge> = names.iter().map(|name| machine(&hawkbit, name)).collect();
    let rollout = hawkbit.rollout("edge", "hawk-", &upload(&hawkbit, "2.0", "ok"));
    let action = |name: &str| hawkbit.newest_action(name).unwrap();
    wait_for("no action", || names.iter().all(|name| hawkbit.newest_action(name).is_some()));

    // The power of one is cut in the middle of it. The action's id is on the disk.
    let mut first = machines.remove(0);
    first.wait_for_status("the download", |status| status["update"]["userStatus"] == "DOWNLOADING");
    let first = first.power_cycle(|_| {});
    machines.insert(0, first);
    for edge in &mut machines {
        while edge.next_boot().version == "1.0" {}
        edge.wait_for_commit();
    }
    for name in names {
        wait_for("it does not end well", || hawkbit.action(name, action(name)) == "well");
    }
    wait_for("the rollout does not end", || hawkbit.rollout_status(rollout).0 == "finished");

    let bad = hawkbit.assign(names[0], &upload(&hawkbit, "3.0", "failing-unit"), json!({ "type": "forced" }));
    let edge = &mut machines[0];
    edge.ok("systemctl start --no-block abide-update.service");
    assert_eq!(edge.next_boot().version, "3.0");
    assert_eq!(edge.next_boot().version, "2.0");
    wait_for("it does not end", || hawkbit.action(names[0], bad) == "badly");
    let (_, reason) = hawkbit.statuses(names[0], bad).pop().unwrap();
    assert!(reason.contains("check 'app'") && reason.contains("phase: checks"), "{reason}");
}

/// A machine that asks gooseBit often, by its own units, and trusts the feed's key.
fn goose(goosebit: &GooseBit, feed: &Feed, name: &str) -> Edge {
    let mut edge = Edge::running(name, "1.0");
    feed.trusted_by(&mut edge);
    let port = goosebit.url.rsplit(':').next().unwrap();
    edge.configure(&format!(
        "[trust]\npolicy = 'signature'\n[update]\ninterval = '1min'\njitter = 0\ndownload_spread = 0\n\
         [update.hawkbit]\nurl = 'http://10.0.2.2:{port}'\nid = '{name}'\n"
    ));
    edge.ok("systemctl start abide-update.timer && systemctl start abide-update.service");
    wait_for("it is not known", || goosebit.knows(name));
    edge
}

/// Of the machines the power of the first is cut, and the last gets a bad image.
#[test]
fn each_machine_of_a_rollout_ends_right_over_a_power_cut_and_a_bad_image() {
    if !is_wanted() {
        return skipped(GEESE, "ABIDE_FLEET=all has them");
    }
    let goosebit = match GooseBit::start(&repository(env!("CARGO_MANIFEST_DIR"))) {
        Ok(goosebit) => goosebit,
        Err(why) => return skipped(GEESE, &why),
    };
    let names = ["goose-1", "goose-2", "goose-3"];
    let feed = Feed::new();
    let server = feed.serve();
    let mut machines: Vec<Edge> = names.iter().map(|name| goose(&goosebit, &feed, name)).collect();
    feed.publish("2.0", "ok");
    let software = goosebit.offer(&server.url("edge_2.0.raw.zst"));
    server.stall_after(40 << 20);
    let rollout = goosebit.rollout("good", &names, software);
    for edge in &mut machines {
        edge.ok("systemctl start --no-block abide-update.service");
    }
    assert!(server.wait_for_stall(PATIENCE), "{:?}", server.requests());

    // Its download has begun, and the server knows of it.
    wait_for("it is not running", || goosebit.log(names[0]).contains("download started"));
    let first = machines.remove(0).power_cycle(|_| {});
    server.go_on();
    machines.insert(0, first);
    for edge in &mut machines {
        while edge.next_boot().version == "1.0" {}
        edge.wait_for_commit();
    }
    let all = u64::try_from(names.len()).unwrap();
    wait_for("the rollout does not end", || goosebit.rollout_counts(rollout) == (all, 0));
    for name in names {
        assert_eq!(goosebit.state(name), "Finished");
        assert_eq!(goosebit.device(name)["sw_version"], "2.0");
    }

    feed.publish("3.0", "failing-unit");
    let last = names[names.len() - 1];
    let bad = goosebit.rollout("bad", &[last], goosebit.offer(&server.url("edge_3.0.raw.zst")));
    let edge = machines.last_mut().unwrap();
    edge.ok("systemctl start --no-block abide-update.service");
    assert_eq!(edge.next_boot().version, "3.0");
    assert_eq!(edge.next_boot().version, "2.0");
    wait_for("it does not end", || goosebit.state(last) == "Error");
    let log = goosebit.log(last);
    assert!(log.contains("check 'app'") && log.contains("phase: checks"), "{log}");
    assert_eq!((goosebit.rollout_counts(rollout), goosebit.rollout_counts(bad)), ((all, 0), (0, 1)));
}
