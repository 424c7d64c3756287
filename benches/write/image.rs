//! The images: made of this machine's own files, so that they compress like real ones.

use std::fs::{self, File};
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use abide_testing::emt_node::{NodeKind, build_uuid, mapped_cmdline, node};
use abide_testing::image::{front, noise};
use abide_testing::tree::cmdline;
use abide_testing::uki::pe;
use abide_testing::{Image, tree};

use crate::case::Case;

const MIB: u64 = 1 << 20;
const PAGE: usize = 4096;

/// Bytes of real files to take from.
const POOL: u64 = 1 << 30;

/// Bytes for the hash tree of the largest image.
const HASHES: u64 = 128 << 20;

/// Bytes of the kernel in the image.
const KERNEL: usize = 12 << 20;

/// One image, published in every way.
pub struct Published {
    pub raw: PathBuf,
    pub disk_len: u64,
    pub root_start: u64,
    pub root_len: u64,
    pool: PathBuf,
}

impl Published {
    /// Makes the files that do not exist yet.
    pub fn make(dir: &Path, case: &Case) -> Self {
        let pool = dir.join("pool");
        if !pool.exists() {
            make_pool(&dir.join("pool.new"));
            fs::rename(dir.join("pool.new"), &pool).unwrap();
        }
        let esp = Image { uki: Some(bench_uki(&cmdline("b"))), ..Image::new("2.0", "b") }.esp();
        let parts = [
            ("esp", gpt::partition_types::EFI, esp.len() as u64),
            ("edge_2.0", gpt::partition_types::LINUX_ROOT_X64, case.size),
        ];
        let (head, starts, disk_len) = front(&parts);
        let raw = dir.join(format!("{}-{}.raw", case.kind(), case.size_name()));
        let published = Self { disk_len, root_start: starts[1], root_len: case.size, pool, raw };
        if !published.raw.exists() {
            eprintln!("making {}", published.raw.display());
            published.write_raw(&[head, esp].concat(), case.dense);
        }
        published
    }

    /// The same bytes for a machine that makes the hash tree itself: the UKI names the file system by its UUID, and the
    /// root begins with the superblock of an ext4 that fills it.
    pub fn mapped(&self) -> Self {
        let raw = self.made("mapped", |raw, to| format!("cp --reflink=auto {raw} {to}"));
        let esp =
            Image { uki: Some(bench_uki(&mapped_cmdline(&build_uuid(2)))), ..Image::new("2.0", "b") }.esp();
        let mut superblock = [0; 1024];
        for (at, bytes) in [
            (0x04, &u32::try_from(self.root_len / PAGE as u64).unwrap().to_le_bytes()[..]),
            (0x18, &2_u32.to_le_bytes()),
            (0x38, &[0x53, 0xef]),
            (0x68, uuid::Uuid::try_parse(&build_uuid(2)).unwrap().as_bytes()),
        ] {
            superblock[at..at + bytes.len()].copy_from_slice(bytes);
        }
        let file = fs::OpenOptions::new().write(true).open(&raw).unwrap();
        file.write_all_at(&esp, self.root_start - esp.len() as u64).unwrap();
        file.write_all_at(&superblock, self.root_start + 1024).unwrap();
        Self { raw, pool: self.pool.clone(), ..*self }
    }

    fn write_raw(&self, head: &[u8], dense: bool) {
        let mut pool = File::open(&self.pool).unwrap();
        let part = self.raw.with_extension("part");
        let mut to = BufWriter::with_capacity(1 << 20, File::create(&part).unwrap());
        to.write_all(head).unwrap();
        let (mut block, zeros) = (vec![0; MIB as usize], vec![0; MIB as usize]);
        let mut seed = 1_u64;
        let (mut data, mut empty) = (0, 0);
        for _ in 0..self.root_len / MIB {
            if data == 0 && empty == 0 {
                // Extents of 1 to 8 MiB, each followed by three times as many zeros.
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                data = (seed >> 33) % 8 + 1;
                empty = 3 * data;
            }
            if dense || data > 0 {
                data = data.saturating_sub(1);
                read_round(&mut pool, &mut block);
                to.write_all(&block).unwrap();
            } else {
                empty -= 1;
                to.write_all(&zeros).unwrap();
            }
        }
        to.write_all(&vec![0; (self.disk_len - self.root_start - self.root_len) as usize]).unwrap();
        to.into_inner().unwrap().sync_all().unwrap();
        fs::rename(part, &self.raw).unwrap();
    }

    /// Packed with gzip at its default level.
    pub fn gz(&self) -> PathBuf {
        self.made("gz", |raw, to| format!("gzip -c {raw} >{to}"))
    }

    /// Packed with zstd at its default level.
    pub fn zst(&self) -> PathBuf {
        self.made("zst", |raw, to| format!("zstd -q -f -T0 {raw} -o {to}"))
    }

    /// The map that bmaptool needs; made from a file with holes.
    pub fn bmap(&self) -> PathBuf {
        self.made("bmap", |raw, to| {
            format!(
                "cp --sparse=always {raw} {raw}.holes && {{ bmaptool create {raw}.holes >{to} || touch {to}; }}; \
                 rm -f {raw}.holes"
            )
        })
    }

