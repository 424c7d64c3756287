//! A machine as a folder, for `--root`: an ESP, two slots, and what the kernel shows.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use abide_core::boot::model::choice::choose;
use abide_core::boot::{Access, BootDirs, BootPartition, Counter, EfiVars, LoaderVars};
use abide_core::disk::RootArg;
use abide_core::root::Root;
use abide_core::state::{Reboots, Stage, State, Store, Uki, Update};
use sha2::{Digest, Sha256};

use crate::process::{Run, abide, executable, program};
use crate::uki::uki;

/// The EFI variables' GUID of systemd-boot.
const GUID: &str = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

pub struct Tree {
    pub dir: tempfile::TempDir,
    boots: u32,
}

impl Tree {
    /// `edge` in `version`, committed, runs from slot a; slot b is empty.
    pub fn running(version: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut tree = Self { dir, boots: 0 };
        for folder in ["efi/EFI/Linux", "efi/loader", "dev/disk/by-partlabel", "dev/disk/by-partuuid", "proc"]
        {
            fs::create_dir_all(tree.path(folder)).unwrap();
        }
        for (slot, node) in [("a", "sda2"), ("b", "sda3")] {
            fs::write(tree.path(&format!("dev/{node}")), vec![0; 1 << 20]).unwrap();
            let links = [format!("by-partlabel/rootfs_{slot}"), format!("by-partuuid/{}", partuuid(slot))];
            for link in links {
                symlink(format!("../../{node}"), tree.path(&format!("dev/disk/{link}"))).unwrap();
            }
        }
        fs::write(tree.entry(&format!("edge_{version}.efi")), uki("edge", version, &cmdline("a"))).unwrap();
        tree.set_variable("LoaderInfo", "systemd-boot 257.13");
        tree.set_loader_features(0xffff);
        tree.boot();
        tree
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    pub fn root(&self) -> Root {
        Root::at(self.dir.path())
    }

    /// Where a UKI of this file name lies.
    pub fn entry(&self, name: &str) -> PathBuf {
        self.path("efi/EFI/Linux").join(name)
    }

    /// The file names of the entries, sorted.
    pub fn entries(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.path("efi/EFI/Linux"))
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".efi"))
            .collect();
        names.sort();
        names
    }

    /// `abide` on the tree.
    pub fn command(&self) -> Command {
        let mut command = abide();
        command.arg("--root").arg(self.dir.path());
        command
    }

    /// Runs the command on the tree.
    pub fn abide(&self, words: &[&str]) -> Run {
        Run::of(self.command().args(words))
    }

    /// Runs the executable under another name, which takes other flags.
    pub fn called(&self, name: &str, words: &[&str]) -> Run {
        let link = self.path(name);
        if !link.exists() {
            symlink(executable(), &link).unwrap();
        }
        Run::of(program(link).args(words).env("ABIDE_ROOT", self.dir.path()))
    }

    /// Takes an update into `slot`, commits it, and boots it once more.
    pub fn update(&mut self, version: &str, slot: &str) {
        self.stage(version, slot);
        self.abide(&["apply"]).ok();
        self.boot_with_initrd(version);
        self.abide(&["commit", "--now"]).ok();
        self.boot_with_initrd(version);
    }

    pub fn status(&self) -> serde_json::Value {
        self.abide(&["status", "--json"]).ok().json()
    }

    pub fn set_variable(&self, name: &str, text: &str) {
        let mut bytes = vec![6, 0, 0, 0];
        bytes.extend(utf16(text));
        let path = self.variable(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// What the loader says it can do; bit 4: count boots.
    pub fn set_loader_features(&self, bits: u64) {
        let bytes = [&[6, 0, 0, 0], &bits.to_le_bytes()[..]].concat();
        fs::write(self.variable("LoaderFeatures"), bytes).unwrap();
    }

    pub fn variable(&self, name: &str) -> PathBuf {
        self.path(&format!("sys/firmware/efi/efivars/{name}-{GUID}"))
    }

    /// Power off and on: the loader (its model) chooses, counts and renames; what it boots then
    /// shows in `/proc` and the variables. Returns the entry's file name after the rename.
    pub fn boot(&mut self) -> String {
        if self.path("run").exists() {
            fs::remove_dir_all(self.path("run")).unwrap();
        }
        let root = self.root();
        let vars = LoaderVars::read(&EfiVars::new(&root));
        let dirs = BootDirs::find(&root, &vars, Access::Write).unwrap();
        let quirks = vars.quirks();
        let conf = abide_core::boot::esp::entries::loader_conf(&dirs, quirks.single_quotes).unwrap();
        let choice = choose(&dirs.entries(&quirks).unwrap(), &vars.settings(conf), &quirks);
        let was = choice.expect("an entry").entry;
        let now = was.renamed(was.name.with_counter(was.name.counter().map(Counter::after_boot)));
        let folder = match was.partition {
            BootPartition::Esp => self.path("efi/EFI/Linux"),
            BootPartition::Xbootldr => self.path("boot/EFI/Linux"),
        };
        fs::rename(folder.join(was.name.file()), folder.join(now.name.file())).unwrap();
        fs::remove_file(self.variable("LoaderEntryOneShot")).unwrap_or_default();
        if was.name != now.name {
            self.set_variable("LoaderBootCountPath", &format!("\\EFI\\Linux\\{}", now.name));
        } else {
            fs::remove_file(self.variable("LoaderBootCountPath")).unwrap_or_default();
        }
        self.set_variable("LoaderEntrySelected", &was.id());
        self.boots += 1;
        fs::create_dir_all(self.path("proc/sys/kernel/random")).unwrap();
        fs::write(self.path("proc/sys/kernel/random/boot_id"), format!("boot-{}\n", self.boots)).unwrap();
        fs::write(self.path("proc/cmdline"), was.options.clone().unwrap_or_default()).unwrap();
        now.name.to_string()
    }

    /// Boots, and the initramfs stage runs to its end on a root of `version`.
    pub fn boot_with_initrd(&mut self, version: &str) -> String {
        let booted = self.boot();
        self.abide(&["initrd", "early"]).ok();
        self.mount_sysroot(version);
        self.abide(&["initrd", "root"]).ok();
        booted
    }

    pub fn mount_sysroot(&self, version: &str) {
        fs::create_dir_all(self.path("sysroot/usr/lib")).unwrap();
        fs::write(self.path("sysroot/usr/lib/os-release"), format!("ID=edge\nIMAGE_VERSION={version}\n"))
            .unwrap();
    }

    /// The state on the ESP.
    pub fn state(&self) -> State {
        let root = self.root();
        let vars = LoaderVars::read(&EfiVars::new(&root));
        Store::open(BootDirs::find(&root, &vars, Access::Read).unwrap().esp.as_ref()).state()
    }

    /// Puts a state on the ESP.
    pub fn save(&self, state: &State) {
        let root = self.root();
        let vars = LoaderVars::read(&EfiVars::new(&root));
        let dirs = BootDirs::find(&root, &vars, Access::Write).unwrap();
        Store::open(dirs.esp.as_ref()).save(dirs.esp.as_ref(), state).unwrap();
    }

    /// What `abide write` leaves of an image with this UKI, without the image.
    pub fn stage(&self, version: &str, slot: &str) {
        self.stage_with(version, slot, &cmdline(slot));
    }

    /// The same, with this command line.
    pub fn stage_with(&self, version: &str, slot: &str, cmdline: &str) {
        let bytes = uki("edge", version, cmdline);
        fs::create_dir_all(self.path("efi/EFI/abide")).unwrap();
        fs::write(self.path("efi/EFI/Linux/staged.uki"), &bytes).unwrap();
        let root = self.root();
        let vars = LoaderVars::read(&EfiVars::new(&root));
        let dirs = BootDirs::find(&root, &vars, Access::Write).unwrap();
        let mut store = Store::open(dirs.esp.as_ref());
        let mut state = store.state();
        state.update = Some(Update {
            image_id: "edge".into(),
            version: version.into(),
            digest: Some(digest(version.as_bytes())),
            slot: if slot == "a" { abide_core::disk::SlotName::A } else { abide_core::disk::SlotName::B },
            stage: Stage::Staged,
            uki: Some(Uki { sha256: digest(&bytes), size: bytes.len() as u64 }),
            root: RootArg::parse(cmdline).unwrap().to_string(),
            entry: String::new(),
            tries: 0,
            applied_in: String::new(),
            previous: None,
            boots: vec![],
            verdict: None,
            ended: None,
            counted: false,
            excused: false,
            root_hash: None,
            verified: None,
            floor: None,
            reboots: Reboots::default(),
            unversioned: false,
        });
        store.save(dirs.esp.as_ref(), &state).unwrap();
    }
}

/// The command line that boots a slot of the tree.
pub fn cmdline(slot: &str) -> String {
    format!("root=PARTUUID={} panic=10 quiet", partuuid(slot))
}

/// The partition UUID of a slot of the tree.
pub fn partuuid(slot: &str) -> String {
    format!("00000000-0000-4000-8000-00000000000{slot}")
}

pub fn digest(bytes: &[u8]) -> String {
    abide_core::hex::encode(&Sha256::digest(bytes))
}

/// A file's bytes.
pub fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap()
}

/// UTF-16LE with a NUL at its end, as the loader's variables hold texts.
pub fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}
