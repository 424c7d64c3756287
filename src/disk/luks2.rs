//! The UUID in the header of a LUKS2 partition (LUKS2 On-Disk Format Specification, 2.1 and 2.5).
//!
//! As `cryptsetup luksUUID` sets it, and no more: the area with the keys' descriptions (JSON), the keyslots and the
//! tokens stay as they are. One copy of the header is written and flushed before the other, so that after a power cut
//! one of the two is whole, and each is changed in its first sector alone. Both copies are read anew, under the lock of
//! cryptsetup, right before that: another program may have changed keyslots or tokens since.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use uuid::Uuid;

use crate::disk::header_lock::HeaderLock;
use abide_core::error::{Error, OrError, Result};

/// How long another program may hold the header's lock: cryptsetup holds it for moments, not while it derives a key.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes of the binary header. Behind it, up to the size that it names, is the JSON area.
const BINARY: usize = 4096;

const MAGIC: [&[u8; 6]; 2] = [b"LUKS\xba\xbe", b"SKUL\xba\xbe"];

/// The sizes of a header that the specification allows: 16 KiB to 4 MiB.
const SIZES: std::ops::RangeInclusive<u32> = 14..=22;

/// A field of the binary header: its first byte and its length.
type Field = (usize, usize);

const VERSION: Field = (6, 2);
const HEADER_SIZE: Field = (8, 8);
const SEQUENCE: Field = (16, 8);
const ALGORITHM: Field = (72, 32);
const SALT: Field = (104, 64);
const UUID: Field = (168, 40);
const OFFSET: Field = (256, 8);
const CHECKSUM: Field = (448, 64);

/// One copy of the header, with its JSON area.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Header {
    offset: u64,
    bytes: Vec<u8>,
}

impl Header {
    /// Reads the copy at `offset`; the first has this magic, the second another one.
    fn read(device: &File, offset: u64, magic: &[u8; 6]) -> io::Result<std::result::Result<Self, String>> {
        let mut bytes = vec![0; BINARY];
        device.read_exact_at(&mut bytes, offset)?;
        let mut header = Self { offset, bytes };
        if !header.bytes.starts_with(magic) || header.number(VERSION) != 2 {
            return Ok(Err(format!("there is no LUKS2 header at byte {offset}")));
        }
        let size = header.number(HEADER_SIZE);
        if header.number(OFFSET) != offset || !SIZES.into_iter().any(|bits| size == 1 << bits) {
            return Ok(Err(format!("the LUKS2 header at byte {offset} names another place or size")));
        }
        header.bytes.resize(usize::try_from(size).unwrap_or(BINARY), 0);
        device.read_exact_at(&mut header.bytes, offset)?;
        if header.text(ALGORITHM) != "sha256" {
            let algorithm = header.text(ALGORITHM);
            return Ok(Err(format!("its checksums are by {algorithm}, and Abide knows sha256 only")));
        }
        if header.field(CHECKSUM) != header.checksum() {
            return Ok(Err(format!(
                "the checksum of its LUKS2 header at byte {offset} is wrong; cryptsetup repair may mend it"
            )));
        }
        Ok(Ok(header))
    }

    fn field(&self, (at, len): Field) -> &[u8] {
        self.bytes.get(at..at + len).unwrap_or_default()
    }

    fn set(&mut self, (at, len): Field, value: &[u8]) {
        if let Some(field) = self.bytes.get_mut(at..at + len) {
            field.fill(0);
            field.iter_mut().zip(value).for_each(|(to, from)| *to = *from);
        }
    }

