//! `[update.hawkbit]`: an Eclipse hawkBit server that decides what is installed.

use std::collections::BTreeMap;

use abide_core::config::form::{Optional, TextRule, Word, Words};
use abide_core::config::section::Section;
use abide_core::error::Result;

use crate::config::described::DescribedText;
use crate::config::forms::{AbsolutePath, NotEmpty, TextsByName, Url};
use crate::config::table::settings;

settings! {
    /// How the server is reached, and how its actions are carried out.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct HawkBit checked by has_one_token {
        /// The URL of the server, without the path of the tenant.
        pub url: ServerUrl, example "https://hawkbit.example";
        /// The tenant at hawkBit.
        pub tenant: NotEmpty = "DEFAULT".into();
        /// The controller ID of the machine.
        pub id: Optional<NotEmpty> = None, otherwise "derived from the machine ID", example "node-1";
        /// A file with the machine's own token (`TargetToken`): one line, readable by its owner only.
        pub target_token as "token": Optional<AbsolutePath> = None, example "/etc/abide/hawkbit-token";
        /// A file with the token of a gateway (`GatewayToken`), instead of `token`.
        pub gateway_token: Optional<AbsolutePath> = None;
        /// A file of PEM certificates to check the server against.
        pub ca: Optional<AbsolutePath> = None, otherwise "the system's", example "/etc/abide/ca.pem";
        /// The type of the software module that holds the image.
        pub module_type as "part": NotEmpty = "os".into();
        /// Who confirms an action that needs confirmation. `"policy"`: the machine, by its policy. `"server"`:
        /// a person at the server.
        pub confirm: Word<ConfirmBy> = ConfirmBy::Policy;
        /// When a forced action is carried out. `"window"`: in a maintenance window, when nothing inhibits the
        /// reboot, as any other action. `"now"`: at once.
        pub forced: Word<Forced> = Forced::Window;
        /// Attributes of the machine to send to the server, in addition to Abide's own.
        pub attributes: TextsByName = BTreeMap::new(), example { site = "north" };
    }
}

/// The URL of a server, without user and password.
#[derive(Debug)]
pub struct ServerUrl;

impl TextRule for ServerUrl {
    fn problem(text: &str) -> Option<String> {
        if text.contains('@') {
            return Some("must not contain a user name or a password; use token".into());
        }
        Url::problem(text)
    }
}

impl DescribedText for ServerUrl {
    const NAME: &'static str = Url::NAME;
}

/// A file that holds a token, by the kind of token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token<'t> {
    /// This machine's own.
    Target(&'t str),
    /// That of all machines behind one gateway.
    Gateway(&'t str),
}

impl<'t> Token<'t> {
    /// The file.
    #[must_use]
    pub fn file(self) -> &'t str {
        match self {
            Self::Target(file) | Self::Gateway(file) => file,
        }
    }
}

/// Who confirms an action that needs confirmation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfirmBy {
    /// The machine, by its policy.
    Policy,
    /// Somebody at the server; the machine waits.
    Server,
}

impl Words for ConfirmBy {
    type Value = Self;
    const WORDS: &'static [(&'static str, Self)] = &[("policy", Self::Policy), ("server", Self::Server)];
}

/// When a forced action is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forced {
    /// In a maintenance window, when nothing inhibits the reboot.
    Window,
    /// At once.
    Now,
}

impl Words for Forced {
    type Value = Self;
    const WORDS: &'static [(&'static str, Self)] = &[("window", Self::Window), ("now", Self::Now)];
}

impl HawkBit {
    /// The token that the machine authenticates with; `None`: without one.
    #[must_use]
    pub fn token(&self) -> Option<Token<'_>> {
        let target = self.target_token.as_deref().map(Token::Target);
        target.or_else(|| self.gateway_token.as_deref().map(Token::Gateway))
    }

    fn has_one_token(&self, section: &Section<'_>) -> Result<()> {
        if self.target_token.is_some() && self.gateway_token.is_some() {
            return Err(section.error_at("gateway_token", "token is set, too; set only one of them"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::Config;

    fn hawkbit(keys: &str) -> Result<HawkBit> {
        let text = format!("[update.hawkbit]\n{keys}");
        Config::parse("f", &text).map(|config| config.update.hawkbit.unwrap())
    }

    #[test]
    fn every_key_is_read() {
        let keys = "url = 'https://h/x'\ntenant = 'T'\nid = 'node-1'\ntoken = '/etc/token'\nca = '/etc/ca.pem'\n\
                    part = 'firmware'\nconfirm = 'server'\nforced = 'now'\nattributes = { site = 'north' }\n";
        let read = HawkBit {
            url: "https://h/x".into(),
            tenant: "T".into(),
            id: Some("node-1".into()),
            target_token: Some("/etc/token".into()),
            gateway_token: None,
            ca: Some("/etc/ca.pem".into()),
            module_type: "firmware".into(),
            confirm: ConfirmBy::Server,
            forced: Forced::Now,
            attributes: BTreeMap::from([("site".into(), "north".into())]),
        };
        assert_eq!(hawkbit(keys).unwrap(), read);
        let gateway = hawkbit("url = 'https://h'\ngateway_token = '/etc/token'\n").unwrap();
        assert_eq!(gateway.token(), Some(Token::Gateway("/etc/token")));
    }

    #[test]
    fn invalid_settings_are_refused() {
        for keys in [
            "",
            "url = 'h'\n",
            "url = 'https://u:p@h'\n",
            "url = 'https://h'\ntoken = '/a'\ngateway_token = '/b'\n",
            "url = 'https://h'\ntoken = 'a'\n",
            "url = 'https://h'\nid = ''\n",
            "url = 'https://h'\nconfirm = 'maybe'\n",
            "url = 'https://h'\nattributes = 'x'\n",
            "url = 'https://h'\nattributes = { a = 1 }\n",
        ] {
            assert_eq!(hawkbit(keys).unwrap_err().exit_code(), 2, "{keys}");
        }
    }
}
