//! System calls in Abide's terms: safe wrappers of rustix, and the two that it lacks. The only module with `unsafe`.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{CWD, IFlags, RenameFlags, fstatfs, ioctl_getflags, ioctl_setflags, renameat_with};
use rustix::io::Errno;
use rustix::ioctl::{Opcode, Updater, ioctl, opcode};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, FsPickFlags, MountAttrFlags, fsconfig_create, fsconfig_reconfigure,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, fspick,
};

/// `MSDOS_SUPER_MAGIC` of `linux/magic.h`: vfat, too.
pub const FAT: u32 = 0x4d44;
/// `EFIVARFS_MAGIC` of `linux/magic.h`.
pub const EFIVARFS: u32 = 0xde5e_81e4;

/// Whether a file lies on this kind of file system.
///
/// # Errors
/// If the kernel does not tell.
pub fn is_on(file: impl AsFd, file_system: u32) -> io::Result<bool> {
    // The magic numbers have 32 bits, whatever the width of the field.
    Ok(fstatfs(file)?.f_type as u32 == file_system)
}

/// Sets or clears the immutable flag. Returns whether that changed anything; `false` where the
/// file system has no such flag.
///
/// # Errors
/// If the kernel refuses.
pub fn set_immutable(file: &File, on: bool) -> io::Result<bool> {
    let old = match ioctl_getflags(file) {
        Err(Errno::NOTTY | Errno::OPNOTSUPP | Errno::INVAL) => return Ok(false),
        flags => flags?,
    };
    let mut new = old;
    new.set(IFlags::IMMUTABLE, on);
    if new != old {
        ioctl_setflags(file, new)?;
    }
    Ok(new != old)
}

/// Renames a file, never over another.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] if `to` exists; [`io::ErrorKind::InvalidInput`] where the file system
/// cannot do it.
pub fn rename_no_replace(from: &Path, to: &Path) -> io::Result<()> {
    Ok(renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?)
}

/// Sets the time limit of a watchdog in seconds; returns the one in effect, which may differ if the hardware is
/// coarse.
///
/// # Errors
/// If `watchdog` is not a watchdog, or cannot be set to that.
pub fn set_watchdog_timeout(watchdog: &File, seconds: u16) -> io::Result<i32> {
    const SETTIMEOUT: Opcode = opcode::read_write::<libc::c_int>(b'W', 6);
    let mut seconds = libc::c_int::from(seconds);
    // SAFETY: WDIOC_SETTIMEOUT of linux/watchdog.h reads and writes one int.
    unsafe { ioctl(watchdog, Updater::<SETTIMEOUT, libc::c_int>::new(&mut seconds)) }?;
    Ok(seconds)
}

/// A request to device-mapper and the room for its answer.
#[derive(Debug, Clone)]
#[repr(C, align(8))]
pub struct DmBuffer([u8; Self::LEN]);

impl DmBuffer {
    const LEN: usize = 16 * 1024;

    /// Zeros, but for the number of bytes that the kernel may write.
    #[must_use]
    pub fn new() -> Self {
        let mut buffer = Self([0; Self::LEN]);
        buffer.limit();
        buffer
    }

    /// All bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// All bytes, to fill in a request.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }

    /// Sets `data_size` of `struct dm_ioctl`.
    #[allow(clippy::cast_possible_truncation)]
    fn limit(&mut self) {
        if let Some(field) = self.0.get_mut(12..16) {
            field.copy_from_slice(&(Self::LEN as u32).to_ne_bytes());
        }
    }
}

impl Default for DmBuffer {
    fn default() -> Self {
        Self::new()
    }
}

/// Asks device-mapper for the targets of a device.
///
/// # Errors
/// If `control` is not `/dev/mapper/control`, there is no such device, or the process lacks `CAP_SYS_ADMIN`.
pub fn dm_table_status(control: &File, buffer: &mut DmBuffer) -> io::Result<()> {
    // The number holds the size of `struct dm_ioctl` alone, whatever follows it.
    const TABLE_STATUS: Opcode = opcode::read_write::<[u8; 312]>(0xfd, 12);
    buffer.limit();
    // SAFETY: DM_TABLE_STATUS of linux/dm-ioctl.h reads and writes at most `data_size` bytes, which is the buffer's length.
    unsafe { ioctl(control, Updater::<TABLE_STATUS, DmBuffer>::new(buffer)) }?;
    Ok(())
}

