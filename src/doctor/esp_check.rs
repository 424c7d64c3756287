//! Checks of the ESP by `fsck.vfat` that nobody asked for.

use procfs::process::MountInfo;

use crate::doctor::finding::Finding;
use abide_core::mounts;

/// Where systemd mounts an ESP by itself, and where others do.
const ESP_DIRS: [&str; 3] = ["/efi", "/boot/efi", "/boot"];

/// The ESP is checked when it is mounted, as `fstab`, the `mounts` and the kernel's command line show.
pub(super) fn look(fstab: &str, mounts: &[MountInfo], cmdline: &str) -> Option<Finding> {
    // systemd-fsck@.service(8)
    if cmdline.split_whitespace().any(|word| word == "fsck.mode=skip") {
        return None;
    }
    let lines: Vec<Line<'_>> = fstab.lines().filter_map(Line::parse).collect();
    let own = |dir: &str| lines.iter().find(|line| line.mount_point == dir);
    let is_automount = |dir: &str| {
        mounts.iter().any(|mount| mount.fs_type == "autofs" && mount.mount_point.as_os_str() == dir)
    };
    let is_vfat = |dir: &str| {
        mounts::at(mounts, dir).is_none_or(|top| ["vfat", "autofs"].contains(&top.fs_type.as_str()))
    };
    let (dir, how, remedy) = ESP_DIRS.into_iter().find_map(|dir| match own(dir) {
        Some(line) if line.is_fat && line.is_checked => {
            Some((dir, "as /etc/fstab requests", format!("set the sixth field of the line of {dir} in /etc/fstab to 0")))
        }
        None if is_automount(dir) && is_vfat(dir) => Some((
            dir,
            "when it is first accessed",
            format!("add a line for {dir} to /etc/fstab whose sixth field is 0, with x-systemd.automount if that is wanted"),
        )),
        _ => None,
    })?;
    Some(
        Finding::warning("esp-fsck", format!("systemd checks the ESP at {dir} with fsck.vfat, {how}"))
            .because(
                "if a power cut in a rename has left two names of one boot entry, fsck.vfat cuts the entry that boots to 0 \
                 bytes",
            )
            .remedy(remedy),
    )
}

/// What counts of a line of fstab(5).
struct Line<'a> {
    mount_point: &'a str,
    is_fat: bool,
    is_checked: bool,
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split_whitespace();
        fields.next().filter(|source| !source.starts_with('#'))?;
        let mount_point = fields.next()?;
        let kind = fields.next()?;
        Some(Self {
            mount_point: if mount_point == "/" { "/" } else { mount_point.trim_end_matches('/') },
            is_fat: ["vfat", "msdos", "auto"].contains(&kind),
            // Missing fields are 0.
            is_checked: fields.nth(2).is_some_and(|field| field.bytes().any(|c| c != b'0')),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn finds(fstab: &str, mounts: &[&str], cmdline: &str) -> Option<String> {
        let mounts: Vec<MountInfo> = mounts.iter().map(|line| MountInfo::from_line(line).unwrap()).collect();
        look(fstab, &mounts, cmdline).map(|finding| finding.remedy)
    }

    const AUTOMOUNT: &str = "31 22 0:30 / /efi rw - autofs systemd-1 rw,timeout=120,direct";
    const VFAT: &str = "60 31 259:1 / /efi rw - vfat /dev/nvme0n1p1 rw";

    #[test]
    fn a_line_of_fstab_with_a_sixth_field_asks_for_a_check() {
        let line = |end: &str| format!("# the ESP\nUUID=AB-CD /boot/efi/ vfat umask=0077 {end}\n");
        assert!(
            finds(&line("0 2"), &[], "quiet").unwrap().contains("the sixth field of the line of /boot/efi")
        );
        for end in ["0 0", "0", ""] {
            assert_eq!(finds(&line(end), &[], "quiet"), None, "{end}");
        }
        assert_eq!(finds(&line("0 2"), &[], "quiet fsck.mode=skip"), None);
        assert_eq!(
            finds("/dev/sda2 /boot ext4 defaults 0 2\n# UUID=x /efi vfat defaults 0 2", &[], ""),
            None
        );
    }

    #[test]
    fn an_automount_without_a_line_of_fstab_is_checked() {
        for mounts in [&[AUTOMOUNT][..], &[AUTOMOUNT, VFAT]] {
            assert!(finds("", mounts, "").unwrap().contains("add a line for /efi"));
            assert_eq!(finds("LABEL=esp /efi vfat x-systemd.automount 0 0", mounts, ""), None);
        }
        assert_eq!(finds("", &[VFAT], ""), None);
    }
}
