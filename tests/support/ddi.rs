//! A hawkBit server by the text of its DDI API ("Direct Device Integration API", hawkBit's documentation), for
//! what the real one of the tests is too old for. It has one machine and one action.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use serde_json::{Value, json};

use crate::tree::digest;

/// How far the action is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stand {
    /// Nothing is ordered.
    Idle,
    /// It waits for somebody's agreement.
    Unconfirmed,
    /// It is to be installed.
    Running,
    /// The machine has told its end.
    Closed,
}

#[derive(Debug)]
struct Inside {
    url: String,
    stand: Stand,
    version: String,
    file: Vec<u8>,
    /// What the machine has posted: the resource and the body.
    posted: Vec<(String, Value)>,
}

/// The server; it goes with the process.
#[derive(Debug, Clone)]
pub struct Ddi {
    pub url: String,
    inside: Arc<Mutex<Inside>>,
}

impl Ddi {
    /// A server with `file`, the image of `version`.
    pub fn serve(version: &str, file: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let inside = Inside {
            url: url.clone(),
            stand: Stand::Idle,
            version: version.to_owned(),
            file,
            posted: vec![],
        };
        let it = Self { url, inside: Arc::new(Mutex::new(inside)) };
        let inside = Arc::clone(&it.inside);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // The client may have disconnected already.
                drop(answer(stream, &inside));
            }
        });
        it
    }

    /// What an operator does.
    pub fn set(&self, stand: Stand) {
        self.inside().stand = stand;
    }

    pub fn stand(&self) -> Stand {
        self.inside().stand
    }

    /// What was posted to the feedback of `resource`, in order.
    pub fn told(&self, resource: &str) -> Vec<Value> {
        let inside = self.inside();
        let of = inside.posted.iter().filter(|(path, _)| path.contains(resource));
        of.map(|(_, body)| body.clone()).collect()
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap()
    }
}

fn answer(mut stream: TcpStream, inside: &Mutex<Inside>) -> std::io::Result<()> {
    let mut request = BufReader::new(stream.try_clone()?);
    let (mut head, mut line, mut len) = (String::new(), String::new(), 0);
    request.read_line(&mut head)?;
    while request.read_line(&mut line)? > 2 {
        let lower = line.to_lowercase();
        len = lower.strip_prefix("content-length:").map_or(len, |n| n.trim().parse().unwrap());
        line.clear();
    }
    let mut body = vec![0; len];
    request.read_exact(&mut body)?;
    let mut words = head.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let found = inside.lock().unwrap().found(method, path, &body);
    let (status, body) = found.map_or((404, vec![]), |body| (200, body));
    let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    stream.write_all(head.as_bytes())?;
    stream.write_all(&body)
}

impl Inside {
    fn found(&mut self, method: &str, path: &str, body: &[u8]) -> Option<Vec<u8>> {
        let said = || serde_json::from_slice(body).unwrap_or_default();
        let rest = path.strip_prefix("/DEFAULT/controller/v1/").and_then(|path| path.split_once('/'));
        match (method, rest.map(|(_, rest)| rest)) {
            ("GET", None) if path == "/file" => Some(self.file.clone()),
            ("GET", None) => Some(self.base(path).to_string().into_bytes()),
            ("GET", Some("confirmationBase/7")) if self.stand == Stand::Unconfirmed => {
                Some(json!({ "id": "7", "confirmation": self.order() }).to_string().into_bytes())
            }
            ("GET", Some("deploymentBase/7")) if self.stand == Stand::Running => {
                Some(json!({ "id": "7", "deployment": self.order() }).to_string().into_bytes())
            }
            ("PUT", Some("configData")) => Some(vec![]),
            ("POST", Some(resource)) => {
                let said: Value = said();
                // A denied action stays open, and is offered again.
                if said["confirmation"] == "confirmed" {
                    self.stand = Stand::Running;
                }
                if said["status"]["execution"] == "closed" {
                    self.stand = Stand::Closed;
                }
                self.posted.push((resource.to_owned(), said));
                Some(vec![])
            }
            _ => None,
        }
    }

    fn base(&self, path: &str) -> Value {
        let resource = match self.stand {
            Stand::Unconfirmed => "confirmationBase",
            Stand::Running => "deploymentBase",
            Stand::Idle | Stand::Closed => return json!({ "_links": {} }),
        };
        json!({ "_links": { resource: { "href": format!("{}{path}/{resource}/7", self.url) } } })
    }

    fn order(&self) -> Value {
        let artifact = json!({
            "filename": format!("edge_{}.raw.zst", self.version),
            "size": self.file.len(),
            "hashes": { "sha256": digest(&self.file) },
            "_links": { "download-http": { "href": format!("{}/file", self.url) } },
        });
        let chunk = json!({ "part": "os", "name": "edge", "version": self.version, "artifacts": [artifact] });
        json!({ "download": "forced", "update": "forced", "chunks": [chunk] })
    }
}