/// Mounts a vfat file system so that no other process sees it: the mount has no place in any tree (reach it through
/// `/proc/self/fd/N`) and ends with the descriptor, however the process ends. Needs Linux 5.2 and `CAP_SYS_ADMIN`.
///
/// # Errors
/// If the device is busy or holds no such file system.
pub fn mount_vfat(device: &Path, read_only: bool) -> io::Result<OwnedFd> {
    // A file that was being written at a power cut must not keep Abide from the next rename:
    // by default vfat becomes read-only when such a file is removed.
    mount_privately(device, "vfat", &[("umask", "0077"), ("errors", "continue")], read_only)
}

/// Mounts an ext4 file system in the same way.
///
/// # Errors
/// As [`mount_vfat`].
pub fn mount_ext4(device: &Path, read_only: bool) -> io::Result<OwnedFd> {
    mount_privately(device, "ext4", &[], read_only)
}

/// A file system's options: names and values.
type Options<'a> = &'a [(&'a str, &'a str)];

fn mount_privately(device: &Path, kind: &str, options: Options<'_>, read_only: bool) -> io::Result<OwnedFd> {
    let mount = |fs_read_only, mount_read_only| {
        let fs = configured(device, kind, options, fs_read_only)?;
        let mut attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        attributes.set(MountAttrFlags::MOUNT_ATTR_RDONLY, mount_read_only);
        fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
    };
    // A file system that is mounted already has one mode for all its mounts: EBUSY means
    // that it is the other one.
    match mount(read_only, read_only) {
        Err(Errno::BUSY) if read_only => Ok(mount(false, true)?),
        Err(Errno::BUSY) => {
            let mount = mount(true, false)?;
            make_writable(&mount)?;
            Ok(mount)
        }
        mount => Ok(mount?),
    }
}

/// A file system of this kind on a device, not mounted yet.
fn configured(
    device: &Path,
    kind: &str,
    options: Options<'_>,
    read_only: bool,
) -> rustix::io::Result<OwnedFd> {
    let fs = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&fs, "source", device)?;
    for (name, value) in options {
        fsconfig_set_string(&fs, *name, *value)?;
    }
    if read_only {
        fsconfig_set_flag(&fs, "ro")?;
    }
    fsconfig_create(&fs)?;
    Ok(fs)
}

/// Makes the file system itself writable; the mount must allow it.
fn make_writable(mount: &OwnedFd) -> rustix::io::Result<()> {
    let fs = fspick(mount, "", FsPickFlags::FSPICK_CLOEXEC | FsPickFlags::FSPICK_EMPTY_PATH)?;
    fsconfig_set_flag(&fs, "rw")?;
    fsconfig_reconfigure(&fs)
}

/// Whether a process has the file open to write it; `false` where the file system does not tell. The file must belong to
/// this process's user, and must be open for reading only.
#[must_use]
pub fn is_open_to_write(file: &File) -> bool {
    let fd = file.as_raw_fd();
    // SAFETY: F_SETLEASE takes an int. The kernel grants a read lease unless the file is open to write (fcntl(2), Leases);
    // it is given back at once.
    match unsafe { libc::fcntl(fd, libc::F_SETLEASE, libc::F_RDLCK) } {
        -1 => io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock,
        _ => {
            // SAFETY: as above. Closing the file would end the lease, too.
            unsafe { libc::fcntl(fd, libc::F_SETLEASE, libc::F_UNLCK) };
            false
        }
    }
}

/// The largest error of the clock that the kernel assumes; `None` if nothing keeps the clock
/// right (adjtimex(2)).
///
/// # Errors
/// If the kernel does not tell.
pub fn clock_error() -> io::Result<Option<Duration>> {
    // SAFETY: all zeros is a valid value of this structure of numbers; it requests no change.
    let mut state: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel reads and writes one structure behind a valid pointer.
    match unsafe { libc::adjtimex(&raw mut state) } {
        -1 => Err(io::Error::last_os_error()),
        libc::TIME_ERROR => Ok(None),
        _ => Ok(Some(Duration::from_micros(u64::try_from(state.maxerror).unwrap_or(u64::MAX)))),
    }
}
