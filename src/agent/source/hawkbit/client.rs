//! The HTTP client of the DDI API.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use log::{debug, info, warn};
use serde_json::json;
use ureq::http::Method;
use ureq::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};

use crate::agent::source::hawkbit::acceptable;
use crate::agent::source::hawkbit::ddi;
use crate::agent::source::hawkbit::ddi::{Order, PollReply};
use crate::agent::source::hawkbit::endpoint::Endpoint;
use crate::agent::source::hawkbit::feedback::{About, Feedback};
use crate::agent::source::hawkbit::ledger::Ledger;
use crate::agent::source::hawkbit::reply::{HttpReply, is_error, is_refused};
use crate::config::update::{HawkBit, Token};
use crate::http::{Client, Header, Redirects, Timeout};
use crate::machine_id;
use crate::secret::Secret;
use crate::url::shown;
use abide_core::error::{Error, Result};
use abide_core::root::Root;

/// The limit of one request with its answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The pause for a server that is overloaded and names none.
const PAUSE: Duration = Duration::from_secs(5 * 60);

/// The media type of the answers.
const HAL: &str = "application/hal+json";

/// A client of a hawkBit server, for one machine.
pub struct DdiClient {
    endpoint: Endpoint,
    client: Client,
    /// The value of the header `Authorization`.
    token: Option<String>,
}

/// An answer that could not be delivered: its action and resource.
pub type Stuck = (String, About);

/// What a server does about attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// It takes them.
    Yes,
    /// It refuses them.
    No,
    /// It is overloaded, for so long.
    Later(Duration),
}

impl DdiClient {
    /// The client of the machine of `root` for the server of `config`.
    ///
    /// # Errors
    /// [`Error::Usage`] if the token or the certificates cannot be read, or the proxy cannot be used.
    pub fn new(root: &Root, config: &HawkBit) -> Result<Self> {
        let id = machine_id::at_server(root, config.id.as_deref(), "update.hawkbit")?;
        let endpoint = Endpoint::new(&config.url, &config.tenant, &id)
            .map_err(|e| Error::Usage(format!("[update.hawkbit]: url {e}")))?;
        let ca = config.ca.as_deref().map(Path::new);
        let client =
            Client::new(root, ca, Timeout::Total(TIMEOUT), Redirects::Refuse).map_err(Error::Usage)?;
        client.check_proxy(&config.url).map_err(Error::Usage)?;
        let read = |file: &str| Secret::read(root, Path::new(file));
        let token = match config.token() {
            None => None,
            Some(Token::Target(file)) => Some(read(file)?.header("TargetToken")),
            Some(Token::Gateway(file)) => Some(read(file)?.header("GatewayToken")),
        };
        Ok(Self { endpoint, client, token })
    }

    /// Polls the server.
    ///
    /// # Errors
    /// [`Error::Failed`] if the server cannot be reached, refuses, or answers with something else.
    pub fn poll(&self) -> Result<PollReply> {
        let url = self.endpoint.base();
        let body = self.get(url)?.ok(url)?;
        PollReply::read(&self.endpoint, &body).map_err(|e| Error::Failed(format!("{url}: {e}")))
    }

    /// The description of an update to install or to confirm; none if the server has withdrawn it.
    ///
    /// # Errors
    /// As [`DdiClient::poll`].
    pub fn order(&self, url: &str) -> Result<Option<Order>> {
        Ok(self.find(url, Order::read)?.flatten())
    }

    /// The id of the action to cancel; none if the server has withdrawn the cancellation.
    ///
    /// # Errors
    /// As [`DdiClient::poll`].
    pub fn cancelled(&self, url: &str) -> Result<Option<String>> {
        self.find(url, ddi::cancelled)
    }

    fn find<T>(
        &self,
        url: &str,
        read: impl Fn(&[u8]) -> std::result::Result<T, String>,
    ) -> Result<Option<T>> {
        let reply = self.get(url)?;
        if matches!(reply.status, 404 | 410) {
            return Ok(None);
        }
        read(&reply.ok(url)?).map(Some).map_err(|e| Error::Failed(format!("{}: {e}", shown(url))))
    }

