//! What the server says, as it is used here. The form is that of the DDI API's `hal+json` answers.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::agent::source::hawkbit::server::Server;

/// More artifacts a deployment does not have.
const MOST_ARTIFACTS: usize = 1000;

/// The answer to a poll.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Polled {
    /// After how long the server wants to be asked again.
    pub sleep: Option<Duration>,
    /// Where the machine's attributes are to be put, if the server asks for them.
    pub attributes: Option<String>,
    /// What the server wants.
    pub order: Option<Order>,
}

/// What the server wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Something is to be installed: the URL says what.
    Deploy(String),
    /// Before anything is installed, somebody is to agree to it: the URL says to what.
    Confirm(String),
    /// An action is to be ended: the URL says which.
    Cancel(String),
}

/// How a step of an action is to be treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Handling {
    /// Not now.
    Skip,
    /// The machine decides when.
    Attempt,
    /// Now.
    Forced,
}

/// The server's own maintenance window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Window {
    /// It is open.
    Available,
    /// It is not.
    Unavailable,
}

/// What is to be installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// The action's id.
    pub action: String,
    /// How the download is to be treated.
    pub download: Handling,
    /// How the installation is to be treated.
    pub update: Handling,
    /// The maintenance window, where the action has one.
    pub window: Option<Window>,
    /// The software modules.
    pub chunks: Vec<Chunk>,
}

/// A software module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Its type: `os`, `bApp`, ….
    pub part: String,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its files.
    pub artifacts: Vec<Artifact>,
}

/// A file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Its name; a plain file name.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Its SHA-256, lower-case hexadecimal.
    pub sha256: String,
    /// Where it is. Not necessarily on the server.
    pub url: String,
}

impl Polled {
    /// Reads the answer to a poll of `server`.
    ///
    /// # Errors
    /// A sentence, if it is none.
    pub fn read(server: &Server, json: &[u8]) -> Result<Self, String> {
        let base: Base = parse(json)?;
        let own = |href: Option<Href>| {
            href.map(|href| {
                server.link(&href.href).ok_or_else(|| format!("the link '{}' leads nowhere", href.href))
            })
            .transpose()
        };
        let (cancel, confirm) = (own(base.links.cancel_action)?, own(base.links.confirmation_base)?);
        let deploy = own(base.links.deployment_base)?;
        Ok(Self {
            sleep: base.config.and_then(|c| c.polling).and_then(|p| p.sleep).as_deref().and_then(clock_time),
            attributes: own(base.links.config_data)?,
            order: cancel
                .map(Order::Cancel)
                .or_else(|| confirm.map(Order::Confirm))
                .or_else(|| deploy.map(Order::Deploy)),
        })
    }
}

impl Deployment {
    /// Reads what is to be installed, or agreed to.
    ///
    /// # Errors
    /// A sentence, if it is none, or has a file that cannot be one.
    pub fn read(json: &[u8]) -> Result<Self, String> {
        let said: Said = parse(json)?;
        let chunks: Vec<Chunk> =
            said.deployment.chunks.into_iter().map(SaidChunk::into_chunk).collect::<Result<_, _>>()?;
        if chunks.iter().map(|chunk| chunk.artifacts.len()).sum::<usize>() > MOST_ARTIFACTS {
            return Err(format!("has more than {MOST_ARTIFACTS} artifacts"));
        }
        Ok(Self {
            action: said.id,
            download: said.deployment.download,
            update: said.deployment.update,
            window: said.deployment.maintenance_window,
            chunks,
        })
    }

    /// The module of this type.
    #[must_use]
    pub fn part(&self, part: &str) -> Option<&Chunk> {
        self.chunks.iter().find(|chunk| chunk.part == part)
    }
}

/// The id of the action that is to be ended.
///
/// # Errors
/// A sentence, if the answer is none.
pub fn cancelled(json: &[u8]) -> Result<String, String> {
    parse::<Cancel>(json).map(|cancel| cancel.cancel_action.stop_id)
}

