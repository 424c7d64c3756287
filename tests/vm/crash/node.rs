//! A node of Edge Microvisor Toolkit: each slot has a hash tree that the machine has made, and its root hash lies in a file
//! beside that of the other slot.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use abide_qemu::esp::Esp;
use abide_qemu::sectors::{SECTOR, Sectors};
use abide_qemu::table::{self, Partition};
use abide_qemu::write_log::Entry;
use abide_testing::program;

use super::judge::{Judge, Promise, Version, Violation};
use super::recorder::Recording;
use super::seed;
use super::slots::{Slots, holds};
use super::states::judge_all;

/// The partitions of a slot: its root, its tree, and its name in the files with root hashes.
const SLOTS: [(usize, usize, &str); 2] = [(2, 4, "a"), (6, 5, "b")];

/// The one with the files.
const FILES: usize = 7;

/// Those in which nothing is that a boot depends on: edge_persistent, swap, reserved.
const OTHERS: [usize; 3] = [3, 8, 9];

/// Where an ext4 has its UUID, and where that lies in its sector (`struct ext4_super_block`, s_uuid).
const SUPERBLOCK: u64 = 1024 / SECTOR as u64;
const UUID: usize = 0x68;

/// A version as its image holds it.
#[derive(Debug)]
struct Root {
    version: Version,
    uuid: Vec<u8>,
    content: Vec<u32>,
}

/// By slot what the files with the root hashes hold.
type RootHashes = Result<BTreeMap<&'static str, String>, Violation>;

/// The slots of a node.
#[derive(Debug)]
struct NodeSlots {
    roots: Vec<Root>,
    /// A folder for what other programs look at.
    work: PathBuf,
    /// What these have said.
    files: RefCell<BTreeMap<u64, RootHashes>>,
    trees: RefCell<BTreeMap<u64, bool>>,
}

/// Judges what was recorded of a node that installed these images, each with its version.
pub fn judge(mut recording: Recording, images: &[(Version, PathBuf)], work: &Path) {
    fs::create_dir_all(work).unwrap();
    let table = table::read(&recording.disk).unwrap();
    let ranges = OTHERS.map(|number| {
        let Partition { start, count, .. } = table.partitions[number - 1];
        start..start + count
    });
    recording.leave_out(&ranges);
    // Linux relies on it (fs/ext4, the checksum of the superblock is in its second sector): a torn one cannot be mounted.
    let files = table.partitions[FILES - 1].start;
    recording.never_torn.push(files + SUPERBLOCK..files + SUPERBLOCK + 2);
    let (mut ukis, mut roots) = (Vec::new(), Vec::new());
    for (version, image) in images {
        let esp = Esp::open(image).unwrap();
        let name = esp.entries().unwrap().remove(0);
        ukis.push((*version, esp.read(&format!("EFI/Linux/{name}")).unwrap()));
        esp.close().unwrap();
        roots.push(root(&recording.disk, version, image));
    }
    let slots = || NodeSlots {
        roots: roots
            .iter()
            .map(|r| Root { uuid: r.uuid.clone(), content: r.content.clone(), ..*r })
            .collect(),
        work: work.to_owned(),
        files: RefCell::default(),
        trees: RefCell::default(),
    };
    promise_root_hashes(&mut recording, &slots());
    let ukis = ukis.iter().map(|(version, uki)| (*version, uki.as_slice()));
    let judge = Judge::of(ukis, Box::new(slots()), &recording.disk);
    let judgement = judge_all(&recording, 0..recording.transitions.len(), &judge, seed(), 5);
    for (cut, violation) in &judgement.violations {
        println!("{}: {cut:?}: {violation}", recording.transitions[cut.transition].name);
    }
    println!("crash states of a node: {} (ABIDE_SEED={})", judgement.numbers, seed());
    assert!(judgement.violations.is_empty(), "ABIDE_SEED={}", seed());
    damage_is_noticed(&recording, &judge, &table.partitions);
}

