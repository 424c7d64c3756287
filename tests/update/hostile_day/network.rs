//! A network between a machine and its feed, in which most things happen that happen to requests.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{fs, thread};

use abide_testing::dice::Dice;
use abide_testing::scripted::{answer, whole};

const PAGE: &[u8] = b"\n<html><head><title>Guest access</title></head><body>Please log in.</body></html>";

/// What was sent of images.
#[derive(Debug, Clone, Default)]
pub struct Sent {
    /// Bytes of answers.
    pub bytes: usize,
    /// Bytes of images that were sent at least once.
    pub needed: usize,
    /// Requests.
    pub requests: usize,
}

struct State {
    folder: PathBuf,
    dice: Dice,
    is_storm: bool,
    /// Files with this beginning are not on the server yet.
    withheld: Option<String>,
    /// A list and its signature as they were before.
    old_list: BTreeMap<String, Vec<u8>>,
    looks: usize,
    sent: Sent,
    /// Of each image, which bytes were sent.
    covered: BTreeMap<String, Vec<bool>>,
}

/// It goes with the process. It is its own proxy, too.
pub struct Network {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Network {
    pub fn of(folder: &Path, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State {
            folder: folder.to_owned(),
            dice: Dice(seed),
            is_storm: false,
            withheld: None,
            old_list: BTreeMap::new(),
            looks: 0,
            sent: Sent::default(),
            covered: BTreeMap::new(),
        }));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // The client may have disconnected already.
                drop(serve(stream, &shared));
            }
        });
        Self { address, state }
    }

    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Keeps the list as it is now, for a mirror that is behind.
    pub fn keep_list(&self) {
        let mut state = self.state.lock().unwrap();
        for name in ["SHA256SUMS", "SHA256SUMS.minisig"] {
            let bytes = fs::read(state.folder.join(name)).unwrap();
            state.old_list.insert(name.into(), bytes);
        }
    }

    pub fn withhold(&self, beginning: Option<String>) {
        self.state.lock().unwrap().withheld = beginning;
    }

    pub fn set_storm(&self, is_storm: bool) {
        self.state.lock().unwrap().is_storm = is_storm;
    }

    /// Requests for the list since the last call.
    pub fn looks(&self) -> usize {
        std::mem::take(&mut self.state.lock().unwrap().looks)
    }

    pub fn sent(&self) -> Sent {
        let state = self.state.lock().unwrap();
        let needed = state.covered.values().flatten().filter(|sent| **sent).count();
        Sent { needed, ..state.sent.clone() }
    }
}

/// A request: its method, its path and the first byte that it asks for.
fn read(lines: &mut impl BufRead) -> Option<(String, String, usize)> {
    let mut lines = lines.lines().map_while(Result::ok);
    let first = lines.next()?;
    let mut words = first.split(' ').map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let headers: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let range =
        headers.iter().find_map(|line| line.to_lowercase().strip_prefix("range: bytes=").map(str::to_owned));
    let start = range.map_or(0, |range| range.trim_end_matches('-').parse().unwrap());
    Some((method, path, start))
}

fn serve(mut stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?);
    loop {
        let Some((method, path, start)) = read(&mut lines) else { return Ok(()) };
        if method == "CONNECT" {
            stream.write_all(b"HTTP/1.1 200 Go on\r\n\r\n")?;
            continue;
        }
        let answer = state.lock().unwrap().answer(path.trim_start_matches('/'), start);
        for (number, part) in answer.iter().enumerate() {
            if number > 0 {
                thread::sleep(Duration::from_millis(20));
            }
            stream.write_all(part)?;
        }
        return Ok(());
    }
}

fn status(line: &str) -> Vec<u8> {
    answer(line, &["Content-Length: 0", "Retry-After: 600"], b"")
}

