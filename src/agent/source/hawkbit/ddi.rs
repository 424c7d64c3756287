//! The answers of the DDI API (`hal+json`), as far as they are used here.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::agent::source::hawkbit::endpoint::Endpoint;
use crate::image::sha256;
use crate::url::shown;
use abide_core::text;

/// The most artifacts that a deployment may have.
const MAX_ARTIFACTS: usize = 1000;

/// The answer to a poll.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PollReply {
    /// When the server wants to be polled again.
    pub sleep: Option<Duration>,
    /// Where to put the machine's attributes, if the server asks for them.
    pub attributes: Option<String>,
    /// The action to process.
    pub action: Option<ActionLink>,
}

/// The action to process, by the URL of its description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ActionLink {
    /// Install an update.
    Deploy(String),
    /// Confirm or deny an update before it is installed.
    Confirm(String),
    /// Cancel an action.
    Cancel(String),
}

/// How the server wants the download or the installation handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Handling {
    /// Not now.
    Skip,
    /// When the machine decides.
    Attempt,
    /// Now.
    Forced,
}

/// The state of the server's maintenance window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServerWindow {
    /// Open.
    Available,
    /// Closed.
    Unavailable,
}

/// What the server wants done about an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Install this.
    Usable(Deployment),
    /// What cannot be installed, so that the action can be answered.
    Unusable {
        /// The action's id.
        action: String,
        /// The reason.
        why: String,
    },
}

/// An update to install.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// The action's id.
    pub action: String,
    /// How to handle the download.
    pub download: Handling,
    /// How to handle the installation.
    pub update: Handling,
    /// The maintenance window, where the action has one.
    pub window: Option<ServerWindow>,
    /// The software modules.
    pub modules: Vec<SoftwareModule>,
}

/// A software module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SoftwareModule {
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
    /// Its name; a file name without a folder.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Its SHA-256, lower-case hexadecimal; none if the server gives no more than weaker digests, which are not used.
    pub sha256: Option<String>,
    /// Its URL, which may be on another server.
    pub url: String,
}

impl PollReply {
    /// Reads the answer to a poll of `endpoint`.
    ///
    /// # Errors
    /// A sentence, if it cannot be parsed.
    pub fn read(endpoint: &Endpoint, json: &[u8]) -> Result<Self, String> {
        let base: Base = parse(json)?;
        // All servers send it. Other JSON is that of a portal or a proxy, and does not say that nothing is ordered.
        let sleep = base.config.and_then(|config| config.polling).and_then(|polling| polling.sleep);
        let sleep = sleep
            .ok_or("is not the reply to a poll (no config.polling.sleep): a captive portal or a proxy?")?;
        let own = |href: Option<Href>| {
            href.map(|href| {
                endpoint
                    .link(&href.href)
                    .ok_or_else(|| format!("invalid link '{}'", text::line(&shown(&href.href))))
            })
            .transpose()
        };
        let (cancel, confirm) = (own(base.links.cancel_action)?, own(base.links.confirmation_base)?);
        let deploy = own(base.links.deployment_base)?;
        Ok(Self {
            sleep: clock_time(&sleep),
            attributes: own(base.links.config_data)?,
            action: cancel
                .map(ActionLink::Cancel)
                .or_else(|| confirm.map(ActionLink::Confirm))
                .or_else(|| deploy.map(ActionLink::Deploy)),
        })
    }
}

impl Order {
    /// Reads the description of an update to install or to confirm; none if the server has withdrawn it, which gooseBit
    /// says by `null`.
    ///
    /// # Errors
    /// A sentence, if it is not the description of an action.
    pub fn read(json: &[u8]) -> Result<Option<Self>, String> {
        let Some(head) = parse::<Option<HeadJson>>(json)? else { return Ok(None) };
        let action = action_id(head.id)?;
        Ok(Some(match Deployment::read(json) {
            Ok(deployment) => Self::Usable(deployment),
            Err(why) => Self::Unusable { action, why },
        }))
    }

    /// The action's id.
    #[must_use]
    pub fn action(&self) -> &str {
        match self {
            Self::Usable(deployment) => &deployment.action,
            Self::Unusable { action, .. } => action,
        }
    }
}

impl Deployment {
    fn read(json: &[u8]) -> Result<Self, String> {
        let parsed: DeploymentJson = parse(json)?;
        let modules: Vec<SoftwareModule> =
            parsed.deployment.chunks.into_iter().map(ChunkJson::into_module).collect::<Result<_, _>>()?;
        if modules.iter().map(|module| module.artifacts.len()).sum::<usize>() > MAX_ARTIFACTS {
            return Err(format!("has more than {MAX_ARTIFACTS} artifacts"));
        }
        Ok(Self {
            action: action_id(parsed.id)?,
            download: parsed.deployment.download,
            update: parsed.deployment.update,
            window: parsed.deployment.maintenance_window,
            modules,
        })
    }

    /// The module of this type.
    #[must_use]
    pub fn part(&self, part: &str) -> Option<&SoftwareModule> {
        self.modules.iter().find(|module| module.part == part)
    }
}

