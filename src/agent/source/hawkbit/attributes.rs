//! What this machine says of itself to the server.

use std::collections::{BTreeMap, BTreeSet};

use log::warn;

use crate::agent::source::hawkbit::acceptable;
use crate::agent::source::hawkbit::client::DdiClient;
use crate::agent::survey::Survey;
use abide_core::arch;
use abide_core::error::Result;

/// The attributes of the machine; `configured`: those of the settings, which may replace Abide's own.
pub fn of(survey: &Survey, configured: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let own = [
        ("abide", env!("CARGO_PKG_VERSION")),
        ("image", &survey.image),
        ("version", &survey.version),
        // By this name gooseBit decides whether an update is needed, and forgets it where it is not sent.
        ("sw_version", &survey.version),
        ("arch", arch::NATIVE.name),
    ];
    let configured = configured.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    acceptable::attributes(own.into_iter().chain(configured))
}

/// Sends attributes: one by one where the server refuses them as a whole. Returns the names of those that it refuses.
///
/// # Errors
/// As [`DdiClient::put_attributes`].
pub fn send(
    client: &DdiClient,
    url: &str,
    attributes: &BTreeMap<String, String>,
) -> Result<BTreeSet<String>> {
    if attributes.is_empty() || client.put_attributes(url, attributes)? {
        return Ok(BTreeSet::new());
    }
    let mut refused = BTreeSet::new();
    for (name, value) in attributes {
        if !client.put_attributes(url, &BTreeMap::from([(name.clone(), value.clone())]))? {
            warn!(
                "hawkBit refuses the attribute {name} = '{value}'; it is left out until an attribute changes"
            );
            refused.insert(name.clone());
        }
    }
    Ok(refused)
}
