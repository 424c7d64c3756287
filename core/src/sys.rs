//! The few system calls that no safe wrapper exists for; the only module with `unsafe`.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

mod ioctl {
    #![allow(missing_docs)]
    use nix::{ioctl_read, ioctl_read_bad, ioctl_readwrite, ioctl_write_ptr_bad};
    // The kernel declares these two with `long`, but reads and writes an `int`.
    ioctl_read_bad!(getflags, nix::request_code_read!(b'f', 1, size_of::<libc::c_long>()), libc::c_int);
    ioctl_write_ptr_bad!(setflags, nix::request_code_write!(b'f', 2, size_of::<libc::c_long>()), libc::c_int);
    ioctl_read!(blkgetsize64, 0x12, 114, u64);
    ioctl_readwrite!(wdioc_settimeout, b'W', 6, libc::c_int);
}

/// `FS_IMMUTABLE_FL` of `linux/fs.h`.
const IMMUTABLE: libc::c_int = 0x10;

/// Whether a file has the immutable flag; file systems without flags say no.
///
/// # Errors
/// If the kernel does not tell.
pub fn is_immutable(file: &File) -> io::Result<bool> {
    Ok(flags(file)?.is_some_and(|f| f & IMMUTABLE != 0))
}

/// Sets or clears the immutable flag. Returns whether that changed anything.
///
/// # Errors
/// If the kernel refuses.
pub fn set_immutable(file: &File, on: bool) -> io::Result<bool> {
    let Some(old) = flags(file)? else { return Ok(false) };
    let new = if on { old | IMMUTABLE } else { old & !IMMUTABLE };
    if new == old {
        return Ok(false);
    }
    // SAFETY: the descriptor is open, and the kernel reads one int from a valid pointer.
    unsafe { ioctl::setflags(file.as_raw_fd(), &raw const new) }?;
    Ok(true)
}

fn flags(file: &File) -> io::Result<Option<libc::c_int>> {
    let mut flags = 0;
    // SAFETY: the descriptor is open, and the kernel writes one int to a valid pointer.
    match unsafe { ioctl::getflags(file.as_raw_fd(), &raw mut flags) } {
        Ok(_) => Ok(Some(flags)),
        Err(nix::errno::Errno::ENOTTY | nix::errno::Errno::EOPNOTSUPP | nix::errno::Errno::EINVAL) => {
            Ok(None)
        }
        Err(e) => Err(e.into()),
    }
}