/// The root of an image: its second partition.
fn root(disk: &Sectors, version: Version, image: &Path) -> Root {
    let whole = Sectors::read(image).unwrap();
    let partition = &table::read(&whole).unwrap().partitions[1];
    let bytes: Vec<u8> =
        (0..partition.count).flat_map(|sector| whole.content(partition.start + sector)).collect();
    let uuid = bytes[1024 + UUID..1024 + UUID + 16].to_vec();
    Root { version, uuid, content: disk.intern(&bytes) }
}

/// Between two moments of rest each file holds what it held before, or what it holds after.
fn promise_root_hashes(recording: &mut Recording, slots: &NodeSlots) {
    let mut disk = recording.disk.clone();
    let partitions = table::read(&disk).unwrap().partitions;
    let found = |disk: &Sectors| -> std::collections::BTreeSet<String> {
        let files = slots.root_hashes(disk, &partitions[FILES - 1]).unwrap();
        files.iter().map(|(slot, hash)| format!("{slot}: {hash}")).collect()
    };
    let mut before = found(&disk);
    let mut replaced = 0;
    for transition in &mut recording.transitions {
        for entry in &recording.entries[transition.entries.clone()] {
            if let Entry::Write(write) = entry {
                write.apply(&mut disk);
            }
        }
        let after = found(&disk);
        assert!(before.intersection(&after).count() > 0, "{}: both files are new", transition.name);
        replaced += usize::from(before != after);
        transition.before.root_hashes.clone_from(&before);
        transition.after.root_hashes.clone_from(&after);
        before = after;
    }
    assert!(replaced > 1, "only {replaced} files were replaced");
}

/// The checker is mutation-tested: what a wrong order of writes would leave must be noticed.
fn damage_is_noticed(recording: &Recording, judge: &Judge, partitions: &[Partition]) {
    let mut whole = recording.disk.clone();
    for entry in &recording.entries[..recording.transitions.last().unwrap().entries.end] {
        if let Entry::Write(write) = entry {
            write.apply(&mut whole);
        }
    }
    let promise = &recording.transitions.last().unwrap().after;
    judge.check(&whole, promise).unwrap();
    for (root, tree, slot) in SLOTS {
        for number in [root, tree] {
            // A block of either: the fourth is the first of the root's files, or of the tree's hashes.
            let mut damaged = whole.clone();
            let other = damaged.intern(&[0x5a; SECTOR]);
            let at = partitions[number - 1].start + 3 * 8;
            damaged.set(at, &other);
            let violation = judge.check(&damaged, promise).unwrap_err();
            println!("  damage in partition {number} of slot {slot}: {violation}");
        }
    }
    let mut old = whole.clone();
    let Partition { start, count, .. } = partitions[FILES - 1];
    for sector in start..start + count {
        old.set(sector, &[recording.disk.number(sector)]);
    }
    println!("  old root hashes: {}", judge.check(&old, promise).unwrap_err());
}

impl NodeSlots {
    /// What the files with the root hashes hold after a mount, which replays the journal.
    fn root_hashes(&self, disk: &Sectors, partition: &Partition) -> RootHashes {
        let key = hash(disk, partition);
        if let Some(known) = self.files.borrow().get(&key) {
            return known.clone();
        }
        let image = self.work.join("roothash.ext4");
        extract(disk, partition, &image);
        let found = read_root_hashes(&image);
        self.files.borrow_mut().insert(key, found.clone());
        found
    }

    /// Whether `veritysetup` accepts root and tree of a slot under this hash.
    fn is_verified(&self, disk: &Sectors, root: &Partition, tree: &Partition, root_hash: &str) -> bool {
        let mut hasher = DefaultHasher::new();
        (hash(disk, root), hash(disk, tree), root_hash).hash(&mut hasher);
        *self.trees.borrow_mut().entry(hasher.finish()).or_insert_with(|| {
            let paths = [(root, "root"), (tree, "tree")].map(|(partition, name)| {
                let path = self.work.join(name);
                extract(disk, partition, &path);
                path
            });
            program("veritysetup").arg("verify").args(paths).arg(root_hash).output().unwrap().status.success()
        })
    }
}