    /// Sends attributes of the machine. The server keeps those that are not sent. It refuses all of them for one.
    ///
    /// # Errors
    /// [`Error::Failed`] if it cannot be reached, or has a fault of its own.
    pub fn put_attributes(&self, url: &str, attributes: &BTreeMap<String, String>) -> Result<Taken> {
        let body = json!({ "mode": "merge", "data": attributes });
        let reply = self.send(Method::PUT, url, &body)?;
        match reply.status {
            // The quota of attributes is 403 or 429, by version. The token is known to be good: this follows a poll.
            // Without a word of one it is overload.
            429 if !reply.names_quota() => Ok(Taken::Later(reply.retry_after.unwrap_or(PAUSE))),
            400 | 402..=499 => {
                debug!("{}: status {}", shown(url), reply.status);
                Ok(Taken::No)
            }
            _ => reply.taken(url).map(|()| Taken::Yes),
        }
    }

    /// The URL of the attributes, for when they have changed.
    #[must_use]
    pub fn attributes_url(&self) -> String {
        self.endpoint.below("configData")
    }

    /// Confirms or denies an action. `is_bare`: without the text, if it is refused with it.
    ///
    /// # Errors
    /// As [`DdiClient::poll`].
    pub fn confirm(&self, action: &str, agreed: bool, why: &str, is_bare: bool) -> Result<()> {
        let url = self.endpoint.below(&format!("confirmationBase/{action}/feedback"));
        let word = if agreed { "confirmed" } else { "denied" };
        let body = |details: Vec<String>| json!({ "confirmation": word, "code": if agreed { 1 } else { -1 }, "details": details });
        let mut reply = self.send(Method::POST, &url, &body(acceptable::details(&[why.to_owned()])))?;
        if is_refused(reply.status) || (is_bare && is_error(reply.status)) {
            warn!("{}: status {}; sent again without its text", shown(&url), reply.status);
            reply = self.send(Method::POST, &url, &body(vec![]))?;
        }
        match reply.status {
            // It was answered or withdrawn meanwhile.
            404 | 409 | 410 => Ok(()),
            _ => reply.taken(&url),
        }
    }

    /// Sends the waiting feedback, answers first; `save` is called after each, so that nothing is sent twice. What the
    /// server cannot take now stays in `ledger`, and nothing waits behind it that the server waits for. Answers in `stuck` have
    /// failed in this run already.
    ///
    /// # Errors
    /// [`Error::Failed`]: the first reason why something stays.
    pub fn deliver(
        &self,
        ledger: &mut Ledger,
        stuck: &mut Vec<Stuck>,
        save: impl Fn(&Ledger) -> Result<()>,
    ) -> Result<()> {
        let (answers, others): (Vec<_>, Vec<_>) =
            ledger.waiting.iter().cloned().partition(Feedback::is_answer);
        let mut failed = None;
        for feedback in answers.into_iter().chain(others) {
            let is_answer = feedback.is_answer();
            let key = (feedback.action.clone(), feedback.about);
            if is_answer && stuck.contains(&key) {
                continue;
            }
            if ledger.waiting.contains(&feedback)
                && let Err(e) = self.send_feedback(&feedback, ledger)
            {
                failed.get_or_insert(e);
                // Of the course of an action nothing overtakes.
                if !is_answer {
                    break;
                }
                stuck.push(key);
            }
            save(ledger)?;
        }
        failed.map_or(Ok(()), Err)
    }

    fn send_feedback(&self, feedback: &Feedback, ledger: &mut Ledger) -> Result<()> {
        let action = &feedback.action;
        let url = self.endpoint.below(&format!("{}/{action}/feedback", feedback.resource()));
        let mut reply = self.send(Method::POST, &url, &feedback.body())?;
        // The text may be the cause. A fault of the server alone is none that lasts: then the text waits with the answer.
        let may_be_text = is_refused(reply.status) || (is_error(reply.status) && feedback.has_failed_often());
        if may_be_text && feedback.is_answer() {
            warn!("{}: status {}; sent again without its text", shown(&url), reply.status);
            reply = self.send(Method::POST, &url, &feedback.bare_body())?;
        }
        match reply.status {
            404 | 410 => {
                info!("hawkBit has closed action {action}; its feedback is dropped");
                ledger.drop_action(action);
            }
            // The server would refuse it the next time, too; 429: its quota is used up.
            status if !feedback.is_answer() && (is_refused(status) || status == 429) => {
                let body = feedback.body();
                warn!("{}: status {status}; the server refuses this feedback; dropped: {body}", shown(&url));
                ledger.remove(feedback);
            }
            status => {
                let taken = reply.taken(&url);
                if taken.is_ok() {
                    ledger.remove(feedback);
                } else if is_error(status) && !is_refused(status) {
                    ledger.count_failed(feedback);
                }
                taken?;
            }
        }
        Ok(())
    }

