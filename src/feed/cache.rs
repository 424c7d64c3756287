//! The folder into which a feed is fetched: its list, its signatures, and the files of one release.
//!
//! It looks like the folder that it was fetched from, so that whatever reads that can read this. Nothing
//! in it is trusted for being there: the list's signature and every digest are checked again by whoever
//! installs from it.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use log::{info, warn};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use ring::digest::{Context, SHA256};

use crate::config::Download;
use crate::image::Folder;
use crate::image::http::{Place, Resumed, resume};
use crate::image::trust::{Listing, SUMS};
use abide_core::error::{Error, OrError, Result};
use abide_core::files::{replace, sync_dir};
use abide_core::hex;
use abide_core::root::Root;

/// The folder; it belongs to whoever fetches.
pub const DIR: &str = "/var/lib/abide/feed";

/// What is left free on the file system: history, reports and the state of others need room, too.
const SPARE: u64 = 4 << 20;

/// Bytes after which what was fetched is made durable: so much is lost by a power cut, and fetched again.
const SYNC_EVERY: u64 = 16 << 20;

const CHUNK: usize = 256 << 10;

/// The ending of a file that is not whole yet. Its name is the digest of the whole.
const PART: &str = "part";

/// The folder.
#[derive(Debug, Clone)]
pub struct Cache {
    dir: PathBuf,
}

/// How far a file has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fetched {
    /// Bytes that are there.
    pub done: u64,
    /// Bytes of the whole, where the server tells.
    pub total: Option<u64>,
}

impl Cache {
    /// That of `root`.
    #[must_use]
    pub fn of(root: &Root) -> Self {
        Self { dir: root.path(DIR) }
    }

    /// Where it is.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Keeps others from fetching at the same time, until it is dropped.
    ///
    /// # Errors
    /// [`Error::Busy`] if another one does.
    pub fn lock(&self) -> Result<Flock<File>> {
        fs::create_dir_all(&self.dir).or_failed(|| format!("{}: cannot create", self.dir.display()))?;
        let dir = File::open(&self.dir).or_failed(|| format!("{}: cannot open", self.dir.display()))?;
        Flock::lock(dir, FlockArg::LockExclusiveNonblock).map_err(|(_, e)| match e {
            Errno::EWOULDBLOCK => Error::Busy("another abide is fetching; try again when it is done".into()),
            e => Error::Failed(format!("{}: cannot lock: {e}", self.dir.display())),
        })
    }

    /// Itself as a folder of images; none if nothing was ever fetched.
    #[must_use]
    pub fn folder(&self) -> Option<Folder> {
        Folder::at(&self.dir.to_string_lossy(), &Download::default())
    }

    /// Itself as a folder of images, made if it is not there yet.
    ///
    /// # Errors
    /// [`Error::Failed`] if it cannot be made.
    pub fn own_folder(&self) -> Result<Folder> {
        let cannot = || format!("{}: cannot create", self.dir.display());
        fs::create_dir_all(&self.dir).or_failed(cannot)?;
        self.folder().ok_or_else(|| Error::Failed(cannot()))
    }

    /// The list that was fetched last.
    #[must_use]
    pub fn list(&self) -> Option<Vec<u8>> {
        self.read(SUMS)
    }

    /// A small file that is kept.
    #[must_use]
    pub fn read(&self, name: &str) -> Option<Vec<u8>> {
        fs::read(self.dir.join(name)).ok()
    }

    /// Keeps a list and what vouches for it. Cut off in between, the two do not fit each other, and the
    /// next poll fetches them again.
    ///
    /// # Errors
    /// [`Error::Failed`] if the folder cannot be written.
    pub fn keep_list(&self, listing: &Listing) -> Result<()> {
        for (name, bytes) in &listing.signatures {
            replace(&self.dir.join(name), bytes)?;
        }
        replace(&self.dir.join(SUMS), &listing.bytes)
    }

    /// Keeps a small file.
    ///
    /// # Errors
    /// As [`Cache::keep_list`].
    pub fn keep(&self, name: &str, bytes: &[u8]) -> Result<()> {
        replace(&self.dir.join(name), bytes)
    }

