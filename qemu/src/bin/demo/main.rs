//! The demo: two updates of a machine under QEMU/OVMF, one that commits itself and one whose
//! kernel panics. Every line that it prints was read from the machine as it runs; anything that is
//! not as it should be ends the story with an error.

mod edge;
mod ledger;
mod teller;

use std::process::ExitCode;

use edge::{Edge, End, Result};
use teller::Teller;

fn main() -> ExitCode {
    let teller = Teller::new();
    match tell(&teller) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn tell(teller: &Teller) -> Result<()> {
    teller.chapter("The machine");
    let mut edge = edge::prepare(teller)?;
    installed(teller, &mut edge)?;

    teller.chapter("Update 2.0 is healthy and is committed");
    commits(teller, &mut edge)?;

    teller.chapter("Update 3.0, whose kernel panics, is tried three times and rolled back");
    panics(teller, &mut edge)?;

    teller.chapter("The end");
    edge.shown(teller, "abide history", 0)?;
    teller.say(&format!("{} boots, nobody at the console, everything as expected.", edge.boots()));
    Ok(())
}

/// 1.0, as it was installed.
fn installed(teller: &Teller, edge: &mut Edge) -> Result<()> {
    teller.say("power on");
    boots_into(teller, edge, "1.0")?;
    let status = edge.status()?;
    teller.detail(&format!("boot loader: {}", status.text("/loader/name")));
    teller.detail(&format!("kernel {}", edge.quietly("uname -r")?.trim()));
    teller.detail(edge.quietly("systemctl --version")?.lines().next().unwrap_or_default());
    edge.shown(teller, "abide status", 0)?;
    Ok(())
}

/// The life of a good update.
fn commits(teller: &Teller, edge: &mut Edge) -> Result<()> {
    let url = edge.image("2.0", "ok")?;
    edge.shown(teller, &format!("abide write {url}"), 0)?;
    edge.shown(teller, "abide apply", 0)?;
    edge.shown(teller, "abide list", 0)?;
    edge.reboot(teller)?;

    boots_into(teller, edge, "2.0")?;
    edge.shown(teller, "abide status", 0)?;
    teller.say("the health checks must hold for the test window, 8 s in this machine");
    edge.wait_for_commit()?;
    let status = edge.status()?;
    expect(status.text("/update/userStatus") == "UPDATED", "2.0 is reported as UPDATED")?;
    expect(edge.entries()? == ["edge_1.0.efi", "edge_2.0.efi"], "no entry has a counter any more")?;
    teller.verdict(&format!(
        "2.0 is COMMITTED: {} passed; its entry is edge_2.0.efi now",
        status.names("/checks")
    ));
    edge.shown(teller, "systemctl is-active boot-complete.target", 0)?;

    teller.say("another reboot");
    edge.reboot(teller)?;
    boots_into(teller, edge, "2.0")?;
    edge.shown(teller, "abide status", 0)?;
    Ok(())
}

/// The life of an update that cannot even start.
fn panics(teller: &Teller, edge: &mut Edge) -> Result<()> {
    let url = edge.image("3.0", "panic-early")?;
    let write = format!("abide write {url}");
    edge.shown(teller, &write, 0)?;
    edge.shown(teller, "abide apply", 0)?;
    edge.reboot(teller)?;

    for _ in 0..3 {
        match edge.next_boot(teller)? {
            End::Panicked(line) => teller.detail(&line),
            End::Up(version) => return Err(format!("3.0 should panic, but {version} came up").into()),
        }
    }
    boots_into(teller, edge, "2.0")?;
    let status = edge.status()?;
    expect(status.text("/boot/kind") == "fallback", "this boot is known to be a fallback")?;
    expect(status.text("/failures/0/attempts") == "3", "3.0 has used up three tries")?;
    teller.verdict(&format!(
        "3.0 has FAILED, phase {}: {}",
        status.text("/failures/0/phase"),
        status.text("/failures/0/reason"),
    ));
    edge.shown(teller, "abide status", 0)?;

    teller.say("the same image again: refused with exit code 6, until it is forgotten");
    edge.shown(teller, &write, 6)?;
    edge.shown(teller, "abide forget 3.0", 0)?;
    edge.shown(teller, &write, 0)?;
    Ok(())
}

/// The next boot must reach user space of this version.
fn boots_into(teller: &Teller, edge: &mut Edge, version: &str) -> Result<()> {
    match edge.next_boot(teller)? {
        End::Up(up) if up == version => edge.wait_for_network(),
        End::Up(up) => Err(format!("{version} should be up, but {up} is").into()),
        End::Panicked(line) => Err(format!("{version} should be up, but: {line}").into()),
    }
}

fn expect(holds: bool, what: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(format!("this should hold, but does not: {what}").into()) }
}
