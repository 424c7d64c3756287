//! What this machine says of itself to the server.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use log::warn;

use crate::agent::source::hawkbit::acceptable;
use crate::agent::source::hawkbit::client::{DdiClient, Taken};
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

/// What became of attributes.
pub enum Sent {
    /// They are sent, but for those of these names, which the server refuses.
    Refused(BTreeSet<String>),
    /// The server is overloaded, and gets no more of them for so long.
    Overload(Duration),
}

/// Sends attributes: one by one where the server refuses them as a whole.
///
/// # Errors
/// As [`DdiClient::put_attributes`].
pub fn send(client: &DdiClient, url: &str, attributes: &BTreeMap<String, String>) -> Result<Sent> {
    if attributes.is_empty() {
        return Ok(Sent::Refused(BTreeSet::new()));
    }
    match client.put_attributes(url, attributes)? {
        Taken::Yes => return Ok(Sent::Refused(BTreeSet::new())),
        Taken::Later(pause) => return Ok(Sent::Overload(pause)),
        Taken::No => {}
    }
    let mut refused = BTreeSet::new();
    for (name, value) in attributes {
        match client.put_attributes(url, &BTreeMap::from([(name.clone(), value.clone())]))? {
            Taken::Yes => {}
            Taken::Later(pause) => return Ok(Sent::Overload(pause)),
            Taken::No => {
                warn!(
                    "hawkBit refuses the attribute {name} = '{value}'; it is left out until an attribute changes"
                );
                refused.insert(name.clone());
            }
        }
    }
    Ok(Sent::Refused(refused))
}