    /// The authorization of a request for `url`: the token if it is on the server, else none.
    #[must_use]
    pub fn authorization(&self, url: &str) -> Option<&str> {
        self.token.as_deref().filter(|_| self.endpoint.is_own(url))
    }

    /// Whether `url` is on the server.
    #[must_use]
    pub fn is_own(&self, url: &str) -> bool {
        self.endpoint.is_own(url)
    }

    fn get(&self, url: &str) -> Result<HttpReply> {
        HttpReply::read(url, self.client.get(url, &self.headers(url)))
    }

    fn send(&self, method: Method, url: &str, body: &serde_json::Value) -> Result<HttpReply> {
        let mut headers = self.headers(url);
        headers.push((CONTENT_TYPE, "application/json"));
        HttpReply::read(url, self.client.send(method, url, &headers, body.to_string().as_bytes()))
    }

    fn headers(&self, url: &str) -> Vec<Header<'_>> {
        let mut headers = vec![(ACCEPT, HAL)];
        headers.extend(self.authorization(url).map(|token| (AUTHORIZATION, token)));
        headers
    }
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
    use crate::agent::source::hawkbit::feedback::{Finished, Milestone};
    use crate::agent::source::hawkbit::ledger::tests::ledger;
    use crate::config::Config;

    /// A server with these answers, one for each request; sends the requests to the channel.
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

    fn client(url: &str) -> DdiClient {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        fs::write(&file, "s3cret").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        let text = format!("[update.hawkbit]\nurl = '{url}'\nid = 'n'\ntoken = '/token'\n");
        let config = Config::parse("f", &text).unwrap().update.hawkbit.unwrap();
        DdiClient::new(&Root::at(dir.path()), &config).unwrap()
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
    fn a_redirect_is_not_followed() {
        let (url, asked) = server(&["302 Found\r\nLocation: http://127.0.0.1:9/"]);
        let error = client(&url).poll().unwrap_err().to_string();
        assert!(error.contains("the server redirects") && !error.contains("s3cret"), "{error}");
        assert!(asked.recv().unwrap().to_lowercase().contains("authorization: targettoken s3cret"));
    }

    fn waiting(milestones: &[Milestone]) -> Ledger {
        let mut ledger = ledger();
        for milestone in milestones {
            ledger.reached(*milestone, 0, Finished::None, vec!["why".into()]);
        }
        ledger
    }

    fn deliver(client: &DdiClient, ledger: &mut Ledger) -> Option<String> {
        client.deliver(ledger, &mut vec![], |_| Ok(())).err().map(|e| e.to_string())
    }

    #[test]
    fn undelivered_feedback_is_sent_again_in_order() {
        let (url, asked) = server(&["200 OK", "503 No", "200 OK", "410 Gone"]);
        let client = client(&url);
        let mut ledger =
            waiting(&[Milestone::Accepted, Milestone::Downloading, Milestone::Staged, Milestone::Testing]);
        assert!(deliver(&client, &mut ledger).unwrap().contains("status 503"));
        assert_eq!(ledger.waiting.len(), 3);
        // The server has closed the action meanwhile: the rest is dropped.
        assert_eq!(deliver(&client, &mut ledger), None);
        assert_eq!((ledger.waiting.len(), ledger.action), (0, None));
        assert!(
            asked.iter().all(
                |request| request.starts_with("POST /DEFAULT/controller/v1/n/deploymentBase/8/feedback ")
            )
        );
    }

    #[test]
    fn an_answer_that_is_refused_is_sent_without_its_text() {
        let (url, asked) = server(&["400 Bad", "200 OK"]);
        let mut ledger = waiting(&[Milestone::Closed]);
        assert_eq!(deliver(&client(&url), &mut ledger), None);
        assert!(ledger.waiting.is_empty());
        let (first, second) = (asked.recv().unwrap(), asked.recv().unwrap());
        assert!(first.contains(r#""details":["why"]"#) && second.contains(r#""details":[]"#), "{second}");
    }

    #[test]
    fn an_answer_stays_until_the_server_takes_it() {
        let (url, asked) =
            server(&["500 No", "429 No", "400 Bad", "400 Bad", "500 No", "429 No", "500 No", "200 OK"]);
        let client = client(&url);
        let mut ledger = waiting(&[Milestone::Closed]);
        // From the third fault on, the answer is also sent without its text.
        for status in ["500", "429", "400", "500", "500"] {
            assert!(deliver(&client, &mut ledger).unwrap().contains(status), "{status}");
            assert_eq!(ledger.waiting.len(), 1);
        }
        assert_eq!(deliver(&client, &mut ledger), None);
        // It was an outage: the text arrives after all.
        assert!(asked.iter().last().unwrap().contains(r#""details":["why"]"#));
    }

    #[test]
    fn an_answer_with_a_text_that_the_server_fails_over_is_sent_without() {
        for fault in ["500 No", "429 No"] {
            let answers = [fault, fault, fault, fault, "200 OK"];
            let (url, asked) = server(Box::leak(Box::new(answers)));
            let client = client(&url);
            let mut ledger = waiting(&[Milestone::Closed]);
            for _ in 0..3 {
                assert!(deliver(&client, &mut ledger).is_some());
            }
            assert_eq!(deliver(&client, &mut ledger), None);
            let asked: Vec<String> = asked.iter().collect();
            let has_text = |request: &String| request.contains(r#""details":["why"]"#);
            assert_eq!(asked.iter().map(has_text).collect::<Vec<_>>(), [true, true, true, true, false]);
        }
    }

    #[test]
    fn the_page_of_a_portal_is_named_and_ends_no_action() {
        const PAGE: &str = "<!DOCTYPE html><html>Please log in</html>";
        for status in ["200 OK", "404 Not Found", "410 Gone"] {
            let answer = format!(
                "{status}\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n{PAGE}",
                PAGE.len()
            );
            let answers: Vec<&'static str> = vec![Box::leak(answer.into_boxed_str()); 3];
            let (url, _asked) = server(answers.leak());
            let client = client(&url);
            let mut ledger = waiting(&[Milestone::Closed]);
            let told = [
                client.poll().unwrap_err().to_string(),
                client.order(&url).unwrap_err().to_string(),
                deliver(&client, &mut ledger).unwrap(),
            ];
            assert!(
                told.iter().all(|text| text.contains("web page: a captive portal")),
                "{status}: {told:?}"
            );
            assert_eq!(ledger.waiting.len(), 1, "{status}");
        }
    }

    #[test]
    fn feedback_of_the_course_is_dropped_where_the_quota_is_used_up() {
        let (url, _asked) = server(&["429 No", "422 Bad", "200 OK"]);
        let mut ledger = waiting(&[Milestone::Accepted, Milestone::Downloading, Milestone::Staged]);
        assert_eq!(deliver(&client(&url), &mut ledger), None);
        assert!(ledger.waiting.is_empty() && ledger.action.is_some());
    }

    #[test]
    fn no_answer_waits_behind_the_course_of_another_action() {
        let (url, asked) = server(&["500 No", "200 OK", "500 No"]);
        let mut ledger = waiting(&[Milestone::Accepted]);
        ledger.refuse("9", "gone", 0);
        ledger.refuse("10", "gone", 0);
        assert!(deliver(&client(&url), &mut ledger).unwrap().contains("status 500"));
        let actions: Vec<&str> = ledger.waiting.iter().map(|m| m.action.as_str()).collect();
        assert_eq!(actions, ["9", "8"]);
        assert_eq!(asked.iter().count(), 3);
    }

    #[test]
    fn attributes_are_accepted_refused_or_sent_again() {
        let (url, _asked) = server(&["200 OK", "400 Bad", "403 No", "429 No", "500 No", "401 No"]);
        let client = client(&url);
        let put = || client.put_attributes(&client.attributes_url(), &BTreeMap::new()).ok();
        let taken = [put(), put(), put(), put(), put(), put()];
        let later = Some(Taken::Later(PAUSE));
        assert_eq!(taken, [Some(Taken::Yes), Some(Taken::No), Some(Taken::No), later, None, None]);
    }
}