    /// A number; the most significant byte first.
    fn number(&self, field: Field) -> u64 {
        self.field(field).iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    fn text(&self, field: Field) -> String {
        let bytes: Vec<u8> = self.field(field).iter().copied().take_while(|byte| *byte != 0).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn json(&self) -> &[u8] {
        self.bytes.get(BINARY..).unwrap_or_default()
    }

    /// Of the whole copy, the checksum itself counting as zeros.
    fn checksum(&self) -> Vec<u8> {
        let mut copy = self.clone();
        copy.set(CHECKSUM, &[]);
        let mut checksum = digest(&SHA256, &copy.bytes).as_ref().to_vec();
        checksum.resize(CHECKSUM.1, 0);
        checksum
    }

    /// The same header in its next generation.
    fn changed(&self, uuid: &Uuid, sequence: u64, salt: &[u8]) -> Self {
        let mut header = self.clone();
        header.set(UUID, uuid.to_string().as_bytes());
        header.set(SEQUENCE, &sequence.to_be_bytes());
        header.set(SALT, salt);
        let checksum = header.checksum();
        header.set(CHECKSUM, &checksum);
        header
    }

    /// Writes the binary header, flushes it and reads the whole copy back.
    fn write(&self, device: &File) -> io::Result<bool> {
        device.write_all_at(self.bytes.get(..BINARY).unwrap_or_default(), self.offset)?;
        device.sync_all()?;
        posix_fadvise(device, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?;
        let mut read = Self { offset: self.offset, bytes: vec![0; self.bytes.len()] };
        device.read_exact_at(&mut read.bytes, self.offset)?;
        Ok(read == *self && read.field(CHECKSUM) == read.checksum())
    }
}

/// The header of a partition.
#[derive(Debug)]
pub struct Luks2 {
    name: String,
    path: PathBuf,
    device: File,
}

impl Luks2 {
    /// Opens the partition and checks both copies. It may be in use: what is encrypted lies behind them.
    ///
    /// # Errors
    /// [`Error::Refused`] if the partition has no LUKS2 header, or its copies are damaged or differ.
    pub fn open(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let device = OpenOptions::new().read(true).write(true).open(path);
        let device = device.or_failed(|| format!("{name}: cannot open"))?;
        let luks = Self { name, path: path.to_owned(), device };
        luks.copies().map(|_| luks)
    }

    /// Both copies as they are on the disk now.
    fn copies(&self) -> Result<[Header; 2]> {
        let name = &self.name;
        let cannot = || format!("{name}: cannot read");
        posix_fadvise(&self.device, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)
            .map_err(io::Error::from)
            .or_failed(cannot)?;
        let [first, second] = MAGIC;
        let read = |offset, magic| {
            let header = Header::read(&self.device, offset, magic).or_failed(cannot)?;
            header.map_err(|why| Error::Refused(format!("{name}: {why}")))
        };
        let first = read(0, first)?;
        let second = read(first.bytes.len() as u64, second)?;
        if first.json() != second.json() {
            return Err(Error::Refused(format!(
                "{name}: the two copies of its LUKS2 header differ; cryptsetup repair may mend them"
            )));
        }
        Ok([first, second])
    }

    /// Gives it this UUID. Returns whether that changed anything.
    ///
    /// # Errors
    /// [`Error::Refused`] if the header has been damaged since it was opened, [`Error::Busy`] if another program holds its
    /// lock: nothing has been changed then. [`Error::Image`] if it cannot be written, [`Error::Unverified`] if it reads back
    /// differently: one of the copies is whole then.
    pub fn set_uuid(&self, uuid: &Uuid) -> Result<bool> {
        let _lock = HeaderLock::wait(&self.path, PATIENCE)?;
        let [first, second] = &self.copies()?;
        let (one, other) = (first.number(SEQUENCE), second.number(SEQUENCE));
        let has_it = |copy: &Header| copy.text(UUID) == uuid.to_string();
        if one == other && has_it(first) && has_it(second) {
            return Ok(false);
        }
        let sequence = one.max(other).saturating_add(1);
        // The newer copy stays until the other one is durable.
        let order = if one > other { [second, first] } else { [first, second] };
        for copy in order {
            let mut salt = [0; SALT.1];
            SystemRandom::new()
                .fill(&mut salt)
                .map_err(|_| Error::Failed("the kernel provides no random numbers".into()))?;
            let is_right = copy.changed(uuid, sequence, &salt).write(&self.device);
            if !is_right.or_image(|| format!("{}: cannot write its LUKS2 header", self.name))? {
                return Err(Error::Unverified(format!(
                    "{}: its LUKS2 header differs from what was written; the disk is failing",
                    self.name
                )));
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use abide_testing::process::program;

    const OLD: &str = "00112233-4455-6677-8899-aabbccddeeff";
    const NEW: &str = "8d6c2b1a-0f9e-4d3c-8b7a-112233445566";

    fn new() -> Uuid {
        Uuid::try_parse(NEW).unwrap()
    }

    fn cryptsetup(words: &[&str], path: &Path) -> String {
        let output = program("cryptsetup").args(words).arg(path).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{words:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// A partition as cryptsetup formats it, with a key file; cheap on memory and time.
    fn formatted() -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let (path, key) = (dir.path().join("p6"), dir.path().join("key"));
        File::create(&path).unwrap().set_len(20 << 20).unwrap();
        std::fs::write(&key, "secret").unwrap();
        let key = key.to_str().unwrap();
        let kdf = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];
        let words = [&["luksFormat", "-q", "--type", "luks2", "--uuid", OLD, "--key-file", key][..], &kdf];
        cryptsetup(&words.concat(), &path);
        (dir, path)
    }

    /// What the dump says, but for the UUID and the number of the generation.
    fn dump(path: &Path) -> String {
        let dump = cryptsetup(&["luksDump"], path);
        let lines = dump.lines().filter(|line| !line.starts_with("UUID:") && !line.starts_with("Epoch:"));
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn cryptsetup_reads_the_new_uuid_and_all_the_rest_as_before() {
        let (dir, path) = formatted();
        let (before, content) = (dump(&path), std::fs::read(&path).unwrap());
        assert!(Luks2::open(&path).unwrap().set_uuid(&new()).unwrap());
        assert_eq!(cryptsetup(&["luksUUID"], &path).trim(), NEW);
        assert_eq!(dump(&path), before);
        cryptsetup(&["isLuks", "--type", "luks2"], &path);
        let key = dir.path().join("key");
        cryptsetup(&["open", "--test-passphrase", "--key-file", key.to_str().unwrap()], &path);
        let after = std::fs::read(&path).unwrap();
        let changed: Vec<usize> = (0..after.len()).filter(|at| after[*at] != content[*at]).collect();
        let second = 16384;
        assert!(
            changed.iter().all(|at| *at < 512 || (second..second + 512).contains(at)),
            "not in one sector"
        );
        assert!(!Luks2::open(&path).unwrap().set_uuid(&new()).unwrap(), "nothing to change");
        assert!(std::fs::read(&path).unwrap() == after);
    }

    #[test]
    fn what_cryptsetup_changes_afterwards_is_accepted_again() {
        let (_dir, path) = formatted();
        Luks2::open(&path).unwrap().set_uuid(&new()).unwrap();
        cryptsetup(&["luksUUID", "-q", "--uuid", OLD], &path);
        assert!(Luks2::open(&path).unwrap().set_uuid(&new()).unwrap());
        assert_eq!(cryptsetup(&["luksUUID"], &path).trim(), NEW);
    }

    #[test]
    fn a_key_that_is_added_after_the_header_was_opened_is_kept() {
        let (dir, path) = formatted();
        let luks = Luks2::open(&path).unwrap();
        let (key, more) = (dir.path().join("key"), dir.path().join("more"));
        std::fs::write(&more, "other").unwrap();
        let words =
            ["luksAddKey", "-q", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--key-file"];
        let keys = [key.to_str().unwrap(), path.to_str().unwrap()];
        cryptsetup(&[&words[..], &keys].concat(), &more);
        let before = dump(&path);
        assert!(luks.set_uuid(&new()).unwrap());
        assert_eq!((cryptsetup(&["luksUUID"], &path).trim(), dump(&path)), (NEW, before));
        for key in [key, more] {
            cryptsetup(&["open", "--test-passphrase", "--key-file", key.to_str().unwrap()], &path);
        }
    }

    #[test]
    fn a_header_that_is_damaged_after_it_was_opened_stays_as_it_is() {
        let (_dir, path) = formatted();
        let luks = Luks2::open(&path).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[5000] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(luks.set_uuid(&new()).unwrap_err().exit_code(), 6);
        assert!(std::fs::read(&path).unwrap() == bytes);
    }

    #[test]
    fn a_cut_between_the_copies_leaves_a_header_and_is_finished_next_time() {
        for which in [0, 1] {
            let (dir, path) = formatted();
            let old = std::fs::read(&path).unwrap();
            Luks2::open(&path).unwrap().set_uuid(&new()).unwrap();
            // One copy is still the old one.
            let device = OpenOptions::new().write(true).open(&path).unwrap();
            let at = which * 16384;
            device.write_all_at(&old[at..at + BINARY], at as u64).unwrap();
            let copy = dir.path().join("copy");
            std::fs::copy(&path, &copy).unwrap();
            assert_eq!(cryptsetup(&["luksUUID"], &copy).trim(), NEW, "the newer copy counts");
            assert!(Luks2::open(&path).unwrap().set_uuid(&new()).unwrap());
            let [first, second] = Luks2::open(&path).unwrap().copies().unwrap();
            assert_eq!((first.text(UUID).as_str(), second.text(UUID).as_str()), (NEW, NEW));
            assert_eq!(first.number(SEQUENCE), second.number(SEQUENCE));
        }
    }

    #[test]
    fn anything_but_a_whole_luks2_header_is_refused() {
        let (dir, path) = formatted();
        let good = std::fs::read(&path).unwrap();
        // The magics, the version, the sizes, a checksum, the JSON area, and the second copy's.
        for at in [0, 7, 14, 300, 450, 5000, 16384, 16384 + 450, 16384 + 5000] {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            std::fs::write(&path, &bytes).unwrap();
            assert_eq!(Luks2::open(&path).unwrap_err().exit_code(), 6, "byte {at}");
        }
        std::fs::write(&path, vec![0; 1 << 20]).unwrap();
        assert!(Luks2::open(&path).is_err());
        std::fs::write(&path, vec![0; 8 << 20]).unwrap();
        let key = dir.path().join("key");
        let words = ["luksFormat", "-q", "--type", "luks1", "--pbkdf-force-iterations", "1000", "--key-file"];
        cryptsetup(&[&words[..], &[key.to_str().unwrap()]].concat(), &path);
        assert!(Luks2::open(&path).unwrap_err().to_string().contains("no LUKS2 header"));
    }
}
