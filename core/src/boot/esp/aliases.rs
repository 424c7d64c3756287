//! Dead names on FAT: those that [`safe_rename`] has set aside because they may share their clusters.
//!
//! Removing such a name through the file system would free the clusters of the file that needs them, and `fsck.vfat` cuts
//! that file short instead. To mark its directory entries as removed frees nothing. That loses nothing if the name has no
//! clusters, if another name begins in the same one, so that it has them all, or if they are free already.
//!
//! [`safe_rename`]: crate::boot::esp::safe_rename

use crate::boot::esp::fat::disk::ReadAt;
use crate::boot::esp::fat::layout::Sector;
use crate::boot::esp::fat::names::{Named, REMOVED};
use crate::boot::esp::fat::reader::Fat;

/// The name that is set aside as the one of this number. A number of two digits keeps it short (FAT, 8.3).
pub(super) fn name(number: u32) -> String {
    format!("shared{number}.tmp")
}

fn is_set_aside(named: &Named) -> bool {
    let name = named.name.to_ascii_lowercase();
    let number = name.strip_prefix("shared").and_then(|rest| rest.strip_suffix(".tmp"));
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|c| c.is_ascii_digit()))
        && !named.is_dir
}

/// The places of the directory entries of dead names, on the device.
pub(super) fn dead<D: ReadAt>(fat: &Fat<D>, directory: &[Sector]) -> Vec<u64> {
    let mut left = fat.names(directory);
    let aside: Vec<Named> = left.iter().filter(|named| is_set_aside(named)).cloned().collect();
    let mut places = vec![];
    for named in aside {
        let is_shared = left.iter().any(|other| other.first == named.first && other.places != named.places);
        if named.first == 0 || is_shared || fat.is_free(named.first).unwrap_or(false) {
            // Of two that share their clusters with each other alone, one stays.
            left.retain(|other| other.places != named.places);
            places.extend(named.places);
        }
    }
    places
}

