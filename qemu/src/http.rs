//! A file server on the host for guests to fetch images from, with the list of their digests.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Take};
use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};
use tiny_http::{Header, Request, Response, Server, StatusCode};

use crate::{Error, Result};

/// Serves the files of one folder, on 127.0.0.1 only; understands `Range: bytes=N-` and `N-M`.
/// Guests reach it as 10.0.2.2. It ends when it is dropped.
pub struct FileServer {
    server: Arc<Server>,
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    ranges: Arc<Mutex<Vec<String>>>,
    gate: Arc<Gate>,
    thread: Option<JoinHandle<()>>,
}

impl FileServer {
    /// Serves `folder` on a free port.
    ///
    /// # Errors
    /// When no port can be bound.
    pub fn new(folder: &Path) -> Result<FileServer> {
        let failed = |cause: String| Error::Io {
            what: "serve files on 127.0.0.1".into(),
            source: io::Error::other(cause),
        };
        let server = Server::http("127.0.0.1:0").map_err(|error| failed(error.to_string()))?;
        let address = server.server_addr().to_ip().ok_or_else(|| failed("no IP address".into()))?;
        let (server, requests) = (Arc::new(server), Arc::new(Mutex::new(Vec::new())));
        let (listener, log) = (Arc::clone(&server), Arc::clone(&requests));
        let ranges = Arc::new(Mutex::new(Vec::new()));
        let parts = Arc::clone(&ranges);
        let folder = folder.to_path_buf();
        let gate = Arc::new(Gate::default());
        let barrier = Arc::clone(&gate);
        let thread = std::thread::spawn(move || {
            for request in listener.incoming_requests() {
                log.lock().unwrap_or_else(PoisonError::into_inner).push(format!(
                    "{} {}",
                    request.method(),
                    request.url()
                ));
                let range = range_of(&request);
                parts.lock().unwrap_or_else(PoisonError::into_inner).extend(range.clone());
                let (folder, gate) = (folder.clone(), Arc::clone(&barrier));
                // One thread for each request: a guest whose power is cut never reads the rest.
                std::thread::spawn(move || answer(&folder, request, range.as_deref(), gate));
            }
        });
        Ok(FileServer { server, address, requests, ranges, gate, thread: Some(thread) })
    }

    /// The URL of a file as the guest sees it.
    pub fn url(&self, file: &str) -> String {
        format!("http://10.0.2.2:{}/{file}", self.address.port())
    }

    /// The URL of a file as the host sees it.
    pub fn local_url(&self, file: &str) -> String {
        format!("http://{}/{file}", self.address)
    }

    /// From now on each answer stops after `bytes` of the file, until [`FileServer::go_on`].
    pub fn stall_after(&self, bytes: u64) {
        self.gate.change(|state| state.limit = Some(bytes));
    }

    /// Waits until an answer has stopped; false when none did within `limit`.
    pub fn wait_for_stall(&self, limit: Duration) -> bool {
        self.gate.wait(limit, |state| state.stalled)
    }

    /// Lets the answers go on that have stopped.
    pub fn go_on(&self) {
        self.gate.change(|state| *state = GateState::default());
    }

