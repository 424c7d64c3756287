//! Keys that are missing, damaged or about to expire, and images that are installed without a signature.

use std::time::SystemTime;

use crate::config::{Config, TrustPolicy};
use crate::doctor::finding::Finding;
use crate::image::trust::Keys;
use crate::image::trust::keys::warning_days;
use crate::image::trust::signer::day_of;
use crate::url;
use abide_core::error::Result;

/// From so many days before the last key expires on, this is an error.
const ERROR_DAYS: u32 = 7;

/// What the findings depend on.
pub(super) struct Evidence<'a> {
    pub config: &'a Config,
    /// The keys, or why they cannot be read.
    pub keys: Result<Keys>,
    /// The time.
    pub now: SystemTime,
}

pub(super) fn look(evidence: &Evidence<'_>) -> Vec<Finding> {
    let source = evidence.config.update.source();
    let sent = source.filter(|_| evidence.config.update.token_file().is_some()).and_then(plain_token);
    of_keys(evidence, source.is_some()).into_iter().chain(sent).collect()
}

/// `has_source`: whether a feed or a hawkBit server is configured.
fn of_keys(evidence: &Evidence<'_>, has_source: bool) -> Option<Finding> {
    let Evidence { config, keys, now } = evidence;
    if let Some(policy @ (TrustPolicy::Digest | TrustPolicy::None)) = config.trust.policy {
        return has_source.then(|| unsigned(policy));
    }
    let keys = match keys {
        Ok(keys) => keys,
        Err(e) => {
            return Some(
                Finding::error("key-file", e.to_string())
                    .because("every image is refused until the key files are in order")
                    .remedy("repair, remove or mask the file"),
            );
        }
    };
    let count = keys.openpgp.len() + keys.minisign.len();
    match count {
        0 => has_source.then(no_key),
        _ if (count as u64) < u64::from(config.trust.required) => Some(too_few(count, config.trust.required)),
        _ => keys.last_expiry(*now).and_then(|(file, ends)| expires(&file, ends, *now)),
    }
}

fn too_few(count: usize, required: u32) -> Finding {
    let keys = if count == 1 { "1 key is".to_owned() } else { format!("{count} keys are") };
    Finding::error("too-few-keys", format!("[trust] required is {required}, and {keys} installed"))
        .because("no list can have as many valid signatures, so nothing is installed")
        .remedy("install the other keys in /etc/abide/keys, or lower required")
}

/// The token or password goes to `source` unencrypted.
fn plain_token(source: &str) -> Option<Finding> {
    (url::scheme(source).as_deref() == Some("http")).then(|| {
        let what = format!("the token or password for {} is sent without encryption", url::shown(source));
        Finding::warning("plain-token", what)
            .because("everybody on the way to the server can read it")
            .remedy("use a URL with https")
    })
}

fn unsigned(policy: TrustPolicy) -> Finding {
    let word = if policy == TrustPolicy::Digest { "digest" } else { "none" };
    Finding::warning(
        "unsigned",
        format!("updates are installed without a signature: [trust] policy is \"{word}\""),
    )
    .because(
        "an attacker who controls the server, the network or the stick can install anything on this machine",
    )
    .remedy("sign the images, install the key in /etc/abide/keys, and remove policy from [trust]")
}

fn no_key() -> Finding {
    Finding::error(
        "no-key",
        "updates come from a server or a folder, but no key is installed that could verify them",
    )
    .because("nothing is installed")
    .remedy("install the publisher's key in /etc/abide/keys")
}

fn expires(file: &str, ends: SystemTime, now: SystemTime) -> Option<Finding> {
    let days = warning_days(ends, now)?;
    let left = ends.duration_since(now).unwrap_or_default();
    let what = if left.is_zero() {
        format!("no installed key is valid any more; the last one is {file}")
    } else {
        let left = left.as_secs() / (24 * 60 * 60);
        format!("the last valid key, {file}, expires on {}, in {left} days", day_of(ends))
    };
    let finding = if days <= ERROR_DAYS {
        Finding::error("key-expires", what)
    } else {
        Finding::warning("key-expires", what)
    };
    Some(finding.because("after that no update can be verified, not even one that brings a new key").remedy(
        "add a newer key by keys.toml in the feed or by an update, or install one in /etc/abide/keys",
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;
    use crate::doctor::finding::Severity;
    use abide_core::error::Error;

    fn of(config: &str, keys: Result<Keys>) -> Vec<&'static str> {
        let config = Config::parse("f", config).unwrap();
        let evidence = Evidence { config: &config, keys, now: SystemTime::now() };
        look(&evidence).iter().map(|finding| finding.id).collect()
    }

    const FEED: &str = "[update]\nfeed = 'https://h/'\n";

    #[test]
    fn a_machine_that_updates_itself_without_a_signature_is_told_so() {
        let none = || Ok(Keys::default());
        let with = |policy: &str| format!("{FEED}[trust]\npolicy = '{policy}'\n");
        assert_eq!(of(FEED, none()), ["no-key"]);
        assert_eq!(of(&with("signature"), none()), ["no-key"]);
        assert_eq!(of(&with("digest"), none()), ["unsigned"]);
        assert_eq!(of(&with("none"), none()), ["unsigned"]);
        assert!(of("", none()).is_empty() && of("[trust]\npolicy = 'none'\n", none()).is_empty());
        assert_eq!(of("", Err(Error::Unverified("x".into()))), ["key-file"]);
    }

    #[test]
    fn fewer_keys_than_must_sign_are_found() {
        let text = "untrusted comment: x\nRWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3\n";
        let keys = || {
            let dir = tempfile::tempdir().unwrap();
            std::fs::create_dir_all(dir.path().join("etc/abide/keys")).unwrap();
            std::fs::write(dir.path().join("etc/abide/keys/a.pub"), text).unwrap();
            Keys::load(&abide_core::root::Root::at(dir.path()))
        };
        assert!(of(FEED, keys()).is_empty());
        assert_eq!(of("[trust]\nrequired = 2\n", keys()), ["too-few-keys"]);
    }

    #[test]
    fn a_password_that_goes_over_the_network_in_plain_text_is_found() {
        let feed = |scheme: &str| {
            format!(
                "[trust]\npolicy = 'none'\n[update]\nfeed = '{scheme}://h/'\nfeed_auth = '/etc/abide/password'\n"
            )
        };
        assert_eq!(of(&feed("http"), Ok(Keys::default())), ["unsigned", "plain-token"]);
        assert_eq!(of(&feed("https"), Ok(Keys::default())), ["unsigned"]);
    }

    #[test]
    fn the_last_key_is_announced_before_it_expires() {
        let day = Duration::from_secs(24 * 60 * 60);
        let now = SystemTime::UNIX_EPOCH + 20_000 * day;
        let found = |days: u32| expires("k", now + days * day, now).map(|f| (f.severity, f.what));
        assert_eq!(found(91), None);
        let warned = found(89);
        assert!(warned.is_some_and(|(s, what)| s == Severity::Warning && what.contains("in 89 days")));
        assert_eq!(found(7).map(|(severity, _)| severity), Some(Severity::Error));
        let past = expires("k", SystemTime::UNIX_EPOCH, now).map(|f| f.what);
        assert!(past.is_some_and(|what| what.starts_with("no installed key is valid")));
    }
}
