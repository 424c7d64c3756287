//! `[update.hawkbit]`: an Eclipse hawkBit server that decides what is installed.

use std::collections::BTreeMap;

use abide_core::config::section::Section;
use abide_core::error::Result;

/// How the server is reached, and what is done about what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HawkBit {
    /// The server, without the tenant's path.
    pub url: String,
    /// hawkBit's tenant.
    pub tenant: String,
    /// By what the server knows the machine, its controller id; none: derived from the machine id.
    pub id: Option<String>,
    /// The file of the token that the machine proves itself with; none: by nothing.
    pub token: Option<Token>,
    /// A file of PEM certificates that the server is checked against instead of the system's.
    pub ca: Option<String>,
    /// The type of the software module that holds the image.
    pub part: String,
    /// What is answered where somebody is to agree to an action.
    pub confirm: Confirm,
    /// What the server's "now" is worth.
    pub forced: Forced,
    /// What the server is told about the machine, beside what Abide knows.
    pub attributes: BTreeMap<String, String>,
}

/// A file that holds a token, by the kind of token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// This machine's own.
    Target(String),
    /// That of all machines behind one gateway.
    Gateway(String),
}

impl Token {
    /// The file.
    #[must_use]
    pub fn file(&self) -> &str {
        match self {
            Self::Target(file) | Self::Gateway(file) => file,
        }
    }
}

/// Who agrees to an action that asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirm {
    /// The machine, by its policy.
    Policy,
    /// Somebody at the server; the machine waits.
    Server,
}

/// Whether an action that the server wants done now waits for the machine's own windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forced {
    /// It does, as any other.
    Window,
    /// It does not, nor for what holds off a reboot.
    Now,
}

impl HawkBit {
    pub(super) fn read(section: &mut Section<'_>) -> Result<Self> {
        let token = match (section.path("token")?, section.path("gateway_token")?) {
            (Some(_), Some(_)) => {
                return Err(section.error_at("gateway_token", "token is there, too; only one can be sent"));
            }
            (Some(file), None) => Some(Token::Target(file)),
            (None, Some(file)) => Some(Token::Gateway(file)),
            (None, None) => None,
        };
        let hawkbit = Self {
            url: section.needed_url("url")?,
            tenant: section.text("tenant")?.unwrap_or_else(|| "DEFAULT".into()),
            id: section.text("id")?,
            token,
            ca: section.path("ca")?,
            part: section.text("part")?.unwrap_or_else(|| "os".into()),
            confirm: section
                .word("confirm", &[("policy", Confirm::Policy), ("server", Confirm::Server)])?
                .unwrap_or(Confirm::Policy),
            forced: section
                .word("forced", &[("window", Forced::Window), ("now", Forced::Now)])?
                .unwrap_or(Forced::Window),
            attributes: section.named_texts("attributes")?,
        };
        for key in ["tenant", "id", "part"] {
            section.not_empty(key)?;
        }
        match hawkbit.url.contains('@') {
            true => Err(section.error_at("url", "must be without a name or a password; see token")),
            false => Ok(hawkbit),
        }
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
            token: Some(Token::Target("/etc/token".into())),
            ca: Some("/etc/ca.pem".into()),
            part: "firmware".into(),
            confirm: Confirm::Server,
            forced: Forced::Now,
            attributes: BTreeMap::from([("site".into(), "north".into())]),
        };
        assert_eq!(hawkbit(keys).unwrap(), read);
        let gateway = hawkbit("url = 'https://h'\ngateway_token = '/etc/token'\n").unwrap();
        assert_eq!(gateway.token, Some(Token::Gateway("/etc/token".into())));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
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
