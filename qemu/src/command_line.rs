//! From the description of a machine to QEMU's command line.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::agent::PORT;

/// The firmware of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Firmware {
    /// The code, mapped read-only.
    pub code: PathBuf,
    /// The template of the variables; each machine gets a copy of its own.
    pub variables: PathBuf,
    /// Needs system management mode, hence the q35 board: builds that enforce Secure Boot.
    pub management_mode: bool,
}

impl Default for Firmware {
    /// Debian's OVMF without Secure Boot (package `ovmf`).
    fn default() -> Firmware {
        Firmware {
            code: "/usr/share/OVMF/OVMF_CODE_4M.fd".into(),
            variables: "/usr/share/OVMF/OVMF_VARS_4M.fd".into(),
            management_mode: false,
        }
    }
}

impl Firmware {
    /// Debian's OVMF with its test keys ("snakeoil") enrolled and Secure Boot enforced.
    pub fn secure_boot() -> Firmware {
        Firmware {
            code: "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd".into(),
            variables: "/usr/share/OVMF/OVMF_VARS_4M.snakeoil.fd".into(),
            management_mode: true,
        }
    }
}

/// A network card behind QEMU's user-mode network: the guest gets 10.0.2.15 by DHCP, the host is
/// 10.0.2.2.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Network {
    /// Keeps the guest from reaching anything but the `forwards`.
    pub restrict: bool,
    /// TCP ports: (port on the host's 127.0.0.1, port in the guest).
    pub forwards: Vec<(u16, u16)>,
}

/// The id of the network card, as `set_link` wants it.
pub const NETWORK_CARD: &str = "net0";

/// Everything about a machine that QEMU is told on its command line.
#[derive(Debug, Clone)]
pub struct Hardware {
    /// Virtual processors.
    pub processors: u32,
    /// Memory in MiB.
    pub memory: u32,
    /// Size of the translator's code cache in MiB.
    pub translations: u32,
    /// Firmware code and template of the variables.
    pub firmware: Firmware,
    /// The network card, if any.
    pub network: Option<Network>,
    /// Whether there is an i6300esb watchdog.
    pub watchdog: bool,
    /// SMBIOS type 11 strings.
    pub smbios: Vec<String>,
    /// Further arguments, as they are.
    pub extra: Vec<String>,
}

impl Default for Hardware {
    fn default() -> Hardware {
        Hardware {
            processors: 1,
            memory: 512,
            translations: 256,
            firmware: Firmware::default(),
            network: None,
            watchdog: false,
            smbios: Vec::new(),
            extra: Vec::new(),
        }
    }
}

/// The files and sockets of one start.
pub struct Attachments<'a> {
    /// Disk image and its format (`raw` or `qcow2`).
    pub disks: &'a [(PathBuf, &'static str)],
    /// This machine's copy of the firmware's variables.
    pub variables: &'a Path,
    /// `-chardev` argument of the monitor, id `monitor`.
    pub monitor: String,
    /// `-chardev` argument of the agent, id `agent`.
    pub agent: String,
    /// Where everything that is written to the first disk is recorded, see
    /// [`crate::write_log`]; that disk must be raw.
    pub write_log: Option<&'a Path>,
    /// A saved state to continue from.
    pub incoming: Option<&'a Path>,
}