/// Renames a file, never over another. A system call by number, since not every C library has it.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] if `to` is there; `EINVAL` where the file system cannot do it.
pub fn rename_no_replace(from: &Path, to: &Path) -> io::Result<()> {
    let (from, to) = (CString::new(from.as_os_str().as_bytes())?, CString::new(to.as_os_str().as_bytes())?);
    // SAFETY: both paths are C strings that outlive the call.
    let done = unsafe {
        libc::syscall(
            libc::SYS_renameat2,
            libc::AT_FDCWD,
            from.as_ptr(),
            libc::AT_FDCWD,
            to.as_ptr(),
            libc::RENAME_NOREPLACE,
        )
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The size of a block device in bytes.
///
/// # Errors
/// If `file` is no block device.
pub fn block_size64(file: &File) -> io::Result<u64> {
    let mut bytes = 0;
    // SAFETY: the descriptor is open, and the kernel writes one u64 to a valid pointer.
    unsafe { ioctl::blkgetsize64(file.as_raw_fd(), &raw mut bytes) }?;
    Ok(bytes)
}

/// Sets the time limit of a watchdog in seconds; returns the one that it took, which may be
/// another where its hardware is coarse.
///
/// # Errors
/// If `watchdog` is no watchdog, or cannot be set to that.
pub fn set_watchdog_timeout(watchdog: &File, seconds: u16) -> io::Result<i32> {
    let mut seconds = libc::c_int::from(seconds);
    // SAFETY: the descriptor is open, and the kernel reads and writes one int at a valid pointer.
    unsafe { ioctl::wdioc_settimeout(watchdog.as_raw_fd(), &raw mut seconds) }?;
    Ok(seconds)
}

/// Values of `linux/mount.h`.
mod fs_api {
    pub(super) const FSOPEN_CLOEXEC: libc::c_uint = 1;
    pub(super) const FSPICK_CLOEXEC: libc::c_uint = 1;
    pub(super) const FSPICK_EMPTY_PATH: libc::c_uint = 8;
    pub(super) const FSMOUNT_CLOEXEC: libc::c_uint = 1;
    pub(super) const SET_FLAG: libc::c_uint = 0;
    pub(super) const SET_STRING: libc::c_uint = 1;
    pub(super) const CMD_CREATE: libc::c_uint = 6;
    pub(super) const CMD_RECONFIGURE: libc::c_uint = 7;
    pub(super) const ATTR_RDONLY: libc::c_uint = 1;
    pub(super) const ATTR_NOSUID: libc::c_uint = 2;
    pub(super) const ATTR_NODEV: libc::c_uint = 4;
    pub(super) const ATTR_NOEXEC: libc::c_uint = 8;
}

/// Mounts a vfat file system so that nobody else sees it: the mount has no place in any
/// tree (reach it through `/proc/self/fd/N`) and ends with the descriptor, however
/// the process ends. Needs Linux 5.2 and `CAP_SYS_ADMIN`.
///
/// What a power cut left of a file that was being written is no reason to refuse the next rename:
/// by default vfat makes itself read-only when such a file is removed.
///
/// # Errors
/// If the device is busy or holds no such file system.
pub fn mount_vfat(device: &Path, read_only: bool) -> io::Result<OwnedFd> {
    mount_detached(c"vfat", device, &[(c"umask", c"0077"), (c"errors", c"continue")], read_only)
}

fn mount_detached(
    kind: &CStr,
    device: &Path,
    options: &[(&CStr, &CStr)],
    read_only: bool,
) -> io::Result<OwnedFd> {
    let busy = |e: &io::Error| e.raw_os_error() == Some(libc::EBUSY);
    // A file system that is mounted already has one mode for all its mounts: EBUSY means
    // that it is the other one.
    match mount_in_mode(kind, device, options, read_only, read_only) {
        Err(e) if busy(&e) && read_only => mount_in_mode(kind, device, options, false, true),
        Err(e) if busy(&e) => {
            let mount = mount_in_mode(kind, device, options, true, false)?;
            make_writable(&mount)?;
            Ok(mount)
        }
        other => other,
    }
}

fn mount_in_mode(
    kind: &CStr,
    device: &Path,
    options: &[(&CStr, &CStr)],
    fs_read_only: bool,
    mount_read_only: bool,
) -> io::Result<OwnedFd> {
    // SAFETY: the name is a C string that outlives the call.
    let fs = unsafe { fd(libc::syscall(libc::SYS_fsopen, kind.as_ptr(), fs_api::FSOPEN_CLOEXEC)) }?;
    let source = CString::new(device.as_os_str().as_bytes())?;
    fsconfig(&fs, fs_api::SET_STRING, Some(c"source"), Some(&source))?;
    for (key, value) in options {
        fsconfig(&fs, fs_api::SET_STRING, Some(key), Some(value))?;
    }
    if fs_read_only {
        fsconfig(&fs, fs_api::SET_FLAG, Some(c"ro"), None)?;
    }
    fsconfig(&fs, fs_api::CMD_CREATE, None, None)?;
    let attributes = fs_api::ATTR_NOSUID
        | fs_api::ATTR_NODEV
        | fs_api::ATTR_NOEXEC
        | if mount_read_only { fs_api::ATTR_RDONLY } else { 0 };
    // SAFETY: only numbers are passed.
    unsafe { fd(libc::syscall(libc::SYS_fsmount, fs.as_raw_fd(), fs_api::FSMOUNT_CLOEXEC, attributes)) }
}

/// Makes the file system itself writable; the mount must allow it.
fn make_writable(mount: &OwnedFd) -> io::Result<()> {
    let flags = fs_api::FSPICK_CLOEXEC | fs_api::FSPICK_EMPTY_PATH;
    // SAFETY: the path is a C string that outlives the call.
    let fs = unsafe { fd(libc::syscall(libc::SYS_fspick, mount.as_raw_fd(), c"".as_ptr(), flags)) }?;
    fsconfig(&fs, fs_api::SET_FLAG, Some(c"rw"), None)?;
    fsconfig(&fs, fs_api::CMD_RECONFIGURE, None, None)
}

fn fsconfig(fs: &OwnedFd, command: libc::c_uint, key: Option<&CStr>, value: Option<&CStr>) -> io::Result<()> {
    let pointer = |text: Option<&CStr>| text.map_or(std::ptr::null(), CStr::as_ptr);
    // SAFETY: both are null or C strings that outlive the call.
    let done = unsafe {
        libc::syscall(libc::SYS_fsconfig, fs.as_raw_fd(), command, pointer(key), pointer(value), 0)
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// # Safety
/// `result` must be the result of a system call that returns a new descriptor, just made.
unsafe fn fd(result: libc::c_long) -> io::Result<OwnedFd> {
    let fd = i32::try_from(result).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the caller says that it is new, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// By how much the kernel thinks that the clock may be wrong at most; `None` if nothing keeps
/// it right (adjtimex(2)).
///
/// # Errors
/// If the kernel does not tell.
pub fn clock_error() -> io::Result<Option<std::time::Duration>> {
    // SAFETY: all zeros is a valid value of this structure of numbers; it asks for nothing to be set.
    let mut state: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel reads and writes one structure behind a valid pointer.
    match unsafe { libc::adjtimex(&raw mut state) } {
        -1 => Err(io::Error::last_os_error()),
        libc::TIME_ERROR => Ok(None),
        _ => Ok(Some(std::time::Duration::from_micros(u64::try_from(state.maxerror).unwrap_or(u64::MAX)))),
    }
}