impl State {
    /// What is sent, in parts with a pause between two.
    fn answer(&mut self, path: &str, start: usize) -> Vec<Vec<u8>> {
        let name = path.strip_prefix("mirror/").unwrap_or(path).to_owned();
        if name == "SHA256SUMS" && path == name {
            self.looks += 1;
        }
        if name == "login" {
            return vec![answer("200 OK", &["Content-Type: text/html; charset=utf-8"], PAGE)];
        }
        let Ok(file) = fs::read(self.folder.join(&name)) else { return vec![status("404 Not Found")] };
        let is_image = name.ends_with(".zst");
        if is_image {
            self.sent.requests += 1;
        }
        let misfortune = if self.is_storm { 90 } else { 50 };
        if self.dice.happens(misfortune) {
            return self.misfortune(&name, start, &file);
        }
        if !is_image {
            return vec![whole(&file)];
        }
        self.honest(&name, start, &file, file.len())
    }

    /// What a request may meet.
    fn misfortune(&mut self, name: &str, start: usize, file: &[u8]) -> Vec<Vec<u8>> {
        let is_image = name.ends_with(".zst");
        let some = start + self.dice.roll((file.len() - start).max(1));
        match self.dice.roll(13) {
            0 => vec![answer("200 OK", &["Content-Type: text/html"], PAGE)],
            1 => vec![answer("302 Found", &["Location: /login", "Content-Length: 0"], b"")],
            2 => vec![status("429 Too Many Requests")],
            3 => vec![status("503 Service Unavailable")],
            // The connection is closed without an answer.
            4 => vec![],
            5 => vec![answer("302 Found", &[&format!("Location: /mirror/{name}"), "Content-Length: 0"], b"")],
            6 if !is_image => match self.old_list.get(name) {
                Some(old) => vec![whole(old)],
                None => vec![status("404 Not Found")],
            },
            _ if !is_image => vec![whole(file)],
            6 if start > 0 => vec![answer("416 Range Not Satisfiable", &["Content-Range: bytes */17"], b"")],
            // A mirror whose copy is not complete.
            7 if start > 0 => {
                let range = format!("Content-Range: bytes {start}-{start}/{}", start + 1);
                vec![answer("206 Partial Content", &[&range, "ETag: \"short\""], b"x")]
            }
            8 if start > 0 => vec![whole(b"\x28\xb5\x2f\xfd, but short")],
            9 => vec![status("404 Not Found")],
            // A mirror with a longer file of this name, which begins again or goes on with that.
            11 if start > 0 => {
                let other: Vec<u8> = file.iter().rev().chain(b"and more").copied().collect();
                if self.dice.happens(50) {
                    vec![whole(&other)]
                } else {
                    let (end, len) = (other.len() - 1, other.len());
                    let range = format!("Content-Range: bytes {start}-{end}/{len}");
                    vec![answer("206 Partial Content", &[&range], &other[start..])]
                }
            }
            // A few bytes, slowly.
            10 => {
                let end = (start + 40).min(file.len());
                let all = self.honest(name, start, file, end).concat();
                let (head, body) = all.split_at(all.len() - (end - start));
                std::iter::once(head.to_vec()).chain(body.chunks(1).map(<[u8]>::to_vec)).collect()
            }
            _ => self.honest(name, start, file, some),
        }
    }

    /// The file up to `end`, from one of the mirrors.
    fn honest(&mut self, name: &str, start: usize, file: &[u8], end: usize) -> Vec<Vec<u8>> {
        if self.withheld.as_ref().is_some_and(|beginning| name.starts_with(beginning)) {
            return vec![status("404 Not Found")];
        }
        if start >= file.len() {
            return vec![answer("416 Range Not Satisfiable", &["Content-Range: bytes */9"], b"")];
        }
        let body = &file[start..end.max(start)];
        let covered = self.covered.entry(name.to_owned()).or_insert_with(|| vec![false; file.len()]);
        covered[start..end.max(start)].fill(true);
        self.sent.bytes += body.len();
        let tag = format!("ETag: \"{}\"", self.dice.roll(4));
        let length = format!("Content-Length: {}", file.len() - start);
        let total = if self.dice.happens(30) { "*".to_owned() } else { file.len().to_string() };
        let range = format!("Content-Range: bytes {start}-{}/{total}", file.len() - 1);
        vec![match start {
            0 => answer("200 OK", &[&tag, &length], body),
            _ => answer("206 Partial Content", &[&tag, &length, &range], body),
        }]
    }
}
