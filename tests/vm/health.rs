//! Health checks against real systems, and their events. One machine for several stories: with
//! `on_failure = "retry"` each boot of one update has checks of its own, set during the one before.

use abide_testing::skip::skipped;
use serde_json::Value;

use crate::support::controller::Controller;
use crate::support::edge::Edge;
use crate::support::oops;

/// Replaces the story's configuration; it holds from the next boot, or the next command, on.
fn configure(edge: &mut Edge, text: &str) {
    edge.ok(&format!("cat > /var/lib/abide/abide.d/50-story.toml <<'END'\n{text}\nEND\nsync"));
}

/// Waits until the assessment of this boot has begun, and so has read its configuration.
fn wait_for_checks(edge: &mut Edge) -> Value {
    edge.wait_for_status("the checks", |status| {
        status["checks"].as_array().is_some_and(|checks| checks.iter().any(|c| c["result"] != "pending"))
    })
}

/// Waits until the controller was told something that contains `part`.
fn wait_for_event(edge: &mut Edge, controller: &Controller, part: &str) {
    edge.wait_for_status(part, |_| controller.events().iter().any(|event| event.contains(part)));
}

fn result<'a>(status: &'a Value, check: &str) -> &'a Value {
    let checks = status["checks"].as_array().unwrap();
    checks.iter().find(|c| c["name"] == check).unwrap_or_else(|| panic!("no check {check}: {status:#}"))
}

#[test]
fn a_trial_is_committed_on_evidence_and_not_a_moment_before() {
    let controller = Controller::new(503);
    let mut edge = Edge::running("health-commits", "1.0");
    let common = format!(
        "[assess]\non_failure = 'retry'\ntries = 3\n[report]\nurl = '{}'\n\
         [[check]]\nname = 'old'\nkind = 'unit'\nunits = 'edge-old.service'\nonly_if_passed_before = true\n",
        controller.url("events")
    );
    let link = format!("{common}\n[[check]]\nname = 'network'\ngateway = false\n");
    configure(&mut edge, &link.replace("on_failure", "test_window = '20s'\non_failure"));
    edge.write("2.0", "ok");
    edge.ok("abide apply");
    assert_eq!(edge.reboot().version, "2.0");

    // The cable is pulled five seconds before the test window would end.
    wait_for_checks(&mut edge);
    let left = |status: &Value| status["update"]["subStatusProgress"].as_u64().unwrap();
    edge.wait_for_status("the last seconds of the window", |status| left(status) <= 5);
    edge.vm.set_link(false).unwrap();
    let status = edge.wait_for_status("the break of the window", |status| {
        result(status, "network")["result"] == "fail" && left(status) == 20
    });
    assert_eq!(result(&status, "old")["required"], false, "it did not run before: {status:#}");
    assert_eq!(status["boot"]["kind"], "trial", "{status:#}");
    edge.vm.set_link(true).unwrap();
    edge.wait_for_status("a new window", |status| left(status) < 20);
    assert!(edge.entries().contains(&"edge_2.0+2-1.efi".to_owned()), "not committed");
    // From the next boot on; what is read before speaks of this one's window.
    configure(
        &mut edge,
        &format!(
            "{common}[[check]]\nname = 'controller'\nkind = 'http'\nurl = '{}'\ninterval = '1s'\n",
            controller.url("healthz")
        )
        .replace("on_failure", "deadline = '2min'\non_failure"),
    );
    // A unit that fails permanently does not wait for the window.
    edge.vm.send("systemctl kill --signal=KILL edge-app.service").unwrap();

    // A controller that always says "not now".
    assert_eq!(edge.next_boot().version, "2.0", "the next try");
    wait_for_event(&mut edge, &controller, "failed 2.0 check 'app': edge-app.service failed");
    wait_for_checks(&mut edge);
    configure(
        &mut edge,
        &format!(
            "{common}[[check]]\nname = 'controller'\nkind = 'http'\nurl = '{}'\ninterval = '1s'\n\
         [[check]]\nname = 'operator'\nkind = 'confirm'\nwait = '5s'\nsilence = 'confirm'\n\
         [[check]]\nname = 'data'\nkind = 'mount'\npath = '/var/lib/abide'\ntype = 'ext4'\nwritable = true\n\
         [[check]]\nname = 'kernel'\nkind = 'kernel'\n\
         [[check]]\nname = 'nice'\nkind = 'mount'\npath = '/mnt'\nrequired = false\n",
            controller.url("healthz")
        ),
    );
    assert_eq!(edge.next_boot().version, "2.0", "the last try");
    wait_for_event(
        &mut edge,
        &controller,
        "server not ready (status 503); the test window of 8s can no longer end before the deadline of 2min",
    );

    // Not now, and then it is.
    let status = wait_for_checks(&mut edge);
    assert_eq!(status["boot"]["attempt"], 3, "{status:#}");
    edge.wait_for_status("the refusal", |status| {
        result(status, "controller")["reason"].as_str().unwrap().contains("server not ready (status 503)")
    });
    controller.say(200);
    let status = edge.wait_for_commit();
    for (check, outcome) in
        [("controller", "pass"), ("operator", "pass"), ("data", "pass"), ("kernel", "pass"), ("nice", "fail")]
    {
        assert_eq!(result(&status, check)["result"], outcome, "{status:#}");
    }
    wait_for_event(&mut edge, &controller, "committed 2.0");
    let journal = edge.ok("journalctl --no-pager -o cat MESSAGE_ID=cfdee54fa8374787b5afe87080e6720a");
    assert_eq!(journal.trim(), "2.0 is committed");
}

