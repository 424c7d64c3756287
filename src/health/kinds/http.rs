//! `kind = "http"`: a server sends the expected response.

use std::path::Path;
use std::time::Duration;

use ureq::http::Method as HttpMethod;

use crate::config::kinds::{HttpCheck, Method};
use crate::health::pattern;
use crate::health::probe::{Probe, ProbeResult};
use crate::http::{Client, HttpError, Redirects, Timeout};
use crate::url::shown;
use abide_core::root::Root;

/// How much of a response is read at most.
const MOST_BYTES: u64 = 1 << 20;

/// The check.
#[derive(Debug)]
pub struct HttpProbe {
    config: HttpCheck,
    root: Root,
}

impl HttpProbe {
    /// A check that trusts the certificates of `root`.
    #[must_use]
    pub fn new(config: &HttpCheck, root: &Root) -> Self {
        Self { config: config.clone(), root: root.clone() }
    }

    fn ask(&self, limit: Duration) -> Result<(), String> {
        // A new connection each time: an old one that is still open proves little.
        let ca = self.config.ca.as_deref().map(Path::new);
        let is_redirect_expected = self.config.status.iter().any(|status| (300..400).contains(status));
        let redirects = if is_redirect_expected { Redirects::Refuse } else { Redirects::SameHost };
        let client = Client::new(&self.root, ca, Timeout::Total(limit), redirects)?;
        let HttpCheck { url, body, .. } = &self.config;
        let answer = match self.config.method {
            Method::Get => client.get(url, &[]),
            Method::Post => client.send(HttpMethod::POST, url, &[], body.as_deref().unwrap_or("").as_bytes()),
        };
        let mut answer = match answer {
            // It is the expected answer.
            Err(HttpError::Redirect { status, .. }) if is_redirect_expected => {
                return evaluate(&self.config, status, "");
            }
            answer => answer.map_err(|e| e.to_string())?,
        };
        let status = answer.status().as_u16();
        let body = match self.config.matches {
            Some(_) => answer
                .body_mut()
                .with_config()
                .limit(MOST_BYTES)
                .lossy_utf8(true)
                .read_to_string()
                .map_err(|e| HttpError::from(e).to_string())?,
            None => String::new(),
        };
        evaluate(&self.config, status, &body)
    }
}

impl Probe for HttpProbe {
    // Sends one request. A server may recover, so nothing fails permanently.
    fn run(&mut self, limit: Duration) -> ProbeResult {
        match self.ask(limit) {
            Ok(()) => ProbeResult::Pass,
            Err(problem) => ProbeResult::NotYet(format!("{}: {problem}", shown(&self.config.url))),
        }
    }
}

fn evaluate(config: &HttpCheck, status: u16, body: &str) -> Result<(), String> {
    let passes = if config.status.is_empty() {
        (200..300).contains(&status)
    } else {
        config.status.contains(&status.into())
    };
    match (passes, status) {
        (true, _) => {}
        (false, 429 | 503) => return Err(format!("server not ready (status {status})")),
        (false, _) => return Err(format!("status {status}")),
    }
    match &config.matches {
        Some(wanted) if !body.lines().any(|line| pattern::matches(wanted, line)) => {
            Err(format!("no line of the response matches '{wanted}'"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    fn check(keys: &str) -> HttpCheck {
        use crate::config::{CheckKind, Config};
        let text = format!("[[check]]\nname = 'h'\nkind = 'http'\n{keys}");
        match Config::parse("f", &text).unwrap().checks.remove(0).kind {
            CheckKind::Http(check) => check,
            other => panic!("{other:?}"),
        }
    }

    /// A server that gives this answer once.
    fn serve(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            assert!(stream.read(&mut request).unwrap() > 0);
            stream.write_all(answer.as_bytes()).unwrap();
        });
        format!("http://{address}/healthz")
    }

    fn ask(answer: &'static str, keys: &str) -> ProbeResult {
        let config = check(&format!("url = '{}'\n{keys}", serve(answer)));
        HttpProbe::new(&config, &Root::live()).run(Duration::from_secs(20))
    }

    fn told(result: ProbeResult) -> String {
        let ProbeResult::NotYet(reason) = result else { panic!("{result:?}") };
        reason.split_once("/healthz: ").unwrap().1.to_owned()
    }

    #[test]
    fn an_answer_of_success_passes() {
        assert_eq!(ask("HTTP/1.1 204 No Content\r\n\r\n", ""), ProbeResult::Pass);
    }

    #[test]
    fn another_status_does_not_pass_unless_it_is_asked_for() {
        let answer = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(told(ask(answer, "")), "status 401");
        assert_eq!(ask(answer, "status = [200, 401]"), ProbeResult::Pass);
    }

    #[test]
    fn the_login_page_of_another_host_is_no_answer() {
        let login =
            serve("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nLogin").replace("127.0.0.1", "localhost");
        let answer = format!("HTTP/1.1 302 Found\r\nLocation: {login}?key=1\r\nContent-Length: 0\r\n\r\n");
        let answer: &'static str = answer.leak();
        let told = |result| {
            let ProbeResult::NotYet(reason) = result else { panic!("{result:?}") };
            reason
        };
        for keys in ["", "method = 'POST'"] {
            let reason = told(ask(answer, keys));
            assert!(
                reason.contains("redirects to http://localhost") && !reason.contains("key=1"),
                "{reason}"
            );
        }
        assert_eq!(ask(answer, "status = 302"), ProbeResult::Pass);
        assert!(told(ask(answer, "status = 307")).ends_with("status 302"));
    }

    #[test]
    fn a_redirect_on_the_same_host_is_followed() {
        let to = serve("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        let answer = format!("HTTP/1.1 301 Moved\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(ask(answer.leak(), "matches = 'ok'"), ProbeResult::Pass);
    }

    #[test]
    fn the_password_of_a_url_is_not_in_the_reason() {
        let config = check("url = 'http://user:pa55@127.0.0.1:1/x?key=s3cret'");
        let result = HttpProbe::new(&config, &Root::live()).run(Duration::from_secs(20));
        let ProbeResult::NotYet(reason) = result else { panic!("{result:?}") };
        assert!(reason.starts_with("http://127.0.0.1:1/x: "), "{reason}");
        assert!(!reason.contains("pa55") && !reason.contains("s3cret"), "{reason}");
    }

    #[test]
    fn busy_means_that_the_server_is_not_ready() {
        let answer = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(told(ask(answer, "")), "server not ready (status 503)");
    }

    #[test]
    fn the_answer_must_match() {
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{\"state\":\"ready\"}";
        assert_eq!(ask(answer, "matches = '*\"ready\"*'"), ProbeResult::Pass);
        assert_eq!(told(ask(answer, "matches = 'ok'")), "no line of the response matches 'ok'");
    }

    #[test]
    fn a_server_that_is_not_there_is_not_yet() {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = check(&format!("url = 'http://127.0.0.1:{port}/'"));
        let result = HttpProbe::new(&config, &Root::live()).run(Duration::from_secs(20));
        assert!(matches!(result, ProbeResult::NotYet(_)));
    }
}
