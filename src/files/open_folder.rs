//! A folder that is held open: its files are found relative to it, so that nobody can put another folder in its place.
//!
//! The folder may belong to somebody else, who may put links, named pipes or files of any size into it, and change
//! them at any time. So links are not followed, only regular files are opened, and a file is replaced by one
//! that was created here.

use std::collections::VecDeque;
use std::collections::hash_map::RandomState;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::hash::{BuildHasher, Hasher};
use std::io::{Error, ErrorKind, Result, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat, renameat};
use nix::libc;
use nix::sys::stat::{FileStat, Mode, fstat, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, geteuid, unlinkat};

/// How many links one path may have and how many folders may be missing; the kernel follows as many links.
const MAX_DETOURS: usize = 40;

/// The mode of a new folder.
const FOLDER_MODE: u32 = 0o755;

/// Who may read a file that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Everybody,
    /// Its owner only.
    Owner,
}

impl Access {
    fn mode(self) -> u32 {
        match self {
            Self::Everybody => 0o644,
            Self::Owner => 0o600,
        }
    }
}

/// A folder.
#[derive(Debug)]
pub struct OpenFolder {
    fd: OwnedFd,
    /// Its owner.
    uid: u32,
}

impl OpenFolder {
    /// Opens a folder.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is none; if the path has a link that somebody else could have made.
    pub fn find(path: &Path) -> Result<Self> {
        Self::walk(path, false)
    }

    /// As [`OpenFolder::find`], but creates the folders that are missing.
    ///
    /// # Errors
    /// If it cannot be created or opened.
    pub fn create(path: &Path) -> Result<Self> {
        Self::walk(path, true)
    }

    /// Goes from folder to folder. A link is followed only if it is root's, or of this process's user, and lies in
    /// such a folder, to which nobody else can write.
    fn walk(path: &Path, create: bool) -> Result<Self> {
        let mut todo = parts(path);
        let mut at = start(path)?;
        let mut detours = 0;
        while let Some(part) = todo.pop_front() {
            match openat(&at, part.as_os_str(), FOLDER, Mode::empty()) {
                Ok(next) => at = next,
                Err(Errno::ENOENT) if create => {
                    match mkdirat(&at, part.as_os_str(), Mode::from_bits_truncate(FOLDER_MODE)) {
                        Ok(()) | Err(Errno::EEXIST) => todo.push_front(part),
                        Err(e) => return Err(e.into()),
                    }
                    detours += 1;
                }
                Err(Errno::ENOTDIR | Errno::ELOOP) if is_trusted_link(&at, &part)? => {
                    let to = readlinkat(&at, part.as_os_str())?;
                    let to = Path::new(&to);
                    if to.is_absolute() {
                        at = start(to)?;
                    }
                    parts(to).into_iter().rev().for_each(|part| todo.push_front(part));
                    detours += 1;
                }
                Err(e) => return Err(e.into()),
            }
            if detours > MAX_DETOURS {
                return Err(Errno::ELOOP.into());
            }
        }
        let uid = fstat(&at)?.st_uid;
        Ok(Self { fd: at, uid })
    }

