//! Keys that are missing, damaged or about to expire, and images that are installed without a signature.

use std::time::SystemTime;

use crate::config::TrustPolicy;
use crate::doctor::finding::Finding;
use crate::image::trust::Keys;
use crate::image::trust::keys::warning_days;
use crate::image::trust::signer::day_of;
use abide_core::error::Result;

/// From so many days before the last key expires on, this is an error.
const ERROR_DAYS: u32 = 7;

/// What the findings depend on.
pub(super) struct Evidence {
    /// `[trust] policy`
    pub policy: Option<TrustPolicy>,
    /// Whether a feed or a hawkBit server is configured.
    pub has_source: bool,
    /// The keys, or why they cannot be read.
    pub keys: Result<Keys>,
    /// The time.
    pub now: SystemTime,
}

pub(super) fn look(evidence: &Evidence) -> Vec<Finding> {
    let Evidence { policy, has_source, keys, now } = evidence;
    if let Some(policy @ (TrustPolicy::Digest | TrustPolicy::None)) = policy {
        return has_source.then(|| unsigned(*policy)).into_iter().collect();
    }
    let keys = match keys {
        Ok(keys) => keys,
        Err(e) => {
            return vec![
                Finding::error("key-file", e.to_string())
                    .because("every image is refused until the key files are in order")
                    .remedy("repair, remove or mask the file"),
            ];
        }
    };
    if keys.is_empty() {
        return has_source.then(no_key).into_iter().collect();
    }
    keys.last_expiry(*now).and_then(|(file, ends)| expires(&file, ends, *now)).into_iter().collect()
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
    use std::time::Duration;

    use super::*;
    use crate::doctor::finding::Severity;
    use abide_core::error::Error;

    fn of(policy: Option<TrustPolicy>, has_source: bool, keys: Result<Keys>) -> Vec<&'static str> {
        let evidence = Evidence { policy, has_source, keys, now: SystemTime::now() };
        look(&evidence).iter().map(|finding| finding.id).collect()
    }

    #[test]
    fn a_machine_that_updates_itself_without_a_signature_is_told_so() {
        let none = || Ok(Keys::default());
        assert_eq!(of(None, true, none()), ["no-key"]);
        assert_eq!(of(Some(TrustPolicy::Signature), true, none()), ["no-key"]);
        assert_eq!(of(Some(TrustPolicy::Digest), true, none()), ["unsigned"]);
        assert_eq!(of(Some(TrustPolicy::None), true, none()), ["unsigned"]);
        assert!(of(None, false, none()).is_empty() && of(Some(TrustPolicy::None), false, none()).is_empty());
        assert_eq!(of(None, false, Err(Error::Unverified("x".into()))), ["key-file"]);
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
