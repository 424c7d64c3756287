//! Splits the image of a whole disk into the files of a set.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::disk::role::Role;
use crate::image::names::{Content, SUMS, unpacked};
use crate::image::{Esp, HEAD, ImagePartition, Layout, Source, Spool, Stream};
use crate::publish::folder::{Files, Listed, digest_of};
use abide_core::error::{Error, OrError, Result};

/// What is read at once, and the unit of holes in what is written.
const PIECE: usize = 64 << 10;

/// Makes a set of a release that is the image of a whole disk, so that no second way to install it is listed. Returns the
/// image that is not listed.
///
/// # Errors
/// [`Error::Refused`] if the image is listed, or files of the set are there with other bytes; those of [`split`].
pub fn into_set(release: &mut Files, listed: &Listed) -> Result<Option<PathBuf>> {
    let Some(disk) = release.by_content.remove(&Content::Disk) else { return Ok(None) };
    let name = disk.file_name().unwrap_or_default().to_string_lossy();
    if listed.lists(&[&name]) {
        return Err(Error::Refused(format!(
            "{name} is published already; its digest identifies the release, so publish another version, or take it out of \
             {SUMS} if no machine has seen it"
        )));
    }
    if !release.has_root() {
        release.by_content.extend(split(&disk)?);
    }
    Ok(Some(disk))
}

/// Writes the UKI and the partitions of a slot that the image `disk` has as files beside it, in one pass.
///
/// # Errors
/// [`Error::Image`] if it cannot be read, or not be split; [`Error::Refused`] if it brings addons, or there are other files
/// of these names; [`Error::Failed`] if a file cannot be written.
fn split(disk: &Path) -> Result<Vec<(Content, PathBuf)>> {
    let name = disk.display().to_string();
    let source =
        Source::in_folder(&name)?.ok_or_else(|| Error::Image(format!("{name}: there is no such file")))?;
    let mut stream = Stream::open(source, None)?;
    let layout = Layout::parse(stream.peek(HEAD)?, &name)?;
    let slot = layout.slot(&name)?.into_iter().map(|(role, partition)| (Content::Part(role), partition));
    let mut parts = vec![(Content::Uki, layout.esp(&name)?.clone())];
    parts.extend(slot);
    parts.sort_unstable_by_key(|(_, partition)| partition.start);
    let mut made = Vec::new();
    for (content, partition) in parts {
        stream.skip_to(partition.start)?;
        let path = PathBuf::from(file_name(&name, content));
        let new = PathBuf::from(format!("{}.new", path.display()));
        let cannot = || format!("{}: cannot write", path.display());
        let to = File::create(&new).or_failed(cannot)?;
        match content {
            Content::Uki => copy_uki(&mut stream, &partition, disk, &to)?,
            _ => copy_sparse(&mut stream, &partition, &to)?,
        }
        to.sync_all().or_failed(cannot)?;
        made.push((content, path, new));
    }
    stream.decode_rest(Some(layout.disk_len))?;
    // The root last: with it, the files count as a set.
    made.sort_unstable_by_key(|(content, ..)| *content == Content::Part(Role::Root));
    for (_, path, new) in &made {
        keep(new, path, &name)?;
    }
    Ok(made.into_iter().map(|(content, path, _)| (content, path)).collect())
}

/// The name that mkosi gives to a part of this image.
fn file_name(disk: &str, content: Content) -> String {
    let unpacked = unpacked(disk);
    let stem = unpacked.rsplit_once('.').map_or(unpacked, |(stem, _)| stem);
    let end = match content {
        Content::Part(Role::Verity) => "root-verity.raw",
        Content::Part(Role::VeritySig) => "root-verity-sig.raw",
        Content::Part(Role::Root) => "root.raw",
        Content::Uki | Content::Disk => "efi",
    };
    format!("{stem}.{end}")
}

fn copy_uki(stream: &mut Stream, esp: &ImagePartition, disk: &Path, mut to: &File) -> Result<()> {
    let mut spool = Spool::new(disk.parent().map(Path::to_owned).into_iter().collect());
    spool.keep_all(esp.len, |bytes| stream.fill_all(bytes, esp.end()))?;
    let kept = Esp::open(spool, stream.name())?;
    io::copy(&mut kept.uki()?, &mut to).or_failed(|| format!("{}: cannot copy its UKI", disk.display()))?;
    Ok(())
}

/// Copies a partition and leaves holes for zeros.
fn copy_sparse(stream: &mut Stream, partition: &ImagePartition, to: &File) -> Result<()> {
    let cannot = || "cannot write a partition of the image";
    to.set_len(partition.len).or_failed(cannot)?;
    let (mut piece, mut at) = (vec![0; PIECE], 0);
    while at < partition.len {
        let count = usize::try_from(partition.len - at).unwrap_or(PIECE).min(PIECE);
        let bytes = piece.get_mut(..count).unwrap_or_default();
        stream.fill_all(bytes, partition.end())?;
        if bytes.iter().any(|byte| *byte != 0) {
            to.write_all_at(bytes, at).or_failed(cannot)?;
        }
        at += count as u64;
    }
    Ok(())
}

/// Gives a complete file its name, unless a file with other bytes has it.
fn keep(new: &Path, path: &Path, disk: &str) -> Result<()> {
    if path.exists() && digest_of(path)? != digest_of(new)? {
        fs::remove_file(new).or_failed(|| format!("{}: cannot remove", new.display()))?;
        return Err(Error::Refused(format!(
            "{}: is not the one in {disk}; remove the one that is not of this release",
            path.display()
        )));
    }
    fs::rename(new, path).or_failed(|| format!("{}: cannot write", path.display()))
}