    /// Keeps a small file no longer.
    ///
    /// # Errors
    /// [`Error::Failed`] if it cannot be removed.
    pub fn drop_file(&self, name: &str) -> Result<()> {
        match fs::remove_file(self.dir.join(name)) {
            Err(e) if e.kind() != ErrorKind::NotFound => {
                Err(e).or_failed(|| format!("{name}: cannot remove"))
            }
            _ => Ok(()),
        }
    }

    /// Whether a file of this name and digest is there. It is read for that.
    #[must_use]
    pub fn has(&self, name: &str, sha256: &str) -> bool {
        hash_of(&self.dir.join(name)).is_ok_and(|found| found == sha256)
    }

    /// Whether a file of this name is there, whatever it holds.
    #[must_use]
    pub fn has_name(&self, name: &str) -> bool {
        fs::symlink_metadata(self.dir.join(name)).is_ok_and(|meta| meta.is_file())
    }

    /// Fetches a file that must have this digest; goes on with what an earlier attempt has left.
    ///
    /// # Errors
    /// [`Error::Image`] if it cannot be fetched or there is no room for it: what was fetched is kept for
    /// the next time. [`Error::Unverified`] if it is not what the list says: it is dropped.
    pub fn fetch(
        &self,
        from: &Place<'_>,
        name: &str,
        sha256: &str,
        download: &Download,
        mut progress: impl FnMut(Fetched),
    ) -> Result<()> {
        let mut part = Part::open(self.dir.join(format!("{sha256}.{PART}")))?;
        let resumed = part.len > 0;
        if resumed {
            info!("{name}: going on from byte {}", part.len);
        }
        if part.sha256() != sha256 {
            self.complete(&mut part, from, download, &mut progress)?;
        }
        if part.sha256() != sha256 && resumed {
            // What was there is of another file, or was damaged by the power cut that ended its download.
            warn!("{name}: what an earlier attempt has left is of no use; fetching all of it");
            part.restart()?;
            self.complete(&mut part, from, download, &mut progress)?;
        }
        if part.sha256() != sha256 {
            part.remove()?;
            return Err(Error::Unverified(format!(
                "{name}: its SHA-256 is {}, not the one in {SUMS}: it was damaged or exchanged",
                part.sha256()
            )));
        }
        part.keep_as(&self.dir.join(name))
    }

    /// Fetches what is missing.
    fn complete(
        &self,
        part: &mut Part,
        from: &Place<'_>,
        download: &Download,
        progress: &mut impl FnMut(Fetched),
    ) -> Result<()> {
        let mut answer = resume(from, download, part.len)?;
        if matches!(answer, Resumed::Shorter) {
            part.restart()?;
            answer = resume(from, download, 0)?;
        }
        let Resumed::Rest(mut source) = answer else {
            let shown = crate::image::shown(from.url);
            return Err(Error::Image(format!("{shown}: is listed, but the server does not have it (404)")));
        };
        let total = source.len;
        let result = self.copy(part, &mut source.reader, total, progress);
        // What has come is worth keeping, however it ended.
        let synced = part.sync();
        result.and(synced)
    }

    fn copy(
        &self,
        part: &mut Part,
        from: &mut impl Read,
        total: Option<u64>,
        progress: &mut impl FnMut(Fetched),
    ) -> Result<()> {
        let mut block = vec![0; CHUNK];
        let mut next_look = part.len;
        loop {
            if part.len >= next_look {
                let needed = total.map_or(SYNC_EVERY, |total| total.saturating_sub(part.len));
                self.must_have_room(needed)?;
                part.sync()?;
                next_look = part.len + SYNC_EVERY;
            }
            let count = match from.read(&mut block) {
                Ok(count) => count,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => return Err(e).or_image(|| "the download broke off"),
            };
            let Some(bytes) = block.get(..count).filter(|bytes| !bytes.is_empty()) else { return Ok(()) };
            part.append(bytes)?;
            progress(Fetched { done: part.len, total });
        }
    }

