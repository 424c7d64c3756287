//! A hawkBit server by the text of its DDI API ("Direct Device Integration API", hawkBit's documentation), for
//! what the real one of the tests is too old for. It has one machine and one action, and validates what it is sent as
//! hawkBit 0.9 to 1.1 do ([`crate::validation`]).

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use serde_json::{Value, json};

use crate::tree::digest;
use crate::validation::{is_attribute, is_text};

/// Stands for 429 by the quota.
const QUOTA: u16 = 1429;

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

/// What a server does beyond that.
#[derive(Debug, Clone, Default)]
pub struct Habits {
    /// The most attributes of the machine, if they are counted.
    pub most_attributes: Option<usize>,
    /// The status for all attributes.
    pub attributes: Option<u16>,
    /// The status for feedback that does not end the action.
    pub course: Option<u16>,
    /// The status for feedback with a text.
    pub text: Option<u16>,
    /// The status for feedback that ends the action.
    pub closing: Option<u16>,
    /// The software modules of the action, in place of the usual one.
    pub chunks: Option<Value>,
    /// The status for the image.
    pub image: Option<u16>,
    /// The status for the description of the action.
    pub order: Option<u16>,
    /// What is answered to everything but the image, with 200: by a portal or a proxy in between.
    pub between: Option<String>,
    /// The id of the action; 7 if it is not given.
    pub action: Option<u32>,
    /// The query of the image's link, without which it is not there.
    pub key: Option<String>,
    /// After so many bytes the connection of a download breaks.
    pub cut: Option<usize>,
}

#[derive(Debug)]
struct Inside {
    url: String,
    stand: Stand,
    version: String,
    file: Vec<u8>,
    /// Of the file when the action was made.
    digest: String,
    habits: Habits,
    /// All requests: method and path.
    asked: Vec<String>,
    /// What the machine has posted and the server has accepted: the resource and the body.
    posted: Vec<(String, Value)>,
    attributes: BTreeMap<String, String>,
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
            digest: digest(&file),
            file,
            habits: Habits::default(),
            asked: vec![],
            posted: vec![],
            attributes: BTreeMap::new(),
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

    /// What the server does from now on.
    pub fn behaves(&self, habits: Habits) {
        self.inside().habits = habits;
    }

    /// Puts other bytes in the image's place.
    pub fn exchange(&self, file: Vec<u8>) {
        self.inside().file = file;
    }

    pub fn stand(&self) -> Stand {
        self.inside().stand
    }

    /// The attributes that were accepted.
    pub fn attributes(&self) -> BTreeMap<String, String> {
        self.inside().attributes.clone()
    }

    /// How often a request began so, and ended so.
    pub fn count(&self, begin: &str, end: &str) -> usize {
        let inside = self.inside();
        inside.asked.iter().filter(|asked| asked.starts_with(begin) && asked.ends_with(end)).count()
    }

    /// What was posted to the feedback of `resource`, in order.
    pub fn told(&self, resource: &str) -> Vec<Value> {
        let inside = self.inside();
        let of = inside.posted.iter().filter(|(path, _)| path.contains(resource));
        of.map(|(_, body)| body.clone()).collect()
    }

