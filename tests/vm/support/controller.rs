//! A server on the host that the guest's checks ask and that it reports to.

use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tiny_http::{Method, Response, Server};

/// Answers every GET with one status, and keeps what is posted.
pub struct Controller {
    server: Arc<Server>,
    port: u16,
    status: Arc<AtomicU16>,
    posted: Arc<Mutex<Vec<Value>>>,
}

impl Controller {
    /// A controller that says `status`.
    pub fn new(status: u16) -> Controller {
        let server = Arc::new(Server::http("127.0.0.1:0").unwrap());
        let port = server.server_addr().to_ip().unwrap().port();
        let (status, posted) = (Arc::new(AtomicU16::new(status)), Arc::new(Mutex::new(Vec::new())));
        let controller = Controller {
            server: Arc::clone(&server),
            port,
            status: Arc::clone(&status),
            posted: Arc::clone(&posted),
        };
        std::thread::spawn(move || {
            for mut request in server.incoming_requests() {
                let code = match request.method() {
                    Method::Post => {
                        let event = serde_json::from_reader(request.as_reader()).unwrap();
                        posted.lock().unwrap_or_else(PoisonError::into_inner).push(event);
                        204
                    }
                    _ => status.load(Ordering::SeqCst),
                };
                // The guest may be gone before it has its answer.
                request.respond(Response::empty(code)).ok();
            }
        });
        controller
    }

    /// What it answers from now on.
    pub fn say(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    /// The URL of a page, as the guest sees it.
    pub fn url(&self, page: &str) -> String {
        format!("http://10.0.2.2:{}/{page}", self.port)
    }

    /// The events that were posted, as `EVENT VERSION REASON`.
    pub fn events(&self) -> Vec<String> {
        let text = |event: &Value, key: &str| event[key].as_str().unwrap_or_default().to_owned();
        let posted = self.posted.lock().unwrap_or_else(PoisonError::into_inner);
        posted
            .iter()
            .map(|e| format!("{} {} {}", text(e, "event"), text(e, "version"), text(e, "reason")))
            .collect()
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.server.unblock();
    }
}