    fn must_have_room(&self, needed: u64) -> Result<()> {
        let stat = nix::sys::statvfs::statvfs(&self.dir)
            .or_failed(|| format!("{}: cannot tell how much room there is", self.dir.display()))?;
        let free = stat.blocks_available().saturating_mul(stat.fragment_size());
        if needed.saturating_add(SPARE) <= free {
            return Ok(());
        }
        Err(Error::Image(format!(
            "{}: {} MiB are needed for the download and {} MiB are free; make room there",
            self.dir.display(),
            needed.saturating_add(SPARE).div_ceil(1 << 20),
            free >> 20
        )))
    }

    /// Removes what belongs to no file of `keep` (names and digests): earlier releases, and what was begun
    /// of them.
    ///
    /// # Errors
    /// [`Error::Failed`] if the folder cannot be changed.
    pub fn sweep(&self, keep: &[(&str, &str)]) -> Result<()> {
        let cannot = || format!("{}: cannot read", self.dir.display());
        let entries = match fs::read_dir(&self.dir) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            other => other.or_failed(cannot)?,
        };
        for entry in entries {
            let entry = entry.or_failed(cannot)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_kept =
                keep.iter().any(|(kept, sha256)| name == *kept || name.strip_suffix(".part") == Some(sha256));
            if is_kept || !is_payload(&name) {
                continue;
            }
            let path = entry.path();
            fs::remove_file(&path).or_failed(|| format!("{}: cannot remove", path.display()))?;
            info!("{}: removed, it is not needed any more", path.display());
        }
        Ok(())
    }
}

/// Whether a file is part of a release, and not of what is kept about the feed.
fn is_payload(name: &str) -> bool {
    name.ends_with(".part") || crate::image::names::Name::parse(name).is_some()
}

fn hash_of(path: &Path) -> std::io::Result<String> {
    let (context, _) = hash(&mut File::open(path)?)?;
    Ok(hex::encode(context.finish().as_ref()))
}

/// The hash of all bytes, and how many they are.
fn hash(file: &mut File) -> std::io::Result<(Context, u64)> {
    let (mut context, mut len) = (Context::new(&SHA256), 0);
    let mut block = vec![0; CHUNK];
    loop {
        let count = file.read(&mut block)?;
        let Some(bytes) = block.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
        context.update(bytes);
        len += bytes.len() as u64;
    }
    Ok((context, len))
}

/// A file that is not whole yet.
struct Part {
    path: PathBuf,
    file: File,
    len: u64,
    context: Context,
}

impl Part {
    fn open(path: PathBuf) -> Result<Self> {
        let cannot = || format!("{}: cannot open", path.display());
        let mut options = OpenOptions::new();
        let mut file =
            options.read(true).write(true).create(true).truncate(false).open(&path).or_failed(cannot)?;
        let (context, len) = hash(&mut file).or_failed(|| format!("{}: cannot read", path.display()))?;
        Ok(Self { file, len, context, path })
    }

    fn sha256(&self) -> String {
        hex::encode(self.context.clone().finish().as_ref())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).or_failed(|| format!("{}: cannot write", self.path.display()))?;
        self.context.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        self.file.sync_data().or_failed(|| format!("{}: cannot flush", self.path.display()))
    }

    fn restart(&mut self) -> Result<()> {
        let again = self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0)));
        again.or_failed(|| format!("{}: cannot begin anew", self.path.display()))?;
        (self.len, self.context) = (0, Context::new(&SHA256));
        Ok(())
    }

    fn remove(&self) -> Result<()> {
        fs::remove_file(&self.path).or_failed(|| format!("{}: cannot remove", self.path.display()))
    }

    fn keep_as(&self, to: &Path) -> Result<()> {
        let cannot = || format!("{}: cannot keep", to.display());
        self.file.sync_all().and_then(|()| fs::rename(&self.path, to)).or_failed(cannot)?;
        sync_dir(to.parent().unwrap_or(Path::new("/"))).or_failed(cannot)
    }
}
