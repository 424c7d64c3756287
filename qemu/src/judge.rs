//! The judge: the decisions of a real loader about many disks, in one power-on.
//!
//! A machine is started whose firmware runs `qemu/judge/judge.c` instead of a loader. For each case it
//! writes the case's disk onto the machine's disk, sets the EFI variables, and starts the loader, which
//! reads, sorts, chooses and renames with the firmware's own drivers. Only the last call, which would
//! start the chosen image, is recorded instead of made. A case takes a fraction of a second.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use crate::case_file;
use crate::decision::{Case, Decision};
use crate::disk::create_with_esp;
use crate::esp::Esp;
use crate::machine::Machine;
use crate::paths::{make_dir, run, target, workspace};
use crate::{Error, Result, pe, small_disk};

/// The longest that the firmware, and that one case may take, on a busy host.
const START: Duration = Duration::from_secs(180);
const EACH: Duration = Duration::from_secs(20);

/// Asks a systemd-boot about each case, in a machine of this name.
///
/// # Errors
/// When the judge cannot be built, the machine does not get through in time, or a case cannot be judged.
pub fn ask(name: &str, loader: &[u8], cases: &[Case]) -> Result<Vec<Decision>> {
    let machine = Machine::new(name)?;
    let (boot, library, blank) =
        (machine.dir().join("judge.raw"), machine.dir().join("cases.raw"), machine.dir().join("blank.raw"));
    create_with_esp(&boot, 8)?;
    let esp = Esp::open(&boot)?;
    esp.write("EFI/BOOT/BOOTX64.EFI", &fs::read(program()?).map_err(Error::doing("read the judge"))?)?;
    esp.close()?;
    case_file::write(&library, loader, cases)?;
    fs::write(&blank, vec![0; small_disk::BYTES]).map_err(Error::at("write", &blank))?;

    let machine = machine.disk_copy(&boot)?.disk_copy(&library)?.disk_copy(&blank)?;
    for file in [boot, library, blank] {
        fs::remove_file(&file).map_err(Error::at("remove", &file))?;
    }
    let limit = START + EACH * u32::try_from(cases.len()).unwrap_or(u32::MAX);
    let mut vm = machine.start()?;
    vm.wait_for_line("judge: done", limit)?;
    let machine = vm.wait_for_power_off(limit)?;
    match machine.disk(1) {
        Some(disk) => case_file::read(disk),
        None => Ok(Vec::new()),
    }
}

/// The judge as an EFI application, built from its source with the system's C compiler.
fn program() -> Result<PathBuf> {
    static BUILT: OnceLock<std::result::Result<PathBuf, String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| build().map_err(|error| error.to_string()));
    built.clone().map_err(|error| Error::doing("build the judge")(std::io::Error::other(error)))
}

fn build() -> Result<PathBuf> {
    let (source, out) = (workspace().join("qemu/judge"), target().join("judge"));
    make_dir(&out)?;
    // Two test programs may build it at the same time.
    let at = |name: &str| out.join(format!("{}.{name}", std::process::id()));
    let (elf, flat, efi) = (at("elf"), at("bin"), at("efi"));
    run(Command::new("gcc")
        .args(["-O2", "-Wall", "-Wextra", "-Werror", "-ffreestanding", "-fpie", "-fvisibility=hidden"])
        // The firmware's interrupts use the stack below the red zone's end.
        .args(["-mno-red-zone", "-mgeneral-regs-only", "-fshort-wchar", "-ffunction-sections"])
        .args([
            "-fno-stack-protector",
            "-fno-asynchronous-unwind-tables",
            "-fno-tree-loop-distribute-patterns",
        ])
        .args(["-nostdlib", "-pie", "-Wl,--no-dynamic-linker,--build-id=none,--no-warn-rwx-segments"])
        .arg("-Wl,-T")
        .arg(source.join("judge.ld"))
        .arg(source.join("judge.c"))
        .arg("-o")
        .arg(&elf))?;
    run(Command::new("objcopy").args(["-O", "binary", "-j", ".image"]).args([&elf, &flat]))?;
    let code = fs::read(&flat).map_err(Error::at("read", &flat))?;
    fs::write(&efi, pe::executable(&code)).map_err(Error::at("write", &efi))?;
    for file in [elf, flat] {
        fs::remove_file(&file).map_err(Error::at("remove", &file))?;
    }
    let done = out.join("judge.efi");
    fs::rename(&efi, &done).map_err(Error::at("rename", &efi))?;
    Ok(done)
}