/// While the assessment waits, and on the way there.
fn assert_costs_little(edge: &mut Edge) {
    // What the boot waits for, as systemd orders it: nothing of the stage, which waits beside it. (Of
    // abide-report.service it waits for the start alone.)
    let before = edge.ok("systemctl list-dependencies --after --all --plain --no-pager multi-user.target");
    for unit in ["abide-assess", "abide-commit", "boot-complete"] {
        assert!(!before.contains(unit), "multi-user.target waits for {unit}: {before}");
    }
    let states = edge.run("systemctl is-active multi-user.target abide-assess.service").text;
    assert_eq!(states, "active\nactivating\n", "the boot is over, the assessment is not");

    // Over a minute: by the clock that systemd counts with, and with all its checks.
    let cost = "systemctl show --property=CPUUsageNSec --value abide-assess.service";
    let used = edge.ok(&format!("before=$({cost}); sleep 60; echo $(($({cost}) - before))"));
    let nanoseconds: u64 = used.trim().parse().unwrap();
    let peak = edge.ok("systemctl show --property=MemoryPeak --value abide-assess.service");
    println!("abide assess: {} ms of 60 s, at most {} bytes", nanoseconds / 1_000_000, peak.trim());
    assert!(nanoseconds < 600_000_000, "{nanoseconds} ns in a minute are more than 1 % of a processor");
    assert!(peak.trim().parse::<u64>().unwrap() < 12 << 20, "{peak} bytes");
}

/// On a busy host the numbers say nothing: `ABIDE_COST=all`.
fn is_cost_wanted() -> bool {
    std::env::var("ABIDE_COST").is_ok_and(|wanted| wanted == "all")
}

/// Microseconds from the start of systemd on the root to `multi-user.target`.
fn way_up(edge: &mut Edge) -> i64 {
    edge.ok("timeout 120 sh -c 'until systemctl -q is-active multi-user.target; do sleep 0.2; done'");
    let instant = |edge: &mut Edge, unit: &str, property: &str| -> i64 {
        edge.ok(&format!("systemctl show {unit} --value --property={property}")).trim().parse().unwrap()
    };
    let start = instant(edge, "", "UserspaceTimestampMonotonic");
    instant(edge, "multi-user.target", "ActiveEnterTimestampMonotonic") - start
}

#[test]
fn an_assessment_does_not_hold_up_the_boot() {
    if !is_cost_wanted() {
        return skipped("what an assessment adds to a boot", "ABIDE_COST=all has it");
    }
    let mut edge = Edge::running("health-cost", "1.0");
    configure(&mut edge, "[assess]\ntries = 5\ntest_window = '5min'\ndeadline = '15min'\n");
    edge.write("2.0", "ok");
    edge.ok("abide apply");
    let boots = |edge: &mut Edge, kind: &str| {
        let mut times: Vec<i64> = (0..5)
            .map(|_| {
                assert_eq!(edge.reboot().version, "2.0");
                assert_eq!(edge.status()["boot"]["kind"], kind);
                way_up(edge)
            })
            .collect();
        times.sort_unstable();
        println!("{kind}: {times:?} us to multi-user.target");
        times[2]
    };
    let with = boots(&mut edge, "trial");
    edge.ok("abide commit --now");
    let without = boots(&mut edge, "committed");
    println!("an assessment adds {} ms to the way to multi-user.target", (with - without) / 1000);
    assert!(with - without < 100_000, "{with} and {without} us");
}

#[test]
fn a_committed_system_that_crashes_later_is_left_for_the_other_one() {
    let mut edge = Edge::running("health-rearmed", "1.0");
    let rearm = "[assess]\nrearm = true\ntries = 1\n";
    configure(&mut edge, rearm);
    edge.write("2.0", "ok");
    edge.ok("abide apply");
    assert_eq!(edge.reboot().version, "2.0");
    edge.wait_for_commit();
    let tries = "until abide list | grep -q 'good: 1 tries left'; do sleep 1; done";
    edge.ok(tries);

    // A healthy boot gets its try back, though nobody has enabled the unit.
    assert_eq!(edge.reboot().version, "2.0");
    edge.ok(tries);
    assert_eq!(edge.entries(), ["edge_2.0+1-0.efi", "edge_1.0.efi"]);
    assert_eq!(edge.status()["boot"]["kind"], "committed");

    // One that crashes before it was healthy does not.
    configure(&mut edge, &format!("{rearm}test_window = '2min'\n"));
    edge.ok("sync; echo 1 > /proc/sys/kernel/sysrq");
    edge.vm.send("echo c > /proc/sysrq-trigger").unwrap();
    assert_eq!(edge.next_boot().version, "2.0", "the only try");
    edge.vm.send("echo 1 > /proc/sys/kernel/sysrq; echo c > /proc/sysrq-trigger").unwrap();
    assert_eq!(edge.next_boot().version, "1.0");
    assert_eq!(edge.status()["boot"]["kind"], "fallback");
    let failure = edge.failure("2.0");
    let reason = failure["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("it was committed, but its last boot ended before it was healthy"),
        "{failure:#}"
    );
}

