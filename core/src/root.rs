//! The tree that Abide works on: the live system, or a folder (`--root DIR`).

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::error::{Error, OrError, Result};

/// How many symbolic links one lookup may follow; the kernel's own limit.
const MAX_LINKS: usize = 40;

/// Prefixes every path that Abide reads or writes.
///
/// With a folder, nothing outside it is touched: [`Root::resolve`] follows
/// symbolic links as if the folder were `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    dir: Option<PathBuf>,
}

impl Root {
    /// The running system.
    #[must_use]
    pub fn live() -> Self {
        Self { dir: None }
    }

    /// The tree below `dir`.
    #[must_use]
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self { dir: Some(dir.into()) }
    }

    /// Whether this is the running system, where devices are real and a reboot is one.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.dir.is_none()
    }

    /// Whether this is an initramfs, which has its own os-release and whose systemd runs generators, too.
    #[must_use]
    pub fn is_initramfs(&self) -> bool {
        self.path("/etc/initrd-release").exists()
    }

    /// The kernel's command line of this boot; empty where it cannot be read.
    #[must_use]
    pub fn kernel_cmdline(&self) -> String {
        let text = std::fs::read(self.path("/proc/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Where the absolute path `path` lies in this tree; links are not followed.
    #[must_use]
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        match &self.dir {
            None => path.to_path_buf(),
            Some(dir) => dir.join(path.strip_prefix("/").unwrap_or(path)),
        }
    }

    /// Where `path` leads once every link in it is followed inside this tree.
    /// The last component need not exist.
    ///
    /// # Errors
    /// [`Error::Failed`] if a link cannot be read or there are more than 40 of them.
    pub fn resolve(&self, path: impl AsRef<Path>) -> Result<PathBuf> {
        let asked = path.as_ref();
        let mut todo: VecDeque<OsString> = parts(asked);
        let mut done = PathBuf::from("/");
        let mut links = 0;
        while let Some(part) = todo.pop_front() {
            if part == ".." {
                done.pop();
                continue;
            }
            let here = done.join(&part);
            let real = self.path(&here);
            let is_link = fs::symlink_metadata(&real).is_ok_and(|m| m.is_symlink());
            if !is_link {
                done = here;
                continue;
            }
            links += 1;
            if links > MAX_LINKS {
                return Err(Error::Failed(format!("{}: too many symbolic links", asked.display())));
            }
            let target =
                fs::read_link(&real).or_failed(|| format!("{}: cannot read link", real.display()))?;
            if target.is_absolute() {
                done = PathBuf::from("/");
            }
            for part in parts(&target).into_iter().rev() {
                todo.push_front(part);
            }
        }
        Ok(self.path(done))
    }
}

fn parts(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|c| match c {
            Component::Normal(p) => Some(p.to_os_string()),
            Component::ParentDir => Some(OsString::from("..")),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_live_root_leaves_paths_alone() {
        assert_eq!(Root::live().path("/etc/abide"), Path::new("/etc/abide"));
    }

    #[test]
    fn a_folder_prefixes_absolute_paths() {
        assert_eq!(Root::at("/tmp/t").path("/etc/abide"), Path::new("/tmp/t/etc/abide"));
    }

    #[test]
    fn an_absolute_link_stays_inside_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("dev/disk/by-partlabel")).unwrap();
        symlink("/dev/sda2", dir.path().join("dev/disk/by-partlabel/rootfs_a")).unwrap();
        let root = Root::at(dir.path());
        assert_eq!(root.resolve("/dev/disk/by-partlabel/rootfs_a").unwrap(), dir.path().join("dev/sda2"));
    }

    #[test]
    fn dot_dot_cannot_climb_out_of_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        symlink("../../../../etc", dir.path().join("x")).unwrap();
        assert_eq!(Root::at(dir.path()).resolve("/x/passwd").unwrap(), dir.path().join("etc/passwd"));
    }

    #[test]
    fn a_circle_of_links_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        symlink("b", dir.path().join("a")).unwrap();
        symlink("a", dir.path().join("b")).unwrap();
        assert!(Root::at(dir.path()).resolve("/a").is_err());
    }
}