    /// A file next to the image, made by a command if it does not exist.
    fn made(&self, kind: &str, command: impl Fn(&str, &str) -> String) -> PathBuf {
        let path = PathBuf::from(format!("{}.{kind}", self.raw.display()));
        if !path.exists() {
            eprintln!("making {}", path.display());
            let part = format!("{}.part", path.display());
            let command = command(&self.raw.display().to_string(), &part);
            assert!(Command::new("sh").args(["-c", &command]).status().unwrap().success(), "{command}");
            fs::rename(part, &path).unwrap();
            nix::unistd::sync();
        }
        path
    }

    pub fn digest(&self, path: &Path) -> String {
        let output = Command::new("sha256sum").arg(path).output().unwrap();
        String::from_utf8(output.stdout).unwrap().split_whitespace().next().unwrap().to_owned()
    }

    /// Fills `block` with bytes that differ from the image at `offset` and contain no zeros.
    pub fn something_else(&self, block: &mut [u8], offset: u64) {
        let pool = File::open(&self.pool).unwrap();
        pool.read_exact_at(block, (offset + POOL / 2 + PAGE as u64) % (POOL - block.len() as u64)).unwrap();
        for byte in block.iter_mut().step_by(PAGE / 2) {
            *byte = 0x5a;
        }
    }
}

/// Reads; at the end it continues from the beginning.
fn read_round(pool: &mut File, block: &mut [u8]) {
    if pool.read_exact(block).is_err() {
        pool.seek(SeekFrom::Start(0)).unwrap();
        pool.read_exact(block).unwrap();
    }
}

/// The concatenated files of this system, without pages of zeros.
fn make_pool(path: &Path) {
    eprintln!("making {}", path.display());
    let mut to = BufWriter::new(File::create(path).unwrap());
    let mut left = POOL;
    while left > 0 {
        let before = left;
        for dir in ["/usr/bin", "/usr/lib", "/usr/share", "/usr/local"] {
            add_dir(Path::new(dir), &mut to, &mut left);
        }
        assert!(left < before, "no files to make an image of");
    }
    to.into_inner().unwrap().sync_all().unwrap();
}

fn add_dir(dir: &Path, to: &mut impl Write, left: &mut u64) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    let mut entries: Vec<_> = entries.flatten().map(|e| e.path()).collect();
    entries.sort();
    for path in entries {
        let Ok(meta) = path.symlink_metadata() else { continue };
        if *left == 0 {
            return;
        } else if meta.is_dir() {
            add_dir(&path, to, left);
        } else if meta.is_file() {
            let bytes = fs::read(&path).unwrap_or_default();
            for page in bytes.chunks_exact(PAGE).filter(|page| page.iter().any(|b| *b != 0)) {
                if *left > 0 {
                    to.write_all(page).unwrap();
                    *left -= PAGE as u64;
                }
            }
        }
    }
}

fn bench_uki(cmdline: &str) -> Vec<u8> {
    let osrel = b"ID=edge\nIMAGE_ID=edge\nIMAGE_VERSION=2.0\n";
    let kernel = noise(KERNEL, 3);
    let sections: [(&str, &[u8]); 4] =
        [(".osrel", osrel), (".cmdline", cmdline.as_bytes()), (".uname", b"6.12.0"), (".linux", &kernel)];
    pe(0x8664, &sections)
}

/// The machine that Abide writes on: a tree whose slot b is the device.
pub fn machine(device: &Path, len: u64) -> tree::Tree {
    let tree = tree::Tree::running("1.0");
    put_device(&tree, "dev/sda3", device, len);
    tree
}

/// The same for a machine that makes the hash tree itself, on a plain file.
pub fn own_tree_machine(device: &Path, len: u64, dir: &Path) -> tree::Tree {
    let tree = node(NodeKind::Verity);
    put_device(&tree, "dev/sda6", device, len);
    fs::remove_file(tree.path("dev/sda5")).unwrap();
    std::os::unix::fs::symlink(hashes(dir), tree.path("dev/sda5")).unwrap();
    tree
}

/// The file that the hash tree is written to.
pub fn hashes(dir: &Path) -> PathBuf {
    let path = dir.join("hashes.raw");
    if !path.exists() {
        File::create(&path).unwrap().set_len(HASHES).unwrap();
    }
    path
}

/// Makes `node` of the tree the same device.
fn put_device(tree: &tree::Tree, node: &str, device: &Path, len: u64) {
    use nix::sys::stat::{Mode, SFlag, major, minor, mknod};
    let rdev = std::os::unix::fs::MetadataExt::rdev(&fs::metadata(device).unwrap());
    fs::remove_file(tree.path(node)).unwrap();
    mknod(&tree.path(node), SFlag::S_IFBLK, Mode::S_IRUSR | Mode::S_IWUSR, rdev).unwrap();
    let sys = tree.path(&format!("sys/dev/block/{}:{}", major(rdev), minor(rdev)));
    fs::create_dir_all(&sys).unwrap();
    fs::write(sys.join("size"), format!("{}\n", len / 512)).unwrap();
}