#[test]
fn a_trial_that_is_denied_is_rolled_back_and_everybody_is_told_why() {
    let controller = Controller::new(200);
    let mut edge = Edge::running("health-denied", "1.0");
    let common = format!(
        "[assess]\non_failure = 'retry'\ntries = 4\ndeadline = '15min'\n[report]\nurl = '{}'\n\
         metrics = '/var/lib/abide/abide.prom'\n",
        controller.url("events")
    );
    let confirm = "[[check]]\nname = 'operator'\nkind = 'confirm'\n";
    configure(&mut edge, &format!("{common}{confirm}wait = '15s'\n"));
    edge.write("2.0", "ok");
    edge.ok("abide apply");
    assert_eq!(edge.reboot().version, "2.0");

    // Nothing answers.
    wait_for_checks(&mut edge);
    // Only by the kernel's messages, not by its taints.
    let kernel = "[[check]]\nname = 'kernel'\nkind = 'kernel'\ninterval = '1s'\ntaints = 'lockup'\n";
    configure(&mut edge, &format!("{common}{confirm}{kernel}"));
    assert_eq!(edge.next_boot().version, "2.0", "the next try");
    wait_for_event(&mut edge, &controller, "failed 2.0 check 'operator': not confirmed within 15s");

    // The kernel crashes, and continues.
    wait_for_checks(&mut edge);
    let stuck = "[[check]]\nname = 'stuck'\nkind = 'command'\ninterval = '1s'\ntimeout = '3s'\n\
                 command = 'test ! -e /run/hang || { echo waiting for the disk; sleep infinity; }'\n";
    configure(&mut edge, &format!("{common}{confirm}{stuck}"));
    edge.put("/run/oops.ko", &oops::module());
    edge.vm.send("insmod /run/oops.ko").unwrap();
    assert_eq!(edge.next_boot().version, "2.0", "the third try");
    wait_for_event(&mut edge, &controller, "failed 2.0 check 'kernel': the kernel logged: Oops: ");

    // A check that hangs ends the trial long before the deadline.
    wait_for_checks(&mut edge);
    let rare = "[[check]]\nname = 'network'\ninterval = '10s'\n";
    configure(&mut edge, &format!("{common}{confirm}{rare}").replace("'retry'", "'rollback'"));
    edge.vm.send("touch /run/hang").unwrap();
    assert_eq!(edge.next_boot().version, "2.0", "the last try");
    wait_for_event(
        &mut edge,
        &controller,
        "failed 2.0 check 'stuck': /bin/sh did not end within 3s: waiting for the disk",
    );

    // Someone denies.
    wait_for_checks(&mut edge);
    // Longer than a busy host can afford within the deadline.
    if is_cost_wanted() {
        assert_costs_little(&mut edge);
    }
    let status = edge.ok("systemctl show --property=StatusText abide-assess.service");
    let said = ["StatusText=Testing for", "StatusText=Waiting for check operator"];
    assert!(said.iter().any(|said| status.starts_with(said)), "{status}");
    let memory =
        edge.ok("grep VmHWM /proc/$(systemctl show --property=MainPID --value abide-assess.service)/status");
    let kilobytes: u64 = memory.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(kilobytes < 12 << 10, "{memory}");
    edge.vm.send("abide deny 'the printer is gone'").unwrap();
    assert_eq!(edge.next_boot().version, "1.0");
    let failure = edge.failure("2.0");
    assert_eq!(failure["reason"], "check 'operator': denied: the printer is gone", "{failure:#}");
    wait_for_event(&mut edge, &controller, "rolled-back 2.0 check 'operator': denied: the printer is gone");
    assert_eq!(
        edge.ok("cat /run/motd.d/abide"),
        "Abide: rolled back from 2.0 to 1.0: check 'operator' failed: denied: the printer is gone.\n\
         `abide status` shows what to do.\n"
    );
    let metrics = edge.ok("cat /var/lib/abide/abide.prom");
    assert!(metrics.contains("abide_boot{kind=\"fallback\"} 1\n"), "{metrics}");
    let left = edge.ok("ls /var/lib/abide/reports");
    assert_eq!(left, "", "all was delivered");
}
