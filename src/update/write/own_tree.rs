//! Writing what a root below a mapping needs beside its partition: the hash tree, the file with its root hash, and the UUID
//! of the encrypted partition.
//!
//! Everything is opened before the slot is touched. What makes the slot recognisable comes last, once the image is
//! verified: the UUID, then the root hash. Until `apply` no boot entry names that UUID.

use log::info;
use ring::rand::{SecureRandom, SystemRandom};
use uuid::Uuid;

use crate::disk::direct::DirectFile;
use crate::disk::ext4::Ext4;
use crate::disk::hash_file::{HashFiles, Purpose};
use crate::disk::hash_tree::{Format, HashTree, SALT};
use crate::disk::luks2::Luks2;
use crate::update::write::mapped_root::MappedRoot;
use abide_core::disk::Area;
use abide_core::error::{Error, Result};
use abide_core::root::Root;

/// What is written beside the root, opened.
pub struct OwnTree {
    tree: Option<Tree>,
    luks: Option<(Luks2, Uuid)>,
}

struct Tree {
    device: DirectFile,
    format: Format,
    file: HashFiles,
}

impl OwnTree {
    /// Opens everything for a root with this file system.
    ///
    /// # Errors
    /// [`Error::Refused`] if the tree does not fit, its device is in use, or the encrypted partition has no sound LUKS2
    /// header; [`Error::Image`] if something cannot be opened.
    pub fn open(root: &Root, mapped: &MappedRoot, file_system: &Ext4) -> Result<Self> {
        let tree = mapped.own_tree.as_ref().map(|own_tree| {
            let format = format(file_system)?;
            let hashes = &own_tree.hashes;
            if format.size() > hashes.size {
                return Err(Error::Refused(format!(
                    "the hash tree of the image takes {} bytes, but {} ({}) has only {}",
                    format.size(),
                    hashes.node,
                    hashes.label,
                    hashes.size
                )));
            }
            let file = HashFiles::open(root, &own_tree.hash_file, Purpose::Replace)?;
            Ok(Tree { device: open_hashes(hashes)?, format, file })
        });
        let luks = mapped.luks.as_ref().map(|luks| Ok((Luks2::open(&luks.area.device)?, mapped.uuid)));
        Ok(Self { tree: tree.transpose()?, luks: luks.transpose()? })
    }

    /// The tree, to be made while the root is written; `None` where the machine has none.
    ///
    /// # Errors
    /// As [`HashTree::new`].
    pub fn begin(&self) -> Result<Option<HashTree<'_>>> {
        self.tree.as_ref().map(|tree| HashTree::new(&tree.device, tree.format.clone())).transpose()
    }

    /// Gives the slot the UUID that its UKI names, and replaces the file with the root hash. To be called once the image is
    /// verified.
    ///
    /// # Errors
    /// [`Error::Image`] if something cannot be written, [`Error::Unverified`] if it reads back differently.
    pub fn publish(&self, root_hash: Option<&str>) -> Result<()> {
        if let Some((luks, uuid)) = &self.luks
            && luks.set_uuid(uuid)?
        {
            info!("the encrypted partition has the UUID {uuid} now");
        }
        match (&self.tree, root_hash) {
            (Some(tree), Some(root_hash)) => tree.file.replace(root_hash),
            (Some(_), None) => Err(Error::Failed("the image has no root to make a hash tree of".into())),
            (None, _) => Ok(()),
        }
    }
}

/// A tree over all of the file system; what lies behind it in the slot, no file of it reaches.
fn format(file_system: &Ext4) -> Result<Format> {
    let (mut uuid, mut salt) = ([0; 16], [0; SALT]);
    let random = SystemRandom::new();
    let filled = random.fill(&mut uuid).and_then(|()| random.fill(&mut salt));
    filled.map_err(|_| Error::Failed("the kernel provides no random numbers".into()))?;
    Ok(Format::new(file_system.len, uuid::Builder::from_random_bytes(uuid).into_uuid(), salt))
}

fn open_hashes(hashes: &Area) -> Result<DirectFile> {
    DirectFile::open(&hashes.device).map_err(|e| {
        let what = format!("{} ({})", hashes.node, hashes.label);
        if e.raw_os_error() == Some(libc::EBUSY) {
            Error::Refused(format!("{what} is in use; close what is open over it"))
        } else {
            Error::Image(format!("{what}: cannot open: {e}"))
        }
    })
}
