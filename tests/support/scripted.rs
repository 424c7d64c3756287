//! A web server that answers as a test says, byte by byte.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread;

/// A request.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    pub method: String,
    /// As it stands in the request.
    pub target: String,
    /// Names in lower case.
    headers: Vec<(String, String)>,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The first byte of the range that is asked for.
    pub fn start(&self) -> usize {
        let range = self.header("range").and_then(|range| range.strip_prefix("bytes="));
        range.map_or(0, |range| range.trim_end_matches('-').parse().unwrap())
    }
}

/// It goes with the process.
pub struct Scripted {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Scripted {
    /// `answer` gives everything that is sent before the connection is closed. As a proxy it is at the other
    /// end of its tunnels, too.
    pub fn new(answer: impl Fn(&Asked) -> Vec<u8> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(vec![]));
        let log = Arc::clone(&asked);
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut lines = BufReader::new(stream.try_clone().unwrap());
                loop {
                    let request = read(&mut lines);
                    log.lock().unwrap().push(request.clone());
                    let is_tunnel = request.method == "CONNECT";
                    let answer =
                        if is_tunnel { b"HTTP/1.1 200 Go on\r\n\r\n".to_vec() } else { answer(&request) };
                    // The client may have disconnected already.
                    if stream.write_all(&answer).is_err() || !is_tunnel {
                        break;
                    }
                }
            }
        });
        Self { address, asked }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// All requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

fn read(stream: &mut impl BufRead) -> Asked {
    let mut lines = stream.lines().map_while(Result::ok);
    let first = lines.next().unwrap_or_default();
    let mut words = first.split(' ').map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let headers = lines
        .take_while(|line| !line.is_empty())
        .filter_map(|line| {
            line.split_once(':').map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
        })
        .collect();
    Asked { method, target, headers }
}

/// An answer: the status line's end, more header lines, and the body.
pub fn answer(status: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let mut all = format!("HTTP/1.1 {status}\r\nConnection: close\r\n");
    for header in headers {
        all += header;
        all += "\r\n";
    }
    [(all + "\r\n").as_bytes(), body].concat()
}

/// A whole file.
pub fn whole(body: &[u8]) -> Vec<u8> {
    answer("200 OK", &[&format!("Content-Length: {}", body.len())], body)
}
