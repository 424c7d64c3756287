//! The few system calls that no safe wrapper exists for; the only module with `unsafe`.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

mod ioctl {
    #![allow(missing_docs)]
    use nix::{ioctl_read, ioctl_read_bad, ioctl_write_ptr_bad};
    // The kernel declares these two with `long`, but reads and writes an `int`.
    ioctl_read_bad!(getflags, nix::request_code_read!(b'f', 1, size_of::<libc::c_long>()), libc::c_int);
    ioctl_write_ptr_bad!(setflags, nix::request_code_write!(b'f', 2, size_of::<libc::c_long>()), libc::c_int);
    ioctl_read!(blkgetsize64, 0x12, 114, u64);
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
