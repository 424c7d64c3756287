//! The part that speaks to the server.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use log::{info, warn};
use serde_json::json;
use ureq::Agent;
use ureq::http::header::{ACCEPT, AUTHORIZATION};

use crate::agent::source::hawkbit::ddi;
use crate::agent::source::hawkbit::ddi::{Deployment, Polled};
use crate::agent::source::hawkbit::ledger::Ledger;
use crate::agent::source::hawkbit::message::Message;
use crate::agent::source::hawkbit::server::Server;
use crate::config::update::{HawkBit, Token};
use crate::http;
use crate::http::{Patience, Redirects};
use crate::machine_id;
use crate::secret::Secret;
use abide_core::error::{Error, Result};
use abide_core::root::Root;

/// For one request and its answer.
const LIMIT: Duration = Duration::from_secs(30);

/// No more of an answer is read.
const MOST_BYTES: u64 = 4 << 20;

/// The form of the answers.
const HAL: &str = "application/hal+json";

/// A machine of a hawkBit server.
pub struct Client {
    server: Server,
    agent: Agent,
    /// The value of the header `Authorization`.
    token: Option<String>,
}

/// What came back.
struct Answer {
    status: u16,
    body: Vec<u8>,
}

impl Client {
    /// The machine of `root` on the server of `config`.
    ///
    /// # Errors
    /// [`Error::Usage`] if the token or the certificates cannot be read.
    pub fn new(root: &Root, config: &HawkBit) -> Result<Self> {
        let id = config.id.clone().unwrap_or_else(|| machine_id::derived(root));
        if id.is_empty() {
            return Err(Error::Usage(
                "[update.hawkbit]: the machine has no machine id to be known by; give it an id".into(),
            ));
        }
        let server = Server::new(&config.url, &config.tenant, &id)
            .map_err(|e| Error::Usage(format!("[update.hawkbit]: url {e}")))?;
        let ca = config.ca.as_deref().map(Path::new);
        let agent = http::agent(root, ca, Patience::Whole(LIMIT), Redirects::Ignore).map_err(Error::Usage)?;
        let read = |file: &String| Secret::read(root, Path::new(file));
        let token = match &config.token {
            None => None,
            Some(Token::Target(file)) => Some(read(file)?.header("TargetToken")),
            Some(Token::Gateway(file)) => Some(read(file)?.header("GatewayToken")),
        };
        Ok(Self { server, agent, token })
    }

    /// What the server wants.
    ///
    /// # Errors
    /// [`Error::Failed`] if it cannot be asked; so it is with all that follows.
    pub fn poll(&self) -> Result<Polled> {
        let url = self.server.base();
        let answer = self.get(url)?.ok(url)?;
        Polled::read(&self.server, &answer).map_err(|e| Error::Failed(format!("{url}: {e}")))
    }

    /// What is to be installed, or agreed to; none if the server has thought better of it.
    ///
    /// # Errors
    /// As [`Client::poll`].
    pub fn deployment(&self, url: &str) -> Result<Option<Deployment>> {
        self.find(url, Deployment::read)
    }

    /// The id of the action that is to be ended; none if the server has thought better of it.
    ///
    /// # Errors
    /// As [`Client::poll`].
    pub fn cancelled(&self, url: &str) -> Result<Option<String>> {
        self.find(url, ddi::cancelled)
    }

    fn find<T>(
        &self,
        url: &str,
        read: impl Fn(&[u8]) -> std::result::Result<T, String>,
    ) -> Result<Option<T>> {
        let answer = self.get(url)?;
        if matches!(answer.status, 404 | 410) {
            return Ok(None);
        }
        read(&answer.ok(url)?).map(Some).map_err(|e| Error::Failed(format!("{}: {e}", shown(url))))
    }

    /// Tells what there is to know about the machine; what the server knows beside that it keeps.
    ///
    /// # Errors
    /// As [`Client::poll`].
    pub fn put_attributes(&self, url: &str, attributes: &BTreeMap<String, String>) -> Result<()> {
        let body = json!({ "mode": "merge", "data": attributes });
        self.send("PUT", url, &body)?.ok(url).map(drop)
    }

