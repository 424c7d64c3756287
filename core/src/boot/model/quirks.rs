//! Where one version of systemd-boot differs from another, as data.
//!
//! Read in 252.39, 254.26, 255.13 and 256 (`src/boot/efi/boot.c`), 257.13 and 262
//! (`src/boot/boot.c`), and tried on 252.39, 254.26, 257.13 and 262. For versions that were not
//! read, the boundary is the one given in systemd's release notes.

/// How the loader makes an entry's id from the file name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdStyle {
    /// The folded file name, counter and all (before 257.10 and in 258.0).
    WithCounter,
    /// The counter is stripped after all else: the id of a counted entry keeps the case
    /// of the file name, and the profiles of a counted UKI have no `@…` (257.10 and later, 258.1).
    StrippedLate,
    /// The counter is stripped first. A counted UKI's id still keeps its case, as do the
    /// profiles' own ids (259 and later).
    Stripped,
}

/// The differences between the versions that matter to the choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quirks {
    /// How ids are made.
    pub id: IdStyle,
    /// `LoaderEntryPreferred` and `preferred` are known (260).
    pub preferred: bool,
    /// Type #1 entries with `efi` are counted (before 258).
    pub counts_efi_conf: bool,
    /// Type #1 entries with `uki` and `uki-url` are known (258); before, such lines are ignored.
    pub conf_uki: bool,
    /// Type #1 entries may name a `profile` (259).
    pub conf_profile: bool,
    /// Every profile of a UKI is an entry of its own (257).
    pub profiles: bool,
    /// Profiles sort by their number before the id (259, with the profiles of Type #1).
    pub profile_first: bool,
    /// Only the first profile is booted without being named (261).
    pub profile_by_name: bool,
    /// A leading `auto-` hides a file in any case (257, not yet 256), not only in lower case.
    pub auto_in_any_case: bool,
    /// `'` quotes a value as `"` does (257, not yet 256).
    pub single_quotes: bool,
    /// An entry with tries left that cannot be started makes the loader reboot (258);
    /// before, it goes back to the firmware.
    pub reboots_on_error: bool,
}

impl Quirks {
    /// The oldest systemd-boot that is supported.
    pub const V252: Self = Self {
        id: IdStyle::WithCounter,
        preferred: false,
        counts_efi_conf: true,
        conf_uki: false,
        conf_profile: false,
        profiles: false,
        profile_first: false,
        profile_by_name: false,
        auto_in_any_case: false,
        single_quotes: false,
        reboots_on_error: false,
    };

    /// 257.10 and later 257s.
    pub const V257: Self = Self {
        id: IdStyle::StrippedLate,
        profiles: true,
        auto_in_any_case: true,
        single_quotes: true,
        ..Self::V252
    };

    /// 262; also used for newer and unknown versions.
    pub const NEWEST: Self = Self {
        id: IdStyle::Stripped,
        preferred: true,
        counts_efi_conf: false,
        conf_uki: true,
        conf_profile: true,
        profile_first: true,
        profile_by_name: true,
        reboots_on_error: true,
        ..Self::V257
    };

    /// The quirks of the version that `LoaderInfo` names, such as `systemd-boot 257.13-1~deb13u1`.
    #[must_use]
    pub fn of(loader_info: Option<&str>) -> Self {
        loader_info.and_then(release).map_or(Self::NEWEST, |(major, minor)| Self::of_release(major, minor))
    }

    /// The quirks of version `major.minor`.
    #[must_use]
    pub fn of_release(major: u32, minor: u32) -> Self {
        let id = match (major, minor) {
            (..257, _) | (257, ..10) | (258, 0) => IdStyle::WithCounter,
            (257 | 258, _) => IdStyle::StrippedLate,
            _ => IdStyle::Stripped,
        };
        Self {
            id,
            preferred: major >= 260,
            counts_efi_conf: major < 258,
            conf_uki: major >= 258,
            conf_profile: major >= 259,
            profiles: major >= 257,
            profile_first: major >= 259,
            profile_by_name: major >= 261,
            auto_in_any_case: major >= 257,
            single_quotes: major >= 257,
            reboots_on_error: major >= 258,
        }
    }
}

/// The release in `systemd-boot 257.13-1~deb13u1`: `(257, 13)`.
#[must_use]
pub fn release(loader_info: &str) -> Option<(u32, u32)> {
    let version = loader_info.strip_prefix("systemd-boot ")?.trim_start();
    let mut parts = version.split(|c: char| !c.is_ascii_digit());
    let major = parts.next()?.parse().ok()?;
    // `258~rc1` and `258-1` have no minor; only a dot leads to one.
    let dotted = version.trim_start_matches(|c: char| c.is_ascii_digit()).starts_with('.');
    let minor = parts.next().filter(|_| dotted).and_then(|m| m.parse().ok()).unwrap_or(0);
    Some((major, minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_is_read_from_the_loaders_own_words() {
        assert_eq!(release("systemd-boot 257.13-1~deb13u1"), Some((257, 13)));
        assert_eq!(release("systemd-boot 252.39-1~deb12u2"), Some((252, 39)));
        assert_eq!(release("systemd-boot 262-1"), Some((262, 0)));
        assert_eq!(release("systemd-boot 258~rc1-2"), Some((258, 0)));
        assert_eq!(release("GRUB 2.12"), None);
        assert_eq!(release("systemd-boot "), None);
    }

    #[test]
    fn the_three_versions_that_were_read_have_their_tables() {
        assert_eq!(Quirks::of(Some("systemd-boot 252.39-1~deb12u2")), Quirks::V252);
        assert_eq!(Quirks::of(Some("systemd-boot 257.13-1~deb13u1")), Quirks::V257);
        assert_eq!(Quirks::of(Some("systemd-boot 262-1")), Quirks::NEWEST);
        assert_eq!(Quirks::of(None), Quirks::NEWEST);
    }

    #[test]
    fn the_counter_left_the_id_in_three_places() {
        let style = |major, minor| Quirks::of_release(major, minor).id;
        assert_eq!(style(257, 9), IdStyle::WithCounter);
        assert_eq!(style(257, 10), IdStyle::StrippedLate);
        assert_eq!(style(258, 0), IdStyle::WithCounter);
        assert_eq!(style(258, 1), IdStyle::StrippedLate);
        assert_eq!(style(259, 0), IdStyle::Stripped);
    }
}