    /// How the action has ended: the result and the text.
    pub fn end(&self) -> Option<(String, String)> {
        let last = self.told("feedback").pop().filter(|_| self.stand() == Stand::Closed)?;
        let status = &last["status"];
        let lines = status["details"].as_array().unwrap().iter().map(|line| line.as_str().unwrap());
        let lines: Vec<&str> = lines.collect();
        Some((status["result"]["finished"].as_str().unwrap().to_owned(), lines.join("\n")))
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
    let mut inside = inside.lock().unwrap();
    let cut = inside.habits.cut.filter(|_| path.starts_with("/file"));
    let found = match inside.habits.between.clone().filter(|_| !path.starts_with("/file")) {
        Some(text) => Ok(text.into_bytes()),
        None => inside.found(method, path, &body),
    };
    drop(inside);
    let (status, body) = match found {
        Ok(body) => (200, body),
        // hawkBit's word for its quota, and not that of overload.
        Err(QUOTA) => (429, br#"{"errorCode":"hawkbit.server.error.quota.tooManyEntries"}"#.to_vec()),
        Err(status) => (status, vec![]),
    };
    let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    stream.write_all(head.as_bytes())?;
    stream.write_all(&body[..cut.unwrap_or(body.len()).min(body.len())])
}

impl Inside {
    fn found(&mut self, method: &str, path: &str, body: &[u8]) -> Result<Vec<u8>, u16> {
        self.asked.push(format!("{method} {path}"));
        let said = serde_json::from_slice(body).unwrap_or_default();
        let rest = path.strip_prefix("/DEFAULT/controller/v1/").and_then(|path| path.split_once('/'));
        match (method, rest.map(|(_, rest)| rest)) {
            ("GET", None) if path.starts_with("/file") && path != self.image_path() => Err(403),
            ("GET", None) if path.starts_with("/file") => {
                self.habits.image.map_or(Ok(self.file.clone()), Err)
            }
            ("GET", None) if rest.is_none() && path.contains("/controller/") => bytes(&self.base(path)),
            ("GET", Some("confirmationBase/7")) if self.stand == Stand::Unconfirmed => {
                bytes(&json!({ "id": "7", "confirmation": self.order() }))
            }
            ("GET", Some(order)) if order == self.resource() && self.stand == Stand::Running => {
                self.habits.order.map_or(Ok(()), Err)?;
                bytes(&json!({ "id": self.id(), "deployment": self.order() }))
            }
            ("PUT", Some("configData")) => self.put_attributes(&said),
            ("POST", Some(resource)) => self.post(resource, said),
            _ => Err(404),
        }
    }

    fn put_attributes(&mut self, said: &Value) -> Result<Vec<u8>, u16> {
        let sent = said["data"].as_object().ok_or(400_u16)?;
        let text = |value: &Value| value.as_str().filter(|text| is_attribute(text)).map(str::to_owned);
        let mut merged = self.attributes.clone();
        for (name, value) in sent {
            let name = Some(name).filter(|name| is_attribute(name)).ok_or(400_u16)?;
            merged.insert(name.clone(), text(value).ok_or(400_u16)?);
        }
        if self.habits.most_attributes.is_some_and(|most| merged.len() > most) {
            return Err(QUOTA);
        }
        self.habits.attributes.map_or(Ok(()), Err)?;
        self.attributes = merged;
        Ok(vec![])
    }

    fn post(&mut self, resource: &str, said: Value) -> Result<Vec<u8>, u16> {
        let status = &said["status"];
        let details = if status.is_null() { &said["details"] } else { &status["details"] };
        let lines = details.as_array().ok_or(400_u16)?;
        if !lines.iter().all(|line| line.as_str().is_some_and(is_text)) {
            return Err(400);
        }
        if !lines.is_empty() {
            self.habits.text.map_or(Ok(()), Err)?;
        }
        if !status.is_null() && status["execution"] != "closed" {
            self.habits.course.map_or(Ok(()), Err)?;
        }
        if status["execution"] == "closed" {
            self.habits.closing.map_or(Ok(()), Err)?;
        }
        if !status.is_null() && self.stand != Stand::Running {
            return Err(410);
        }
        // A denied action stays open, and is offered again.
        if said["confirmation"] == "confirmed" {
            self.stand = Stand::Running;
        }
        if status["execution"] == "closed" {
            self.stand = Stand::Closed;
        }
        self.posted.push((resource.to_owned(), said));
        Ok(vec![])
    }

    fn base(&self, path: &str) -> Value {
        let mut links = json!({});
        let resource = match self.stand {
            Stand::Unconfirmed => Some("confirmationBase"),
            Stand::Running => Some("deploymentBase"),
            Stand::Idle | Stand::Closed => None,
        };
        if let Some(resource) = resource {
            links[resource] = json!({ "href": format!("{}{path}/{resource}/{}", self.url, self.id()) });
        }
        // As hawkBit does until it has them.
        if self.attributes.is_empty() && self.habits.attributes.is_some() {
            links["configData"] = json!({ "href": format!("{}{path}/configData", self.url) });
        }
        json!({ "config": { "polling": { "sleep": "00:05:00" } }, "_links": links })
    }

    fn id(&self) -> String {
        self.habits.action.unwrap_or(7).to_string()
    }

    fn resource(&self) -> String {
        format!("deploymentBase/{}", self.id())
    }

    fn image_path(&self) -> String {
        self.habits.key.as_ref().map_or_else(|| "/file".into(), |key| format!("/file?key={key}"))
    }

    fn order(&self) -> Value {
        let artifact = json!({
            "filename": format!("edge_{}.raw.zst", self.version),
            "size": self.file.len(),
            "hashes": { "sha256": self.digest },
            "_links": { "download-http": { "href": format!("{}{}", self.url, self.image_path()) } },
        });
        let chunk = json!({ "part": "os", "name": "edge", "version": self.version, "artifacts": [artifact] });
        let chunks = self.habits.chunks.clone().unwrap_or_else(|| json!([chunk]));
        json!({ "download": "forced", "update": "forced", "chunks": chunks })
    }
}

fn bytes(json: &Value) -> Result<Vec<u8>, u16> {
    Ok(json.to_string().into_bytes())
}