    /// The attributes' own place, for when they have changed.
    #[must_use]
    pub fn attributes_url(&self) -> String {
        self.server.below("configData")
    }

    /// Agrees to an action, or does not.
    ///
    /// # Errors
    /// As [`Client::poll`].
    pub fn confirm(&self, action: &str, agreed: bool, details: &[String]) -> Result<()> {
        let url = self.server.below(&format!("confirmationBase/{action}/feedback"));
        let word = if agreed { "confirmed" } else { "denied" };
        let body = json!({ "confirmation": word, "code": if agreed { 1 } else { -1 }, "details": details });
        let answer = self.send("POST", &url, &body)?;
        match answer.status {
            // Somebody was faster.
            404 | 409 | 410 => Ok(()),
            _ => answer.ok(&url).map(drop),
        }
    }

    /// Tells the server what it was not told yet, in order; `keep` is called after each so that nothing
    /// is told twice.
    ///
    /// # Errors
    /// As [`Client::poll`], with what was not told still in `ledger`.
    pub fn deliver(&self, ledger: &mut Ledger, keep: impl Fn(&Ledger) -> Result<()>) -> Result<()> {
        while let Some(message) = ledger.waiting.first().cloned() {
            self.tell(&message, ledger)?;
            keep(ledger)?;
        }
        Ok(())
    }

    fn tell(&self, message: &Message, ledger: &mut Ledger) -> Result<()> {
        let action = &message.action;
        let url = self.server.below(&format!("{}/{action}/feedback", message.resource()));
        let answer = self.send("POST", &url, &message.body())?;
        match answer.status {
            404 | 410 => {
                info!("hawkBit: action {action} is closed there; nothing more is told about it");
                ledger.drop_action(action);
            }
            // It will not be understood the next time either.
            400 | 422 => {
                warn!("{url}: status {}; the server does not hear of: {}", answer.status, message.body());
                ledger.waiting.remove(0);
            }
            _ => {
                answer.ok(&url)?;
                ledger.waiting.remove(0);
            }
        }
        Ok(())
    }

    /// What a request for a file at `url` is to carry: the token, on the server itself and nowhere else.
    #[must_use]
    pub fn authorization(&self, url: &str) -> Option<&str> {
        self.token.as_deref().filter(|_| self.server.is_own(url))
    }

    /// Whether `url` is on the server.
    #[must_use]
    pub fn is_own(&self, url: &str) -> bool {
        self.server.is_own(url)
    }

    fn get(&self, url: &str) -> Result<Answer> {
        let mut request = self.agent.get(url).header(ACCEPT, HAL);
        if let Some(token) = self.authorization(url) {
            request = request.header(AUTHORIZATION, token);
        }
        Answer::read(url, request.call())
    }

    fn send(&self, method: &str, url: &str, body: &serde_json::Value) -> Result<Answer> {
        let mut request = if method == "PUT" { self.agent.put(url) } else { self.agent.post(url) };
        request = request.header(ACCEPT, HAL).content_type("application/json");
        if let Some(token) = self.authorization(url) {
            request = request.header(AUTHORIZATION, token);
        }
        Answer::read(url, request.send(body.to_string()))
    }
}