    /// The folder, opened for reading and for changes of its mode and owner.
    ///
    /// # Errors
    /// If this process may not read it.
    pub fn file(&self) -> Result<File> {
        Ok(openat(&self.fd, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?
            .into())
    }

    /// What a name in the folder stands for; a link is not followed.
    ///
    /// # Errors
    /// If there is nothing of this name.
    pub fn look_at(&self, name: &OsStr) -> Result<FileStat> {
        Ok(fstatat(&self.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW)?)
    }

    /// Opens a regular file to read it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is none; if it is anything else than a regular file with one name that
    /// belongs to root, to this process's user or to the owner of the folder.
    pub fn open(&self, name: &OsStr) -> Result<File> {
        self.open_with(name, OFlag::O_RDONLY, 0)
    }

    /// Opens a regular file to read and write it, and creates it with this mode if it is missing.
    ///
    /// # Errors
    /// As [`OpenFolder::open`], and if it cannot be written.
    pub fn open_to_write(&self, name: &OsStr, mode: u32) -> Result<File> {
        self.open_with(name, OFlag::O_RDWR | OFlag::O_CREAT, mode)
    }

    fn open_with(&self, name: &OsStr, how: OFlag, mode: u32) -> Result<File> {
        // Opening a named pipe must not wait for its other end.
        let how = how | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let file = match openat(&self.fd, name, how, Mode::from_bits_truncate(mode)) {
            // Errors that do not say what is wrong: a link, a socket, a folder.
            Err(e @ (Errno::ELOOP | Errno::ENXIO | Errno::EISDIR)) => {
                let why = self.look_at(name).ok().and_then(|stat| self.fault(&stat));
                return Err(why.map_or_else(|| e.into(), Error::other));
            }
            other => File::from(other?),
        };
        match self.fault(&fstat(&file)?) {
            Some(why) => Err(Error::other(why)),
            None => Ok(file),
        }
    }

    /// Why something in the folder is not a file to be used, in a few words.
    #[must_use]
    pub fn fault(&self, stat: &FileStat) -> Option<String> {
        let kind = match stat.st_mode & libc::S_IFMT {
            libc::S_IFREG => {
                let is_expected = is_trusted(stat.st_uid) || stat.st_uid == self.uid;
                return match stat.st_nlink {
                    0 | 1 if is_expected => None,
                    0 | 1 => Some(format!("belongs to user {}", stat.st_uid)),
                    _ => Some("has several names (hard links)".into()),
                };
            }
            libc::S_IFLNK => "a symbolic link",
            libc::S_IFDIR => "a folder",
            libc::S_IFIFO => "a named pipe",
            libc::S_IFSOCK => "a socket",
            _ => "a device",
        };
        Some(format!("is {kind}, not a regular file"))
    }

    /// Replaces whatever has this name by a new file, durably. The name has the old content or the new one.
    ///
    /// # Errors
    /// If it cannot be written, or the name is that of a folder.
    pub fn replace(&self, name: &OsStr, bytes: &[u8], access: Access) -> Result<()> {
        let new = random_name(name);
        let how = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mut file = File::from(openat(&self.fd, new.as_os_str(), how, Mode::from_bits_truncate(0o600))?);
        let written = file
            .write_all(bytes)
            .and_then(|()| file.set_permissions(PermissionsExt::from_mode(access.mode())))
            .and_then(|()| file.sync_all())
            .and_then(|()| self.rename(&new, name));
        if written.is_err() {
            // The error of the write is the one to report.
            self.remove(&new).unwrap_or_default();
        }
        written
    }

    /// Renames a file within the folder, durably.
    ///
    /// # Errors
    /// If it cannot be renamed or flushed.
    pub fn rename(&self, from: &OsStr, to: &OsStr) -> Result<()> {
        renameat(&self.fd, from, &self.fd, to)?;
        self.file()?.sync_all()
    }

    /// Gives whatever has this name one that is the name of nothing else.
    ///
    /// # Errors
    /// If it cannot be renamed.
    pub fn set_aside(&self, name: &OsStr) -> Result<()> {
        self.rename(name, &random_name("aside".as_ref()))
    }

    /// Removes a file.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub fn remove(&self, name: &OsStr) -> Result<()> {
        Ok(unlinkat(&self.fd, name, UnlinkatFlags::NoRemoveDir)?)
    }
}

/// How a folder is opened on the way to a file: without reading it, and never through a link.
const FOLDER: OFlag =
    OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

fn start(path: &Path) -> Result<OwnedFd> {
    let first = if path.is_absolute() { "/" } else { "." };
    Ok(nix::fcntl::open(first, FOLDER, Mode::empty())?)
}

fn parts(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir))
        .map(|part| part.as_os_str().to_owned())
        .collect()
}

/// Whether a user is root or the one of this process.
fn is_trusted(uid: u32) -> bool {
    uid == 0 || uid == geteuid().as_raw()
}

/// Whether `name` is a link that nobody else can have made.
fn is_trusted_link(folder: &OwnedFd, name: &OsStr) -> Result<bool> {
    let (folder, link) = (fstat(folder)?, fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW)?);
    if link.st_mode & libc::S_IFMT != libc::S_IFLNK {
        return Ok(false);
    }
    let others = if folder.st_gid == 0 { 0o002 } else { 0o022 };
    let is_safe = is_trusted(folder.st_uid) && folder.st_mode & others == 0 && is_trusted(link.st_uid);
    let name = name.display();
    is_safe.then_some(true).ok_or_else(|| {
        Error::new(
            ErrorKind::PermissionDenied,
            format!("the link {name} is not followed, because users other than root could replace it"),
        )
    })
}

/// A name that nobody can guess, for a file that is renamed to `name`.
fn random_name(name: &OsStr) -> OsString {
    let random = RandomState::new().build_hasher().finish();
    let mut new = OsString::from(".");
    new.push(name);
    new.push(format!(".{random:016x}"));
    new
}