/// The id of the action to cancel.
///
/// # Errors
/// A sentence, if the answer cannot be parsed.
pub fn cancelled(json: &[u8]) -> Result<String, String> {
    parse::<Cancel>(json).and_then(|cancel| action_id(cancel.cancel_action.stop_id))
}

/// It becomes part of URLs and of messages.
fn action_id(id: String) -> Result<String, String> {
    if text::is_printable(&id) { Ok(id) } else { Err("the id of the action is not printable".into()) }
}

/// `HH:MM:SS`.
fn clock_time(text: &str) -> Option<Duration> {
    let mut parts = text.split(':').map(|part| part.parse::<u32>().ok());
    let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next()??);
    Some(Duration::from_secs(u64::from(hours) * 3600 + u64::from(minutes) * 60 + u64::from(seconds)))
}

fn parse<'j, T: Deserialize<'j>>(json: &'j [u8]) -> Result<T, String> {
    // The error quotes unknown words.
    serde_json::from_slice(json).map_err(|e| text::line(&format!("cannot parse the response: {e}")))
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
struct HeadJson {
    id: String,
}

#[derive(Deserialize)]
struct DeploymentJson {
    id: String,
    /// A request for confirmation has the same body under another name.
    #[serde(alias = "confirmation")]
    deployment: DeploymentBodyJson,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeploymentBodyJson {
    download: Handling,
    update: Handling,
    maintenance_window: Option<ServerWindow>,
    #[serde(default)]
    chunks: Vec<ChunkJson>,
}

#[derive(Deserialize)]
struct ChunkJson {
    part: String,
    version: String,
    name: String,
    #[serde(default)]
    artifacts: Vec<ArtifactJson>,
}

#[derive(Deserialize)]
struct ArtifactJson {
    filename: String,
    size: u64,
    #[serde(default)]
    hashes: Hashes,
    #[serde(rename = "_links", default)]
    links: Downloads,
}

#[derive(Deserialize, Default)]
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

impl ChunkJson {
    fn into_module(self) -> Result<SoftwareModule, String> {
        let artifacts =
            self.artifacts.into_iter().map(ArtifactJson::into_artifact).collect::<Result<_, _>>()?;
        // A version that cannot be shown is none that is in a list.
        let (name, version) = (text::line(&self.name), text::line(&self.version));
        Ok(SoftwareModule { part: self.part, name, version, artifacts })
    }
}

impl ArtifactJson {
    fn into_artifact(self) -> Result<Artifact, String> {
        let name = self.filename;
        let is_plain = !name.starts_with('.') && !name.chars().any(|c| c == '/') && text::is_printable(&name);
        if name.is_empty() || !is_plain {
            return Err(format!("'{}' is not a valid file name", name.escape_debug()));
        }
        let sha256 = self.hashes.sha256.as_deref().and_then(sha256::parse);
        let link = self.links.download.or(self.links.download_http);
        let url = link.map(|link| link.href).filter(|url| is_web(url));
        let url = url.ok_or_else(|| format!("{name} cannot be downloaded by http or https"))?;
        Ok(Artifact { name, size: self.size, sha256, url })
    }
}

fn is_web(url: &str) -> bool {
    url.starts_with("http://") || url.starts_with("https://")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SHA: &str = "c81ca5eda5947c7826ad046fdbdc2a25a846b835a6c34c237cc8b3afbe9ec6cc";

    fn endpoint() -> Endpoint {
        Endpoint::new("http://127.0.0.1:18080", "DEFAULT", "node1").unwrap()
    }

    fn polled(links: &str) -> Result<PollReply, String> {
        let json = format!(r#"{{"config":{{"polling":{{"sleep":"00:05:00"}}}},"_links":{{{links}}}}}"#);
        PollReply::read(&endpoint(), json.as_bytes())
    }

    #[test]
    fn a_poll_without_an_action_is_parsed() {
        let config =
            r#""configData":{"href":"http://127.0.0.1:18080/DEFAULT/controller/v1/node1/configData"}"#;
        let answer = polled(config).unwrap();
        assert_eq!(answer.sleep, Some(Duration::from_secs(300)));
        assert!(answer.attributes.unwrap().ends_with("/node1/configData"));
        assert_eq!(answer.action, None);
        for other in [&b"{}"[..], b"{\"captive\":true}", b"{\"_links\":{}}", b"{\"config\":{\"polling\":{}}}"]
        {
            assert!(PollReply::read(&endpoint(), other).unwrap_err().contains("captive portal"));
        }
    }

    #[test]
    fn the_link_of_an_action_is_kept_as_it_is() {
        let deploy = r#""deploymentBase":{"href":"http://127.0.0.1:18080/x/deploymentBase/1?c=411629670"}"#;
        let action = polled(deploy).unwrap().action.unwrap();
        assert_eq!(
            action,
            ActionLink::Deploy("http://127.0.0.1:18080/x/deploymentBase/1?c=411629670".into())
        );
        let cancel = r#""cancelAction":{"href":"http://127.0.0.1:18080/x/cancelAction/1"}"#;
        let both = polled(&format!("{deploy},{cancel}")).unwrap().action.unwrap();
        assert!(matches!(both, ActionLink::Cancel(_)));
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
    fn a_deployment_is_parsed() {
        let keys = r#"deployment":{"download":"forced","update":"skip","maintenanceWindow":"unavailable""#;
        let parsed = deployment("1", keys, "edge_2.0.raw").unwrap();
        assert_eq!((parsed.download, parsed.update), (Handling::Forced, Handling::Skip));
        assert_eq!(parsed.window, Some(ServerWindow::Unavailable));
        let module = parsed.part("os").unwrap();
        assert_eq!((module.name.as_str(), module.version.as_str()), ("edge", "2.0"));
        let artifact = Artifact {
            name: "edge_2.0.raw".into(),
            size: 3000,
            sha256: Some(SHA.into()),
            url: "http://h/a".into(),
        };
        assert_eq!(module.artifacts, [artifact]);
        assert_eq!(parsed.part("app"), None);
        let confirmation = r#"confirmation":{"download":"attempt","update":"attempt""#;
        assert_eq!(deployment("7", confirmation, "edge_2.0.raw").unwrap().action, "7");
    }

    #[test]
    fn a_file_name_with_a_folder_is_refused() {
        let keys = r#"deployment":{"download":"forced","update":"forced""#;
        for name in ["../x", "a/b", "/etc/passwd", ".hidden", "", "a\\u0000b", "a\\nb"] {
            assert!(deployment("1", keys, name).unwrap_err().contains("not a valid file name"), "{name}");
        }
    }

    #[test]
    fn unknown_values_are_refused() {
        let keys = r#"deployment":{"download":"maybe","update":"forced""#;
        assert!(deployment("1", keys, "a").unwrap_err().contains("cannot parse"));
        assert!(PollReply::read(&endpoint(), b"<html>").is_err());
    }

    #[test]
    fn an_order_that_cannot_be_used_still_has_its_action() {
        let order = |deployment: &str| {
            Order::read(format!(r#"{{"id":"8","deployment":{deployment}}}"#).as_bytes()).unwrap().unwrap()
        };
        let broken = [
            "7",
            "{}",
            r#"{"download":"maybe","update":"forced"}"#,
            r#"{"download":"forced","update":"forced","chunks":[{"part":"os"}]}"#,
            r#"{"download":"forced","update":"forced","chunks":{"part":"os"}}"#,
            r#"{"download":"forced","update":"forced","chunks":[{"part":"os","version":"2","name":"e","artifacts":
               [{"filename":"../x","size":1}]}]}"#,
            r#"{"download":"forced","update":"forced","chunks":[{"part":"os","version":"2","name":"e","artifacts":
               [{"filename":"a","size":1,"_links":{"download":{"href":"ftp://h/a"}}}]}]}"#,
        ];
        for deployment in broken {
            let order = order(deployment);
            assert!(matches!(&order, Order::Unusable { .. }), "{deployment}: {order:?}");
            assert_eq!(order.action(), "8");
        }
        // Not the description of an action: a portal's page, for one. It is not answered.
        assert!(Order::read(b"<html>").is_err() && Order::read(b"{}").is_err());
        assert_eq!(Order::read(b"null").unwrap(), None);
    }

    #[test]
    fn a_file_with_weaker_digests_only_is_parsed_without_one() {
        let json = format!(
            r#"{{"id":"1","deployment":{{"download":"forced","update":"forced","chunks":[{{"part":"os","version":"2.0",
               "name":"edge","artifacts":[{{"filename":"a","hashes":{{"sha1":"{SHA}"}},"size":1,
               "_links":{{"download":{{"href":"http://h/a"}}}}}}]}}]}}}}"#
        );
        let deployment = Deployment::read(json.as_bytes()).unwrap();
        assert_eq!(deployment.part("os").unwrap().artifacts.first().unwrap().sha256, None);
    }

    #[test]
    fn what_the_server_says_can_be_shown() {
        let keys = r#"deployment":{"download":"forced","update":"forced""#;
        let json = |id: &str, version: &str| {
            let body = format!(
                r#"{{"id":"{id}","{keys},"chunks":[{{"part":"os","version":"{version}","name":"e"}}]}}}}"#
            );
            Deployment::read(body.as_bytes())
        };
        assert_eq!(json("1", "2\\u001b[31m.0\\u202e").unwrap().modules.remove(0).version, "2.0");
        assert!(json("1\\u001b", "2.0").unwrap_err().contains("not printable"));
        let error = Deployment::read(br#"{"id":"1","deployment":{"download":"\u001b[2Jnow","update":"x"}}"#);
        assert!(text::is_printable(&error.unwrap_err()));
    }

    #[test]
    fn the_action_to_cancel_is_found() {
        assert_eq!(cancelled(br#"{"id":"1","cancelAction":{"stopId":"7"}}"#).unwrap(), "7");
    }
}