/// Marks the directory entries at these places as removed.
pub(super) fn mark(directory: &mut [Sector], places: &[u64]) {
    for sector in directory {
        for place in places {
            let offset = place.checked_sub(sector.at).and_then(|offset| usize::try_from(offset).ok());
            if let Some(first) = offset.and_then(|offset| sector.content.get_mut(offset)) {
                *first = REMOVED;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use std::io::{Read, Write};
    use std::os::unix::fs::FileExt;
    use std::rc::Rc;

    use fatfs::{FileSystem, FormatVolumeOptions, FsOptions};
    use tempfile::NamedTempFile;

    use super::*;
    use crate::boot::esp::directory_end::clear;

    /// A disk with these files in EFI/Linux, each with its name as content.
    fn disk(names: &[&str]) -> NamedTempFile {
        let mut file = NamedTempFile::new().unwrap();
        file.as_file().set_len(8 << 20).unwrap();
        fatfs::format_volume(file.as_file_mut(), FormatVolumeOptions::new()).unwrap();
        let fs = FileSystem::new(file.as_file(), FsOptions::new()).unwrap();
        let linux = fs.root_dir().create_dir("EFI").unwrap().create_dir("Linux").unwrap();
        for name in names {
            linux.create_file(name).unwrap().write_all(name.as_bytes()).unwrap();
        }
        drop(linux);
        fs.unmount().unwrap();
        file
    }

    fn list(file: &NamedTempFile) -> Vec<Named> {
        Fat::open(file.as_file()).unwrap().list("EFI/Linux").unwrap().unwrap()
    }

    fn names(file: &NamedTempFile) -> Vec<String> {
        list(file).into_iter().map(|named| named.name).collect()
    }

    fn find(file: &NamedTempFile, name: &str) -> Named {
        list(file).into_iter().find(|named| named.name == name).unwrap()
    }

    /// Lets a name begin in this cluster, as a rename leaves it that was cut off.
    fn begin_in(file: &NamedTempFile, name: &str, cluster: u32) {
        let place = *find(file, name).places.last().unwrap();
        let cluster = u16::try_from(cluster).unwrap();
        file.as_file().write_all_at(&cluster.to_le_bytes(), place + 26).unwrap();
    }

    fn text(file: &NamedTempFile, name: &str) -> String {
        let mut text = String::new();
        let fat = Fat::open(Rc::new(file.reopen().unwrap())).unwrap();
        fat.file(&format!("EFI/Linux/{name}")).unwrap().read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn a_second_name_of_an_entrys_clusters_goes_and_they_stay() {
        let file = disk(&["edge_1.0.efi", "shared0.tmp", "edge_2.0+3-0.efi", "shared1.tmp", "shared.tmp"]);
        for other in ["shared0.tmp", "shared1.tmp", "shared.tmp"] {
            begin_in(&file, other, find(&file, "edge_1.0.efi").first);
        }
        let before = std::fs::read(file.path()).unwrap();
        clear(file.path(), &["EFI/Linux"]).unwrap();
        assert_eq!(names(&file), ["edge_1.0.efi", "edge_2.0+3-0.efi", "shared.tmp"]);
        assert_eq!(text(&file, "edge_1.0.efi"), "edge_1.0.efi");
        let after = std::fs::read(file.path()).unwrap();
        let changed: Vec<_> = before.iter().zip(&after).filter(|(old, new)| old != new).collect();
        assert_eq!(changed.len(), 4, "the first bytes of two names with two directory entries each");
        assert!(changed.iter().all(|(_, new)| **new == REMOVED));
    }

    #[test]
    fn a_name_that_alone_has_its_clusters_stays() {
        let file = disk(&["edge_1.0.efi", "shared0.tmp", "shared1.tmp"]);
        begin_in(&file, "shared0.tmp", find(&file, "shared1.tmp").first);
        clear(file.path(), &["EFI/Linux"]).unwrap();
        assert_eq!(names(&file), ["edge_1.0.efi", "shared1.tmp"], "of two, one stays");
    }

    #[test]
    fn a_name_without_clusters_or_with_free_ones_goes() {
        let file = disk(&["edge_1.0.efi", "shared0.tmp", "shared1.tmp", "free"]);
        let free = find(&file, "free").first;
        let fs = FileSystem::new(file.reopen().unwrap(), FsOptions::new()).unwrap();
        fs.root_dir().remove("EFI/Linux/free").unwrap();
        fs.unmount().unwrap();
        begin_in(&file, "shared0.tmp", free);
        begin_in(&file, "shared1.tmp", 0);
        clear(file.path(), &["EFI/Linux"]).unwrap();
        assert_eq!(names(&file), ["edge_1.0.efi"]);
    }

    #[test]
    fn a_dead_name_in_two_sectors_may_be_cut_off_anywhere() {
        // fatfs gives the directory's own two names two directory entries each.
        let file =
            disk(&["a_1.0.efi", "b_1.0.efi", "c_1.0.efi", "d_1.0.efi", "f-1.0-x-x-x.efi", "shared0.tmp"]);
        let alias = find(&file, "shared0.tmp");
        assert_eq!(alias.places.len(), 2);
        assert_ne!(alias.places[0] / 512, alias.places[1] / 512);
        begin_in(&file, "shared0.tmp", find(&file, "a_1.0.efi").first);
        let whole = std::fs::read(file.path()).unwrap();
        let left = &names(&file)[..5];
        clear(file.path(), &["EFI/Linux"]).unwrap();
        let done = std::fs::read(file.path()).unwrap();
        assert_eq!(names(&file), left);
        for place in &alias.places {
            let sector = usize::try_from(place / 512 * 512).unwrap();
            let mut cut = whole.clone();
            cut[sector..sector + 512].copy_from_slice(&done[sector..sector + 512]);
            std::fs::write(file.path(), &cut).unwrap();
            assert_eq!(&names(&file)[..5], left);
            clear(file.path(), &["EFI/Linux"]).unwrap();
            assert_eq!((names(&file), text(&file, "a_1.0.efi")), (left.to_vec(), "a_1.0.efi".to_owned()));
        }
    }
}