impl Slots for NodeSlots {
    fn check_whole(
        &self,
        disk: &Sectors,
        partitions: &[Partition],
        version: Version,
    ) -> Result<(), Violation> {
        let known = self.roots.iter().find(|root| root.version == version).unwrap();
        let has_uuid =
            |root: &Partition| disk.content(root.start + SUPERBLOCK)[UUID..UUID + 16] == known.uuid[..];
        let found = SLOTS.iter().find(|(root, ..)| has_uuid(&partitions[root - 1]));
        let (root, tree, slot) = found.ok_or("no slot has the UUID that it boots")?;
        let (root, tree) = (&partitions[root - 1], &partitions[tree - 1]);
        if !holds(disk, root, &known.content) {
            return Err(format!("the root of slot {slot} is not whole"));
        }
        let root_hash = self.root_hashes(disk, &partitions[FILES - 1])?[slot].clone();
        match self.is_verified(disk, root, tree, &root_hash) {
            true => Ok(()),
            false => {
                Err(format!("the tree of slot {slot} is not one for its root and the hash '{root_hash}'"))
            }
        }
    }

    fn check_shared(
        &self,
        disk: &Sectors,
        partitions: &[Partition],
        promise: &Promise,
    ) -> Result<(), Violation> {
        for (slot, root_hash) in self.root_hashes(disk, &partitions[FILES - 1])? {
            let line = format!("{slot}: {root_hash}");
            if !promise.root_hashes.contains(&line) {
                return Err(format!("the root hash of slot {line}, not of {:?}", promise.root_hashes));
            }
        }
        Ok(())
    }
}

/// Replays the journal as a mount does, and reads both files; one that is not there holds nothing.
fn read_root_hashes(image: &Path) -> RootHashes {
    let replayed = program("e2fsck").args(["-y", "-E", "journal_only"]).arg(image).output().unwrap();
    // 1: something was corrected.
    if replayed.status.code().is_none_or(|code| code > 1) {
        return Err(format!("the root hashes are lost: {}", String::from_utf8_lossy(&replayed.stdout)));
    }
    let mut debugfs = program("debugfs");
    debugfs.args(["-f", "-"]).arg(image).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut debugfs = debugfs.spawn().unwrap();
    let commands = SLOTS.map(|(_, _, slot)| format!("cat part_{slot}_roothash\n")).concat();
    debugfs.stdin.take().unwrap().write_all(commands.as_bytes()).unwrap();
    let said = String::from_utf8(debugfs.wait_with_output().unwrap().stdout).unwrap();
    // Each command, and then what it says.
    let mut answers = said.split("debugfs: cat part_").skip(1);
    SLOTS
        .iter()
        .map(|(_, _, slot)| {
            let answer = answers.next().ok_or("the root hashes cannot be read")?;
            let (_, content) = answer.split_once('\n').ok_or("the root hashes cannot be read")?;
            Ok((*slot, content.trim_end_matches('\n').to_owned()))
        })
        .collect()
}

fn hash(disk: &Sectors, partition: &Partition) -> u64 {
    let mut hasher = DefaultHasher::new();
    for sector in partition.start..partition.start + partition.count {
        disk.number(sector).hash(&mut hasher);
    }
    hasher.finish()
}

/// A partition as a file.
fn extract(disk: &Sectors, partition: &Partition, to: &Path) {
    use std::os::unix::fs::FileExt;
    let file = fs::File::create(to).unwrap();
    file.set_len(partition.count * SECTOR as u64).unwrap();
    for sector in (0..partition.count).filter(|sector| disk.number(partition.start + sector) != 0) {
        file.write_all_at(&disk.content(partition.start + sector), sector * SECTOR as u64).unwrap();
    }
}
