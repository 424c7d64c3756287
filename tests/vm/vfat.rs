//! Abide's reader of FATs against the kernel's vfat: the kernel makes the files, and both tell what is there.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::rc::Rc;

use abide_core::boot::esp::fat::reader::Fat;
use sha2::{Digest, Sha256};

use crate::support::edge::Edge;
use crate::support::plugged::plug_in;
use crate::support::snapshots::OLD;

/// Options of mkfs.vfat, and how large a file system it makes, in MiB. The last one is as
/// systemd-repart asks for it; four of the five of FAT32 have fewer than 65525 clusters.
const KINDS: [(&str, u64); 13] = [
    ("-F 12 -S 512 -s 1", 2),
    ("-F 12 -S 512 -s 8", 8),
    ("-F 12 -S 4096 -s 1", 8),
    ("-F 12 -S 4096 -s 8", 64),
    ("-F 16 -S 512 -s 1", 16),
    ("-F 16 -S 512 -s 8", 64),
    ("-F 16 -S 4096 -s 1", 64),
    ("-F 16 -S 4096 -s 8", 256),
    ("-F 32 -S 512 -s 1", 40),
    ("-F 32 -S 512 -s 8", 64),
    ("-F 32 -S 4096 -s 1", 64),
    ("-F 32 -S 4096 -s 8", 256),
    ("-F 32 -S 4096", 256),
];

/// Names of every kind, some removed and renamed; a file and a directory in many pieces.
const FILL: &str = r#"set -e
mkdir -p /run/vfat
mount -t vfat -o utf8 /dev/vdb /run/vfat
cd /run/vfat
mkdir -p EFI/Linux loader/entries 'EFI/A directory with a long name'
long=$(printf '%0250d' 7)
: >"EFI/$long.efi"
n=0
while [ $n -lt 60 ]; do
    printf '%1500s' $n >"EFI/Linux/small file $n"
    [ $n -gt 11 ] || for name in edge_3.0-with-a-long-name+3-0.efi BESIDE.EFI; do
        head -c 9000 /dev/urandom >>EFI/Linux/$name
    done
    n=$((n + 1))
done
rm EFI/Linux/small*[02468]
mv EFI/Linux/edge_3.0-with-a-long-name+3-0.efi EFI/Linux/edge_3.0-with-a-long-name+2-1.efi
mv EFI/Linux/BESIDE.EFI 'EFI/A directory with a long name/It was beside'
echo upper >EFI/Linux/SHORT.EFI
echo lower >EFI/Linux/short2.efi
echo both >EFI/Linux/SHORT3.efi
echo other >EFI/Linux/Short4.Efi
echo dots >EFI/Linux/a.b.c
echo hidden >EFI/Linux/.hidden
echo twin >EFI/Linux/small-file-that-has-a-twin
echo twin2 >EFI/Linux/small-file-that-has-a-twin-too
echo umlaut >EFI/Linux/Über.efi
echo far >'EFI/Linux/😀.efi'
echo plus >'EFI/Linux/x+1 [2];,=.efi'
echo fixed >loader/fixed
chmod a-w loader/fixed
truncate -s 7000 EFI/Linux/SHORT.EFI
truncate -s 300 'EFI/Linux/small file 1'
rmdir loader/entries
cd /
umount /run/vfat
mount -t vfat -o ro,utf8 /dev/vdb /run/vfat
cd /run/vfat
find . -mindepth 1 -type d -printf 'd %P\n'
find . -type f -printf '%m %P\n'
find . -type f -printf '%P\0' | xargs -0 sha256sum
cd /
umount /run/vfat
"#;

/// A file: whether it is read-only, and the checksum of what it holds. A directory is neither.
type Tree = BTreeMap<String, Option<(bool, String)>>;

/// What the kernel tells.
fn tree_of_kernel(told: &str) -> Tree {
    let mut tree = Tree::new();
    for (word, path) in told.lines().filter_map(|line| line.split_once(' ')) {
        match word {
            "d" => tree.insert(path.into(), None),
            _ if word.len() == 3 => tree.insert(path.into(), Some((word == "555", String::new()))),
            // Two spaces.
            sum => {
                let file = tree.get_mut(path.trim_start()).and_then(Option::as_mut);
                file.unwrap_or_else(|| panic!("{path}")).1 = sum.into();
                None
            }
        };
    }
    tree
}

/// What Abide's reader finds.
fn tree_of_reader(disk: &Path) -> Tree {
    let fat = Fat::open(Rc::new(File::open(disk).unwrap())).unwrap();
    let (mut tree, mut dirs) = (Tree::new(), vec![String::new()]);
    while let Some(dir) = dirs.pop() {
        for named in fat.list(&dir.to_ascii_uppercase()).unwrap().unwrap() {
            let path = format!("{dir}/{}", named.name).trim_start_matches('/').to_owned();
            if named.is_dir {
                dirs.push(path.clone());
                tree.insert(path, None);
                continue;
            }
            let mut bytes = vec![];
            fat.file(&path.to_ascii_lowercase()).unwrap().read_to_end(&mut bytes).unwrap();
            assert_eq!(bytes.len() as u64, named.len, "{path}");
            let sum = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
            tree.insert(path, Some((named.read_only, sum)));
        }
    }
    tree
}

#[test]
fn the_kernel_and_abide_see_the_same_files_on_every_kind_of_fat() {
    let mut edge = Edge::running("vfat", OLD);
    let disk = plug_in(&mut edge, 256);
    for (options, mebibytes) in KINDS {
        edge.ok(&format!("mkfs.vfat {options} /dev/vdb {}", mebibytes << 10));
        let told = edge.ok(FILL);
        let (kernel, reader) = (tree_of_kernel(&told), tree_of_reader(&disk));
        assert_eq!(reader, kernel, "{options}");
        assert_eq!(kernel.len(), 49, "{options}");
        let fixed = kernel.get("loader/fixed").and_then(Option::as_ref);
        assert!(fixed.is_some_and(|(read_only, _)| *read_only), "{options}");
        let fat = Fat::open(File::open(&disk).unwrap()).unwrap();
        assert_eq!(fat.layout().is_too_small(), options.contains("32") && mebibytes != 40, "{options}");
    }
    edge.vm.cut_power().unwrap();
    std::fs::remove_file(disk).unwrap();
}
