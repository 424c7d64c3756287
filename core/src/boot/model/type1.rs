//! Type #1 entries: the text files in `loader/entries/`.

use crate::arch;
use crate::boot::model::conf_file;
use crate::boot::model::entry::Starts;
use crate::boot::model::quirks::Quirks;

/// The keys of a Type #1 file that are used here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Type1 {
    /// What is started.
    pub starts: Starts,
    /// The file or, for `uki-url`, the URL that is started. Files have `/` between
    /// the parts and none in front.
    pub target: String,
    /// `title`
    pub title: Option<String>,
    /// `sort-key`
    pub sort_key: Option<String>,
    /// `machine-id`
    pub machine_id: Option<String>,
    /// `version`
    pub version: Option<String>,
    /// All `options` lines, joined by blanks.
    pub options: Option<String>,
    /// `profile`
    pub profile: u32,
}

/// Parses a Type #1 file as systemd-boot does (262, `boot_entry_add_type1`).
///
/// `None` if the loader would not show it: no lines, or contradictory lines, that say what to start, or
/// another architecture. Lines that this version does not know are ignored.
#[must_use]
pub fn parse(text: &str, quirks: &Quirks) -> Option<Type1> {
    let mut it = Type1 {
        starts: Starts::Linux,
        target: String::new(),
        title: None,
        sort_key: None,
        machine_id: None,
        version: None,
        options: None,
        profile: 0,
    };
    let mut starts: Option<Starts> = None;
    for (key, value) in conf_file::lines(text, &[' ', '\t'], quirks.single_quotes) {
        let own = || Some(value.to_owned());
        let new = match key {
            "title" => {
                it.title = own();
                continue;
            }
            "sort-key" => {
                it.sort_key = own();
                continue;
            }
            "version" => {
                it.version = own();
                continue;
            }
            "machine-id" => {
                it.machine_id = own();
                continue;
            }
            "profile" if quirks.conf_profile => {
                it.profile = value.parse().unwrap_or(it.profile);
                continue;
            }
            "options" => {
                it.options = Some(match it.options.take() {
                    Some(old) => format!("{old} {value}"),
                    None => value.to_owned(),
                });
                continue;
            }
            // `EFI_MACHINE_TYPE_NAME` of this machine's loader.
            "architecture" if !value.eq_ignore_ascii_case(arch::NATIVE.efi) => return None,
            "linux" => Starts::Linux,
            "efi" => Starts::Efi,
            "uki" if quirks.conf_uki => Starts::Uki,
            "uki-url" if quirks.conf_uki => Starts::UkiUrl,
            _ => continue,
        };
        if starts.is_some_and(|old| old != new) {
            return None;
        }
        starts = Some(new);
        it.target = if new == Starts::UkiUrl { value.to_owned() } else { path(value) };
    }
    it.starts = starts?;
    Some(it)
}

/// Files are named from the partition's root, with either slash.
fn path(value: &str) -> String {
    value.split(['/', '\\']).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn newest(text: &str) -> Option<Type1> {
        parse(text, &Quirks::NEWEST)
    }

    #[test]
    fn a_linux_entry_is_read_with_all_its_options() {
        let it = newest(
            "title  Edge 1\nsort-key edge\nversion 1.0\nmachine-id abc\n\
             linux /edge/linux\ninitrd /edge/initrd\noptions root=x\noptions quiet ro\n",
        )
        .unwrap();
        assert_eq!((it.starts, it.target.as_str()), (Starts::Linux, "edge/linux"));
        assert_eq!(it.options.as_deref(), Some("root=x quiet ro"));
        assert_eq!((it.sort_key.as_deref(), it.version.as_deref()), (Some("edge"), Some("1.0")));
    }

    #[test]
    fn an_entry_that_starts_nothing_or_two_things_is_not_shown() {
        assert_eq!(newest("title x\n"), None);
        assert_eq!(newest("linux /a\nefi /b\n"), None);
        assert!(newest("linux /a\nlinux /b\n").is_some());
    }

    #[test]
    fn before_258_the_lines_of_ukis_do_not_count() {
        let text = "uki /a\nlinux /b\n";
        assert_eq!(newest(text), None);
        assert_eq!(parse(text, &Quirks::V257).unwrap().target, "b");
        assert_eq!(parse("uki-url http://x\n", &Quirks::V257), None);
    }

    #[test]
    fn before_257_a_single_quote_is_part_of_the_value() {
        let sort_key = |quirks| parse("linux /a\nsort-key 'edge'\n", &quirks).unwrap().sort_key;
        assert_eq!(sort_key(Quirks::V252).as_deref(), Some("'edge'"));
        assert_eq!(sort_key(Quirks::V257).as_deref(), Some("edge"));
    }

    #[test]
    fn an_entry_for_another_architecture_is_not_shown() {
        assert_eq!(newest("linux /a\narchitecture vax\n"), None);
        assert!(newest(&format!("linux /a\narchitecture {}\n", arch::NATIVE.efi.to_uppercase())).is_some());
    }

    #[test]
    fn backslashes_are_slashes_too() {
        assert_eq!(newest("efi \\EFI\\tool.efi\n").unwrap().target, "EFI/tool.efi");
    }
}
