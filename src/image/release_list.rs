//! The lists of single releases in a folder of this machine, as mkosi writes them: `edge_1.2.SHA256SUMS`.

use std::fs;
use std::path::Path;

use crate::image::names::{Name, RELEASE_SUMS};
use abide_core::arch::NATIVE;
use abide_core::boot::model::version::compare;

/// The list of the newest release, or of `version`, of the image `image` (any, where it is not known) for this machine;
/// one that is not named after a release only where it is alone. None if there is no list.
///
/// # Errors
/// A sentence about the folder, if it cannot be read or has lists of several images.
pub fn newest(folder: &Path, image: Option<&str>, version: Option<&str>) -> Result<Option<String>, String> {
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let entries = entries.map_err(|e| format!("cannot read: {e}"))?;
    let names = entries.iter().filter_map(|entry| entry.file_name().into_string().ok());
    let lists: Vec<String> = names.filter(|name| name.ends_with(RELEASE_SUMS)).collect();
    if let [only] = lists.as_slice() {
        return Ok(Some(only.clone()));
    }
    let files: Vec<String> =
        lists.iter().map(|list| format!("{}.raw", list.trim_end_matches(RELEASE_SUMS))).collect();
    let named = lists.iter().zip(&files).filter_map(|(list, file)| Some((list, Name::parse(file)?)));
    let fits = |name: &Name<'_>| {
        image.is_none_or(|image| image == name.image)
            && version.is_none_or(|version| version == name.version)
            && name.arch.is_none_or(|arch| arch == NATIVE.name)
    };
    let fitting: Vec<(&String, Name<'_>)> = named.filter(|(_, name)| fits(name)).collect();
    let mut images: Vec<&str> = fitting.iter().map(|(_, name)| name.image).collect();
    images.sort_unstable();
    images.dedup();
    if images.len() > 1 {
        return Err(format!("has lists of {}; name the list itself", images.join(" and ")));
    }
    let newest = fitting.into_iter().max_by(|(_, a), (_, b)| compare(a.version, b.version));
    Ok(newest.map(|(list, _)| list.clone()))
}
