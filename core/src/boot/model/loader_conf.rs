//! `loader/loader.conf`, as far as it decides which entry boots.

use crate::boot::model::conf_file;

/// The settings that steer the choice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoaderConf {
    /// `default`: a pattern, or `@saved`. As written; the loader folds it.
    pub default: Option<String>,
    /// `preferred`, since 260.
    pub preferred: Option<String>,
}

impl LoaderConf {
    /// Parses the file as the loader does: a later line wins, `@…` other than
    /// `@saved` is ignored (systemd 262, `boot.c`, `config_defaults_load_from_file`).
    #[must_use]
    pub fn parse(text: &str, single_quotes: bool) -> Self {
        let mut conf = Self::default();
        for (key, value) in conf_file::lines(text, &[' ', '\t'], single_quotes) {
            if value.starts_with('@') && !value.eq_ignore_ascii_case("@saved") {
                continue;
            }
            match key {
                "default" => conf.default = Some(value.to_owned()),
                "preferred" => conf.preferred = Some(value.to_owned()),
                _ => {}
            }
        }
        conf
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_default_wins_and_strange_ones_are_ignored() {
        let conf = LoaderConf::parse("#default x\ntimeout 3\ndefault  a.efi\ndefault b*\ndefault @x\n", true);
        assert_eq!(conf, LoaderConf { default: Some("b*".into()), preferred: None });
    }

    #[test]
    fn the_saved_entry_may_be_asked_for_in_any_case() {
        assert_eq!(LoaderConf::parse("default @SAVED", true).default.as_deref(), Some("@SAVED"));
    }
}