    /// The requests so far, as `METHOD /path`.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The ranges that were asked for so far, as `bytes=N-`.
    pub fn ranges(&self) -> Vec<String> {
        self.ranges.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for FileServer {
    fn drop(&mut self) {
        self.go_on();
        self.server.unblock();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn range_of(request: &Request) -> Option<String> {
    let header = request.headers().iter().find(|header| header.field.equiv("Range"))?;
    Some(header.value.to_string())
}

fn answer(folder: &Path, request: Request, range: Option<&str>, gate: Arc<Gate>) {
    let content = local(folder, request.url()).map(|path| Content::open(&path, range));
    // The client may disconnect at any time.
    match content {
        Some(Ok(content)) => request.respond(content.response(gate)).ok(),
        Some(Err(_)) if request.url() == "/SHA256SUMS" => {
            let list = sums(folder).unwrap_or_default();
            request.respond(Response::from_string(list)).ok()
        }
        _ => request.respond(Response::empty(404)).ok(),
    };
}

/// The digests of the images in the folder, as sha256sum(1) writes them: what a publisher puts beside them.
fn sums(folder: &Path) -> io::Result<String> {
    let mut list = String::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.contains(".raw") || name.ends_with(".part") {
            continue;
        }
        match digest(&entry.path()) {
            Ok(Some(digest)) => list.push_str(&format!("{digest}  {name}\n")),
            Ok(None) => {}
            // Another test is building it anew.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    Ok(list)
}

/// The digest of an image, which is read once as long as it stays the same; none of what is no file.
fn digest(path: &Path) -> io::Result<Option<String>> {
    static KNOWN: Mutex<BTreeMap<(PathBuf, u64, SystemTime), String>> = Mutex::new(BTreeMap::new());
    let meta = std::fs::metadata(path)?;
    if !meta.is_file() {
        return Ok(None);
    }
    let key = (path.to_owned(), meta.len(), meta.modified()?);
    if let Some(known) = KNOWN.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
        return Ok(Some(known.clone()));
    }
    let mut hash = Sha256::new();
    let (mut file, mut block) = (File::open(path)?, vec![0; 1 << 20]);
    loop {
        let count = file.read(&mut block)?;
        match block.get(..count) {
            Some([]) | None => break,
            Some(part) => hash.update(part),
        }
    }
    let digest: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner).insert(key, digest.clone());
    Ok(Some(digest))
}

/// The file that a request names; `None` when the path leads out of the folder.
fn local(folder: &Path, url: &str) -> Option<PathBuf> {
    let path = Path::new(url.split('?').next()?.trim_start_matches('/'));
    let inside = path.components().all(|part| matches!(part, Component::Normal(_)));
    inside.then(|| folder.join(path))
}

/// What is sent: a part of a file.
struct Content {
    status: u16,
    file: File,
    start: u64,
    length: u64,
    size: u64,
}

impl Content {
    fn open(path: &Path, range: Option<&str>) -> io::Result<Content> {
        let mut file = File::open(path)?;
        let size = file.metadata()?.len();
        let (status, start, length) = match range.map(|range| parse_range(range, size)) {
            None => (200, 0, size),
            Some(Some((start, end))) => (206, start, end - start),
            Some(None) => (416, 0, 0),
        };
        file.seek(SeekFrom::Start(start))?;
        Ok(Content { status, file, start, length, size })
    }

    fn response(self, gate: Arc<Gate>) -> Response<impl Read> {
        let mut headers = Vec::new();
        headers.extend(Header::from_bytes("Accept-Ranges", "bytes"));
        let (start, size) = (self.start, self.size);
        let described = match self.status {
            206 => Some(format!("bytes {start}-{}/{size}", start + self.length - 1)),
            416 => Some(format!("bytes */{size}")),
            _ => None,
        };
        if let Some(described) = described {
            headers.extend(Header::from_bytes("Content-Range", described));
        }
        let length = usize::try_from(self.length).ok();
        let body = Gated { content: self.file.take(self.length), sent: 0, gate };
        Response::new(StatusCode(self.status), headers, body, length, None).with_chunked_threshold(usize::MAX)
    }
}

/// What can hold answers up.
#[derive(Debug, Default)]
struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct GateState {
    limit: Option<u64>,
    stalled: bool,
}

impl Gate {
    fn change(&self, change: impl FnOnce(&mut GateState)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    fn wait(&self, limit: Duration, done: impl Fn(&GateState) -> bool) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(state, limit, |state| !done(state));
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// How many of `wanted` bytes may follow after `sent`; holds the caller up at the limit.
    fn pass(&self, sent: u64, wanted: usize) -> usize {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.limit.map(|limit| limit.saturating_sub(sent)) {
            None => wanted,
            Some(0) => {
                drop(state);
                self.change(|state| state.stalled = true);
                self.wait(Duration::MAX, |state| state.limit.is_none());
                wanted
            }
            Some(left) => usize::try_from(left).map_or(wanted, |left| left.min(wanted)),
        }
    }
}

/// A file that is read no further than the gate allows.
struct Gated {
    content: Take<File>,
    sent: u64,
    gate: Arc<Gate>,
}

impl Read for Gated {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let allowed = self.gate.pass(self.sent, buffer.len());
        let buffer = buffer.get_mut(..allowed).unwrap_or_default();
        let count = self.content.read(buffer)?;
        self.sent += count as u64;
        Ok(count)
    }
}

/// `bytes=N-` or `bytes=N-M` as a half-open range within the file.
fn parse_range(range: &str, size: u64) -> Option<(u64, u64)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let start = first.parse().ok()?;
    let end = match last {
        "" => size,
        last => last.parse::<u64>().ok()?.checked_add(1)?.min(size),
    };
    (start < end).then_some((start, end))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::Write;
    use std::net::TcpStream;

    fn get(server: &FileServer, path: &str, range: &str) -> String {
        let mut stream = TcpStream::connect(server.address).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{range}\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn whole_files_and_ranges_are_served_and_nothing_outside_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("image"), "0123456789").unwrap();
        let server = FileServer::new(folder.path()).unwrap();
        let whole = get(&server, "/image", "");
        assert!(whole.starts_with("HTTP/1.1 200"), "{whole}");
        assert!(whole.ends_with("0123456789"), "{whole}");
        let part = get(&server, "/image", "Range: bytes=4-6\r\n");
        assert!(part.starts_with("HTTP/1.1 206"), "{part}");
        assert!(part.contains("Content-Range: bytes 4-6/10"), "{part}");
        assert!(part.ends_with("\r\n\r\n456"), "{part}");
        assert!(get(&server, "/image", "Range: bytes=10-\r\n").starts_with("HTTP/1.1 416"));
        assert!(get(&server, "/../image", "").starts_with("HTTP/1.1 404"));
        assert!(get(&server, "/none", "").starts_with("HTTP/1.1 404"));
        assert_eq!(server.requests().len(), 5);
        assert_eq!(server.ranges(), ["bytes=4-6", "bytes=10-"]);
    }

    #[test]
    fn a_list_of_digests_is_made_where_there_is_none() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.raw.zst"), "").unwrap();
        let server = FileServer::new(folder.path()).unwrap();
        let list = get(&server, "/SHA256SUMS", "");
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert!(list.ends_with(&format!("\r\n\r\n{empty}  a.raw.zst\n")), "{list}");
    }

    #[test]
    fn an_answer_can_be_held_up_in_the_middle() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("image"), vec![7; 100_000]).unwrap();
        let server = FileServer::new(folder.path()).unwrap();
        server.stall_after(60_000);
        std::thread::scope(|scope| {
            let client = scope.spawn(|| get(&server, "/image", ""));
            assert!(server.wait_for_stall(Duration::from_secs(60)));
            server.go_on();
            assert!(client.join().unwrap().len() > 100_000);
        });
        assert!(!server.wait_for_stall(Duration::from_millis(1)));
    }
}
