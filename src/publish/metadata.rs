//! The entry of a release in `feed.toml`.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::feed::catalog::{METADATA, is_named};
use crate::publish::folder::Files;
use abide_core::error::{Error, OrError, Result};

/// Adds the release to `feed.toml`, unless it has an entry. What is there stays as it is.
///
/// # Errors
/// [`Error::Usage`] if the file or `published` cannot be used; [`Error::Failed`] if it cannot be read or written.
pub fn add(folder: &Path, release: &Files, published: Option<&str>) -> Result<()> {
    let path = folder.join(METADATA);
    let mut text = match fs::read_to_string(&path) {
        Err(e) if e.kind() == ErrorKind::NotFound => "format = 1\n".to_owned(),
        read => read.or_failed(|| format!("{}: cannot read", path.display()))?,
    };
    let has = |text: &str| {
        is_named(text.as_bytes(), &release.image, &release.version)
            .map_err(|why| Error::Usage(format!("{}: {why}", folder.display())))
    };
    if has(&text)? {
        return Ok(());
    }
    // Only `"` and `\` are escaped: names with what is not printable are none of a release.
    text.push_str(&format!("\n[[release]]\nversion = {:?}\nimage = {:?}\n", release.version, release.image));
    if let Some(published) = published {
        text.push_str(&format!("published = {published:?}\n"));
    }
    has(&text)?;
    let (new, cannot) =
        (folder.join(format!("{METADATA}.new")), || format!("{}: cannot write", path.display()));
    fs::write(&new, text).or_failed(cannot)?;
    fs::rename(&new, &path).or_failed(cannot)
}