/// `HH:MM:SS`.
fn clock_time(text: &str) -> Option<Duration> {
    let mut parts = text.split(':').map(|part| part.parse::<u32>().ok());
    let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next()??);
    Some(Duration::from_secs(u64::from(hours) * 3600 + u64::from(minutes) * 60 + u64::from(seconds)))
}

fn parse<'j, T: Deserialize<'j>>(json: &'j [u8]) -> Result<T, String> {
    serde_json::from_slice(json).map_err(|e| format!("the answer is not understood: {e}"))
}

#[derive(Deserialize)]
struct Base {
    config: Option<Polling>,
    #[serde(rename = "_links", default)]
    links: Links,
}

#[derive(Deserialize)]
struct Polling {
    polling: Option<Sleep>,
}

#[derive(Deserialize)]
struct Sleep {
    sleep: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Links {
    config_data: Option<Href>,
    deployment_base: Option<Href>,
    cancel_action: Option<Href>,
    confirmation_base: Option<Href>,
}

#[derive(Deserialize)]
struct Href {
    href: String,
}

#[derive(Deserialize)]
struct Said {
    id: String,
    /// A request for confirmation has the same under another name.
    #[serde(alias = "confirmation")]
    deployment: SaidDeployment,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SaidDeployment {
    download: Handling,
    update: Handling,
    maintenance_window: Option<Window>,
    #[serde(default)]
    chunks: Vec<SaidChunk>,
}

#[derive(Deserialize)]
struct SaidChunk {
    part: String,
    version: String,
    name: String,
    #[serde(default)]
    artifacts: Vec<SaidArtifact>,
}

#[derive(Deserialize)]
struct SaidArtifact {
    filename: String,
    size: u64,
    hashes: Hashes,
    #[serde(rename = "_links", default)]
    links: Downloads,
}

#[derive(Deserialize)]
struct Hashes {
    sha256: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
struct Downloads {
    download: Option<Href>,
    download_http: Option<Href>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cancel {
    cancel_action: Stop,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stop {
    stop_id: String,
}

impl SaidChunk {
    fn into_chunk(self) -> Result<Chunk, String> {
        let artifacts =
            self.artifacts.into_iter().map(SaidArtifact::into_artifact).collect::<Result<_, _>>()?;
        Ok(Chunk { part: self.part, name: self.name, version: self.version, artifacts })
    }
}

impl SaidArtifact {
    fn into_artifact(self) -> Result<Artifact, String> {
        let name = self.filename;
        let is_plain = !name.starts_with('.') && !name.chars().any(|c| c == '/' || c.is_control());
        if name.is_empty() || !is_plain {
            return Err(format!("'{}' is no name for a file", name.escape_debug()));
        }
        let sha256 = self.hashes.sha256.map(|hex| hex.to_ascii_lowercase()).filter(|hex| is_sha256(hex));
        let sha256 = sha256.ok_or_else(|| format!("{name} has no SHA-256"))?;
        let link = self.links.download.or(self.links.download_http);
        let url = link.map(|link| link.href).filter(|url| is_web(url));
        let url = url.ok_or_else(|| format!("{name} cannot be downloaded by http or https"))?;
        Ok(Artifact { name, size: self.size, sha256, url })
    }
}

fn is_sha256(hex: &str) -> bool {
    hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit())
}

fn is_web(url: &str) -> bool {
    url.starts_with("http://") || url.starts_with("https://")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SHA: &str = "c81ca5eda5947c7826ad046fdbdc2a25a846b835a6c34c237cc8b3afbe9ec6cc";

    fn server() -> Server {
        Server::new("http://127.0.0.1:18080", "DEFAULT", "node1").unwrap()
    }

    fn polled(links: &str) -> Result<Polled, String> {
        let json = format!(r#"{{"config":{{"polling":{{"sleep":"00:05:00"}}}},"_links":{{{links}}}}}"#);
        Polled::read(&server(), json.as_bytes())
    }

    #[test]
    fn a_poll_that_wants_nothing_is_understood() {
        let config =
            r#""configData":{"href":"http://127.0.0.1:18080/DEFAULT/controller/v1/node1/configData"}"#;
        let answer = polled(config).unwrap();
        assert_eq!(answer.sleep, Some(Duration::from_secs(300)));
        assert!(answer.attributes.unwrap().ends_with("/node1/configData"));
        assert_eq!(answer.order, None);
        let empty = Polled::read(&server(), b"{}").unwrap();
        assert_eq!(empty, Polled { sleep: None, attributes: None, order: None });
    }

    #[test]
    fn an_order_is_followed_by_its_link_as_it_is() {
        let deploy = r#""deploymentBase":{"href":"http://127.0.0.1:18080/x/deploymentBase/1?c=411629670"}"#;
        let order = polled(deploy).unwrap().order.unwrap();
        assert_eq!(order, Order::Deploy("http://127.0.0.1:18080/x/deploymentBase/1?c=411629670".into()));
        let cancel = r#""cancelAction":{"href":"http://127.0.0.1:18080/x/cancelAction/1"}"#;
        let both = polled(&format!("{deploy},{cancel}")).unwrap().order.unwrap();
        assert!(matches!(both, Order::Cancel(_)));
    }

    fn deployment(id: &str, keys: &str, file: &str) -> Result<Deployment, String> {
        let json = format!(
            r#"{{"id":"{id}","{keys},"chunks":[{{"part":"os","version":"2.0","name":"edge","artifacts":
               [{{"filename":"{file}","hashes":{{"sha1":"7","md5":"0","sha256":"{SHA}"}},"size":3000,
               "_links":{{"download-http":{{"href":"http://h/a"}},"md5sum-http":{{"href":"http://h/m"}}}}}}]}}]}}}}"#
        );
        Deployment::read(json.as_bytes())
    }

    #[test]
    fn a_deployment_is_understood() {
        let keys = r#"deployment":{"download":"forced","update":"skip","maintenanceWindow":"unavailable""#;
        let said = deployment("1", keys, "edge_2.0.raw").unwrap();
        assert_eq!((said.download, said.update), (Handling::Forced, Handling::Skip));
        assert_eq!(said.window, Some(Window::Unavailable));
        let chunk = said.part("os").unwrap();
        assert_eq!((chunk.name.as_str(), chunk.version.as_str()), ("edge", "2.0"));
        let artifact = Artifact {
            name: "edge_2.0.raw".into(),
            size: 3000,
            sha256: SHA.into(),
            url: "http://h/a".into(),
        };
        assert_eq!(chunk.artifacts, [artifact]);
        assert_eq!(said.part("app"), None);
        let confirmation = r#"confirmation":{"download":"attempt","update":"attempt""#;
        assert_eq!(deployment("7", confirmation, "edge_2.0.raw").unwrap().action, "7");
    }

    #[test]
    fn a_file_that_would_lie_elsewhere_is_refused() {
        let keys = r#"deployment":{"download":"forced","update":"forced""#;
        for name in ["../x", "a/b", "/etc/passwd", ".hidden", "", "a\\u0000b", "a\\nb"] {
            assert!(deployment("1", keys, name).unwrap_err().contains("no name for a file"), "{name}");
        }
    }

    #[test]
    fn words_that_nobody_knows_are_refused() {
        let keys = r#"deployment":{"download":"maybe","update":"forced""#;
        assert!(deployment("1", keys, "a").unwrap_err().contains("not understood"));
        assert!(Polled::read(&server(), b"<html>").is_err());
    }

    #[test]
    fn the_action_to_end_is_found() {
        assert_eq!(cancelled(br#"{"id":"1","cancelAction":{"stopId":"7"}}"#).unwrap(), "7");
    }
}
