//! The table of the kinds of check. A new kind begins with a line here; its keys are a file beside this one, and its
//! probe is a file in `crate::health::kinds`.

use std::time::Duration;

use abide_core::config::form::Words;
use abide_core::config::section::{Section, Settings};
use abide_core::config::tree::Table;
use abide_core::error::Result;

use crate::config::described::DescribedSettings;
use crate::config::kinds::clock::ClockCheck;
use crate::config::kinds::command::CommandCheck;
use crate::config::kinds::confirm::ConfirmCheck;
use crate::config::kinds::disk::DiskCheck;
use crate::config::kinds::file::FileCheck;
use crate::config::kinds::http::HttpCheck;
use crate::config::kinds::kernel::KernelCheck;
use crate::config::kinds::mount::MountCheck;
use crate::config::kinds::network::NetworkCheck;
use crate::config::kinds::process::ProcessCheck;
use crate::config::kinds::system::SystemCheck;
use crate::config::kinds::unit::UnitCheck;
use crate::config::setting::Setting;

/// A kind of check.
#[derive(Debug)]
pub struct KindOfCheck {
    word: &'static str,
    keys: &'static [Setting],
    pub(in crate::config) read: fn(&mut Section<'_>) -> Result<CheckKind>,
}

impl PartialEq for KindOfCheck {
    fn eq(&self, other: &Self) -> bool {
        self.word == other.word
    }
}

/// Defines [`CheckKind`], one line a kind: its variant, its settings, its word, the seconds that a run may take.
macro_rules! kinds {
    ($($(#[$doc:meta])+ $variant:ident($check:ty) = $word:literal, $seconds:literal;)+) => {
        /// The kinds of check, each with its own settings.
        #[derive(Debug, Clone, PartialEq)]
        pub enum CheckKind {
            $($(#[$doc])+ $variant($check),)+
        }

        impl Words for KindOfCheck {
            type Value = &'static Self;
            const WORDS: &'static [(&'static str, &'static Self)] = &[$(($word, &Self {
                word: $word,
                keys: <$check>::KEYS,
                read: |section| <$check>::read(section).map(CheckKind::$variant),
            }),)+];
        }

        #[cfg(test)]
        pub(in crate::config) const TIMEOUTS: &[(&str, u64)] = &[$(($word, $seconds),)+];

        impl CheckKind {
            pub(in crate::config) fn default_timeout(&self) -> Duration {
                Duration::from_secs(match self { $(Self::$variant(_) => $seconds,)+ })
            }

            pub(in crate::config) fn word(&self) -> &'static str {
                match self { $(Self::$variant(_) => $word,)+ }
            }

            pub(in crate::config) fn write(&self) -> Table {
                match self { $(Self::$variant(check) => check.write(),)+ }
            }
        }
    };
}

kinds! {
    /// systemd has finished booting, and no unit has failed that had not failed before.
    System(SystemCheck) = "system", 10;
    /// Named units are active, or have finished.
    Unit(UnitCheck) = "unit", 10;
    /// Interface, address, route, gateway, names and connections.
    Network(NetworkCheck) = "network", 5;
    /// A program exits with status 0.
    Command(CommandCheck) = "command", 30;
    /// A server sends the expected response.
    Http(HttpCheck) = "http", 10;
    /// A process runs.
    Process(ProcessCheck) = "process", 10;
    /// A file exists, is fresh, and contains a text.
    File(FileCheck) = "file", 10;
    /// A file system is mounted.
    Mount(MountCheck) = "mount", 10;
    /// A file system has free space and can be written.
    Disk(DiskCheck) = "disk", 10;
    /// The kernel has not crashed, and nothing has locked up.
    Kernel(KernelCheck) = "kernel", 10;
    /// The clock is synchronised.
    Clock(ClockCheck) = "clock", 10;
    /// Someone confirms that the system is healthy.
    Confirm(ConfirmCheck) = "confirm", 10;
}

/// The kinds of check, each with the keys that only it has.
#[must_use]
pub fn kinds() -> Vec<(&'static str, &'static [Setting])> {
    KindOfCheck::WORDS.iter().map(|(word, kind)| (*word, kind.keys)).collect()
}