impl Hardware {
    /// The whole command; the console is on standard input and output.
    pub fn command(&self, files: &Attachments<'_>) -> Command {
        let mut qemu = Command::new("setpriv");
        qemu.args(["--pdeathsig", "KILL", "--", "qemu-system-x86_64"]);
        qemu.args(["-nodefaults", "-no-user-config", "-display", "none"]);
        let board = match self.firmware.management_mode {
            true => "q35,smm=on",
            false => "pc",
        };
        qemu.args(["-machine", board, "-cpu", "Nehalem"]);
        if self.firmware.management_mode {
            qemu.args(["-global", "driver=cfi.pflash01,property=secure,value=on"]);
        }
        qemu.arg("-accel").arg(format!("tcg,thread=multi,tb-size={}", self.translations));
        qemu.args(["-smp", &self.processors.to_string()]);
        qemu.args(["-m", &self.memory.to_string()]);
        qemu.arg("-drive")
            .arg(format!("if=pflash,format=raw,unit=0,readonly=on,file={}", escaped(&self.firmware.code)));
        qemu.arg("-drive").arg(format!("if=pflash,format=raw,unit=1,file={}", escaped(files.variables)));
        let recorded = usize::from(files.write_log.is_some()).min(files.disks.len());
        if let (Some(log), Some((disk, _))) = (files.write_log, files.disks.first()) {
            add_recorded(&mut qemu, disk, log);
        }
        for (disk, format) in files.disks.iter().skip(recorded) {
            // The host outlives its tests: what QEMU has written is safe in the page cache, and
            // a flush of the guest need not reach the host's disk.
            qemu.arg("-drive")
                .arg(format!("if=virtio,format={format},cache=unsafe,discard=unmap,file={}", escaped(disk)));
        }
        qemu.args(["-chardev", "stdio,id=console,signal=off"]);
        qemu.args(["-serial", "chardev:console"]);
        qemu.arg("-chardev").arg(&files.monitor);
        qemu.args(["-mon", "chardev=monitor,mode=control"]);
        qemu.arg("-chardev").arg(&files.agent);
        qemu.args(["-device", "virtio-serial-pci"]);
        qemu.arg("-device").arg(format!("virtserialport,chardev=agent,name={PORT}"));
        qemu.args(["-object", "rng-builtin,id=rng0", "-device", "virtio-rng-pci,rng=rng0"]);
        self.add_network(&mut qemu);
        if self.watchdog {
            qemu.args(["-device", "i6300esb"]);
        }
        for text in &self.smbios {
            let text = text.replace(',', ",,");
            qemu.arg("-smbios").arg(format!("type=11,value={text}"));
        }
        if let Some(state) = files.incoming {
            qemu.arg("-incoming").arg(format!("exec:cat {}", quoted(state)));
        }
        qemu.args(&self.extra);
        qemu
    }

    fn add_network(&self, qemu: &mut Command) {
        let Some(network) = &self.network else {
            return;
        };
        let mut user = format!("user,id=user0,restrict={}", if network.restrict { "on" } else { "off" });
        for (host, guest) in &network.forwards {
            user += &format!(",hostfwd=tcp:127.0.0.1:{host}-:{guest}");
        }
        qemu.arg("-netdev").arg(user);
        qemu.arg("-device").arg(format!("virtio-net-pci,netdev=user0,id={NETWORK_CARD},romfile="));
        // The firmware shall not try to boot from the network.
        for name in ["IPv4PXESupport", "IPv6PXESupport"] {
            qemu.arg("-fw_cfg").arg(format!("name=opt/org.tianocore/{name},string=n"));
        }
    }
}

/// The first disk with a recorder below it.
fn add_recorded(qemu: &mut Command, disk: &Path, log: &Path) {
    for (name, file) in [("base", disk), ("log", log)] {
        // A flush need not reach the host's disk, here neither.
        let file = escaped(file);
        qemu.arg("-blockdev").arg(format!("driver=file,node-name={name},cache.no-flush=on,filename={file}"));
    }
    // The log's own count of entries is kept exact, so that it can be read after QEMU was killed.
    qemu.arg("-blockdev").arg(
        "driver=blklogwrites,node-name=recorded,file=base,log=log,log-sector-size=512,log-super-update-interval=1",
    );
    // Merged requests may have as many parts as one call of the host's takes (IOV_MAX); the recorder adds its own
    // to them, and the guest would get an I/O error (seen with QEMU 7.2).
    qemu.args(["-device", "virtio-blk-pci,drive=recorded,request-merging=off"]);
}

/// A path inside an option of QEMU: commas are doubled.
fn escaped(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

/// A path inside a shell command.
pub fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(config: &Hardware) -> Vec<String> {
        let disks = [(PathBuf::from("/a,b/disk.raw"), "raw")];
        let files = Attachments {
            disks: &disks,
            variables: Path::new("/vars"),
            monitor: "socket,id=monitor".into(),
            agent: "socket,id=agent".into(),
            write_log: None,
            incoming: None,
        };
        let command = config.command(&files);
        let words = command.get_args();
        words.map(|word| word.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn a_machine_is_always_translated_never_virtualised() {
        let words = arguments(&Hardware::default());
        assert!(words.iter().any(|word| word.starts_with("tcg,")));
        assert!(!words.iter().any(|word| word.contains("kvm")));
    }

    #[test]
    fn commas_in_paths_and_strings_are_doubled() {
        let words = arguments(&Hardware { smbios: vec!["a=b,c".into()], ..Hardware::default() });
        assert!(words.iter().any(|word| word.ends_with("file=/a,,b/disk.raw")));
        assert!(words.contains(&"type=11,value=a=b,,c".to_owned()));
    }

    #[test]
    fn without_a_network_there_is_no_card() {
        assert!(!arguments(&Hardware::default()).contains(&"-netdev".to_owned()));
    }
}
