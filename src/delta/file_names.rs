//! The names of the files beside a partition's file or a UKI.
//!
//! A pattern of systemd-sysupdate matches every name that begins with what it matches (257, sysupdate-pattern.c): a patch
//! with the name `edge_2.0.efi.from-1.0.patch` would be installed as the UKI of 2.0. So `.raw` and `.efi` are not in these.

const MAP: &str = ".map";
const FROM: &str = ".from-";
const PATCH: &str = ".patch";

/// Stands for `.efi`.
const UKI: &str = ".uki";

/// The endings that are left out.
const RAW: [&str; 3] = ["raw", "img", "wic"];

/// The map of the partition whose unpacked file has this name. A UKI has none.
#[must_use]
pub fn map(unpacked: &str) -> String {
    format!("{}{MAP}", stem(unpacked))
}

/// The patch that makes the partition, or the UKI, from that of the version `old`.
#[must_use]
pub fn patch(unpacked: &str, old: &str) -> String {
    format!("{}{FROM}{old}{PATCH}", stem(unpacked))
}

fn stem(unpacked: &str) -> String {
    match unpacked.rsplit_once('.') {
        Some((stem, end)) if RAW.contains(&end) => stem.to_owned(),
        Some((stem, "efi")) => format!("{stem}{UKI}"),
        _ => unpacked.to_owned(),
    }
}

/// The name of a partition's file without that of its packing. None if it is not packed with zstd, and so has no frames.
#[must_use]
pub fn unpacked(root: &str) -> Option<&str> {
    root.strip_suffix(".zst")
}

/// What stands in front of the version in the name of a patch of the root whose unpacked file has this name, and behind it.
#[must_use]
pub fn patch_ends(unpacked: &str) -> (String, &'static str) {
    (format!("{}{FROM}", stem(unpacked)), PATCH)
}

/// Whether this is the name of a map or a patch beside a file whose name `is_file` accepts.
#[must_use]
pub fn is_beside(name: &str, is_file: impl Fn(&str) -> bool) -> bool {
    let is_stem = |stem: &str| match stem.strip_suffix(UKI) {
        Some(uki) => is_file(&format!("{uki}.efi")),
        None => RAW.iter().any(|end| is_file(&format!("{stem}.{end}"))),
    };
    if let Some(stem) = name.strip_suffix(MAP) {
        return is_stem(stem);
    }
    let Some(name) = name.strip_suffix(PATCH) else { return false };
    // A version may have these words, too.
    name.match_indices(FROM).any(|(at, _)| name.get(..at).is_some_and(is_stem))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beside_a_file_is_known_by_its_name() {
        let is_file = |name: &str| ["edge_2.0.efi", "edge_2.0.root.raw"].contains(&name);
        for (of, is_it) in [("edge_2.0.efi", true), ("edge_2.0.root.raw", true), ("edge_2.0.tar", false)] {
            assert_eq!(is_beside(&map(of), is_file), is_it, "{of}");
            assert_eq!(is_beside(&patch(of, "1.0.from-0"), is_file), is_it, "{of}");
        }
        assert!(!is_beside("edge_2.0.root.raw", is_file));
    }
}
