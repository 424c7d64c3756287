//! Two slots with Abides of different age, which share the state on the ESP.

use abide_qemu::paths;
use abide_testing::process::downloader;

use crate::support::edge::Edge;
use crate::support::snapshots::OLD;

/// What failed under the newer Abide is refused by the older one, which the machine goes back to. `ABIDE_OLDER=1`: it
/// takes a build of the older Abide.
#[test]
fn an_image_that_failed_is_refused_by_an_older_abide_in_the_other_slot() {
    if std::env::var_os("ABIDE_OLDER").is_none() {
        println!("skipped: an older Abide is built for `make soak` only");
        return;
    }
    let script = paths::workspace().join("qemu/guest/older-abide");
    assert!(downloader(&script).status().unwrap().success(), "{}", script.display());

    let mut edge = Edge::running("older-abide", OLD);
    edge.write("3.0", "ok");
    edge.ok("abide apply");
    assert_eq!(edge.reboot().version, "3.0");
    edge.vm.send("abide rollback --reboot --reason 'the printer is gone'").unwrap();
    assert_eq!(edge.next_boot().version, OLD);
    assert_eq!(edge.status()["failures"][0]["version"], "3.0");

    edge.write("1.5", "older-abide");
    edge.ok("abide apply");
    assert_eq!(edge.reboot().version, "1.5");
    // The older one knows no such command.
    edge.refused("abide history", 2);
    let status = edge.wait_for_commit();
    assert_eq!(status["failures"][0]["reason"], "the printer is gone", "{status:#}");
    let again = edge.write_command("3.0", "ok");
    let said = edge.refused(&again, 6);
    assert!(said.contains("3.0 failed before"), "{said}");

    // And back: what the older one has saved is understood.
    edge.ok("abide rollback");
    assert_eq!(edge.reboot().version, OLD);
    let status = edge.wait_for_commit();
    assert_eq!(status["failures"][0]["version"], "3.0", "{status:#}");
    let told = edge.ok("abide history");
    assert!(told.contains("rolled back: the printer is gone"), "{told}");
    edge.refused(&again, 6);
}