impl Answer {
    fn read(
        url: &str,
        answer: std::result::Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<Self> {
        let failed = |e: ureq::Error| Error::Failed(format!("{}: {e}", shown(url)));
        let mut answer = answer.map_err(failed)?;
        let status = answer.status().as_u16();
        let body = answer.body_mut().with_config().limit(MOST_BYTES).read_to_vec().map_err(failed)?;
        Ok(Self { status, body })
    }

    /// The body of a success.
    fn ok(self, url: &str) -> Result<Vec<u8>> {
        let url = shown(url);
        match self.status {
            200..=299 => Ok(self.body),
            401 | 403 => Err(Error::Failed(format!(
                "{url}: the server does not accept this machine's token (status {}); see [update.hawkbit]",
                self.status
            ))),
            300..=399 => Err(Error::Failed(format!(
                "{url}: the server sends its clients elsewhere (status {}); put the place itself into url of \
                 [update.hawkbit]",
                self.status
            ))),
            status => Err(Error::Failed(format!("{url}: status {status}"))),
        }
    }
}

/// Without the query, which is of no use to people.
fn shown(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs::{self, Permissions};
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::os::unix::fs::PermissionsExt;
    use std::sync::mpsc::{Receiver, channel};
    use std::thread;

    use super::*;
    use crate::agent::source::hawkbit::ledger::tests::ledger;
    use crate::agent::source::hawkbit::message::{Finished, Milestone};
    use crate::config::Config;

    /// A server that answers so, one request after the other, and tells what was asked.
    fn server(answers: &'static [&'static str]) -> (String, Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (sender, asked) = channel();
        thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = String::new();
                while !is_whole(&request) {
                    let mut part = [0; 4096];
                    let len = stream.read(&mut part).unwrap();
                    request.push_str(&String::from_utf8_lossy(part.get(..len).unwrap()));
                }
                sender.send(request).unwrap();
                let head = "Content-Length: 0\r\nConnection: close\r\n\r\n";
                write!(stream, "HTTP/1.1 {answer}\r\n{head}").unwrap();
            }
        });
        (url, asked)
    }

    fn is_whole(request: &str) -> bool {
        let Some((head, body)) = request.split_once("\r\n\r\n") else { return false };
        let head = head.to_lowercase();
        let len = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        body.len() >= len.map_or(0, |len| len.parse().unwrap())
    }

    fn client(url: &str) -> Client {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        fs::write(&file, "s3cret").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        let text = format!("[update.hawkbit]\nurl = '{url}'\nid = 'n'\ntoken = '/token'\n");
        let config = Config::parse("f", &text).unwrap().update.hawkbit.unwrap();
        Client::new(&Root::at(dir.path()), &config).unwrap()
    }

    #[test]
    fn the_token_goes_to_the_server_and_nowhere_else() {
        let client = client("https://h:8443/x");
        assert_eq!(client.authorization("https://H:8443/any"), Some("TargetToken s3cret"));
        for other in ["https://h/any", "http://h:8443/any", "https://h.evil:8443/any", "https://cdn/h:8443"] {
            assert_eq!(client.authorization(other), None, "{other}");
        }
    }

    #[test]
    fn a_server_that_sends_its_clients_elsewhere_is_not_followed() {
        let (url, asked) = server(&["302 Found\r\nLocation: http://127.0.0.1:9/"]);
        let error = client(&url).poll().unwrap_err().to_string();
        assert!(error.contains("sends its clients elsewhere") && !error.contains("s3cret"), "{error}");
        assert!(asked.recv().unwrap().to_lowercase().contains("authorization: targettoken s3cret"));
    }

    #[test]
    fn what_the_server_did_not_take_is_told_again_in_order() {
        let (url, asked) = server(&["200 OK", "503 No", "200 OK", "410 Gone"]);
        let client = client(&url);
        let mut ledger = ledger();
        for milestone in [Milestone::Accepted, Milestone::Downloading, Milestone::Staged, Milestone::Testing]
        {
            ledger.reached(milestone, 0, Finished::None, vec![]);
        }
        assert!(client.deliver(&mut ledger, |_| Ok(())).unwrap_err().to_string().contains("status 503"));
        assert_eq!(ledger.waiting.len(), 3);
        // Closed at the server meanwhile: nobody wants to hear the rest.
        client.deliver(&mut ledger, |_| Ok(())).unwrap();
        assert_eq!((ledger.waiting.len(), ledger.task), (0, None));
        assert!(
            asked.iter().all(
                |request| request.starts_with("POST /DEFAULT/controller/v1/n/deploymentBase/8/feedback ")
            )
        );
    }
}
