//! A web server with programmed behaviour.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

/// What the server answers to any request.
#[derive(Debug, Clone)]
pub enum Answer {
    /// The file, as it is.
    Whole(Vec<u8>),
    /// The same, and nothing beside it.
    Bare(Vec<u8>),
    /// A status without a file.
    Status(u16),
    /// The file's length is announced, but the connection ends after so many bytes.
    CutAfter(usize, Vec<u8>),
    /// Every connection ends after so many bytes; ranges are honoured as long as the file is the same.
    Drops(usize, Vec<u8>),
    /// As before, but each answer is of another version of the file.
    Changes(usize, Vec<u8>),
    /// A redirect to this URL.
    Redirect(String),
}

/// Starts a server; it goes with the process. Returns the URL of the file.
pub fn serve(answer: Answer) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/edge.raw", listener.local_addr().unwrap());
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let Ok(stream) = stream else { continue };
            // The client may have disconnected already.
            drop(respond(stream, number, &answer));
        }
    });
    url
}

/// A server of a folder's files that remembers what it was asked for.
pub struct Folder {
    /// Of the folder.
    pub url: String,
    /// The paths, in order; behind them the first byte, where that is not the first of the file, or the range that was asked for.
    pub asked: Arc<Mutex<Vec<String>>>,
    /// Bytes after which the next answer that is longer breaks off.
    pub cut: Arc<Mutex<Option<usize>>>,
}

impl Folder {
    pub fn serve(folder: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let it = Self { url, asked: Arc::default(), cut: Arc::default() };
        let (log, cut, folder) = (Arc::clone(&it.asked), Arc::clone(&it.cut), folder.to_owned());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                drop(send_file(stream, &folder, &log, &cut));
            }
        });
        it
    }

    /// What it was asked for since the last time.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

fn send_file(
    mut stream: TcpStream,
    folder: &Path,
    log: &Mutex<Vec<String>>,
    cut: &Mutex<Option<usize>>,
) -> std::io::Result<()> {
    let mut request = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    request.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut range = String::new();
    line.clear();
    while request.read_line(&mut line)? > 2 {
        if let Some(asked) = line.to_lowercase().strip_prefix("range: bytes=") {
            range = asked.trim().to_owned();
        }
        line.clear();
    }
    let (start, last) = range.split_once('-').unwrap_or(("0", ""));
    let (start, last): (usize, Option<usize>) = (start.parse().unwrap(), last.parse().ok());
    let what = match last {
        Some(last) => format!("{path} {start}-{last}"),
        None if start > 0 => format!("{path} {start}"),
        None => path.clone(),
    };
    log.lock().unwrap().push(what);
    let Ok(file) = std::fs::read(folder.join(path.trim_start_matches('/'))) else {
        return nothing(&mut stream, 404);
    };
    if start > 0 && start >= file.len() {
        return nothing(&mut stream, 416);
    }
    if let Some(last) = last {
        let wanted = &file[start..=last.min(file.len() - 1)];
        let range = format!("bytes {start}-{last}/{}", file.len());
        let head =
            format!("HTTP/1.1 206 Part\r\nContent-Range: {range}\r\nContent-Length: {}\r\n", wanted.len());
        write!(stream, "{head}Connection: close\r\n\r\n")?;
        let most = cut.lock().unwrap().take_if(|most| *most < wanted.len());
        return stream.write_all(&wanted[..most.unwrap_or(wanted.len())]);
    }
    let most = cut.lock().unwrap().take_if(|most| *most < file.len() - start);
    part(&mut stream, start, most.unwrap_or(usize::MAX), &file, &crate::tree::digest(&file))
}

fn respond(mut stream: TcpStream, number: usize, answer: &Answer) -> std::io::Result<()> {
    let mut request = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    request.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    line.clear();
    let mut start = 0;
    while request.read_line(&mut line)? > 2 {
        if let Some(range) = line.to_lowercase().strip_prefix("range: bytes=") {
            start = range.trim().trim_end_matches('-').parse().unwrap();
        }
        line.clear();
    }
    if let Some(name) = path.strip_prefix('/').filter(|name| *name != "edge.raw") {
        return beside(&mut stream, name, answer);
    }
    match answer {
        Answer::Whole(file) | Answer::Bare(file) => {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", file.len())?;
            stream.write_all(file)
        }
        Answer::Status(code) => {
            write!(stream, "HTTP/1.1 {code} No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
        }
        Answer::CutAfter(count, file) => {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", file.len())?;
            stream.write_all(&file[..*count])
        }
        Answer::Drops(count, file) => part(&mut stream, start, *count, file, "one"),
        Answer::Changes(count, file) => part(&mut stream, start, *count, file, &number.to_string()),
        Answer::Redirect(url) => {
            write!(
                stream,
                "HTTP/1.1 302 Found\r\nLocation: {url}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )
        }
    }
}

/// The list of digests is always right; there is nothing else beside the image.
fn beside(stream: &mut TcpStream, name: &str, answer: &Answer) -> std::io::Result<()> {
    let file = match answer {
        Answer::Whole(file) | Answer::CutAfter(_, file) => file,
        Answer::Drops(_, file) | Answer::Changes(_, file) => file,
        Answer::Bare(_) => return nothing(stream, 404),
        Answer::Status(code) => return nothing(stream, *code),
        Answer::Redirect(url) => {
            let url = url.replace("edge.raw", name);
            return write!(
                stream,
                "HTTP/1.1 302 Found\r\nLocation: {url}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
        }
    };
    let list = match name {
        "SHA256SUMS" => format!("{}  edge.raw\n", crate::tree::digest(file)),
        _ => return nothing(stream, 404),
    };
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{list}", list.len())
}

fn nothing(stream: &mut TcpStream, code: u16) -> std::io::Result<()> {
    write!(stream, "HTTP/1.1 {code} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

fn part(stream: &mut TcpStream, start: usize, count: usize, file: &[u8], tag: &str) -> std::io::Result<()> {
    let rest = &file[start..];
    let (last, len) = (file.len().saturating_sub(1), file.len());
    let status = if start == 0 {
        "200 OK".into()
    } else {
        format!("206 Part\r\nContent-Range: bytes {start}-{last}/{len}")
    };
    let head = format!("HTTP/1.1 {status}\r\nETag: \"{tag}\"\r\nContent-Length: {}\r\n", rest.len());
    write!(stream, "{head}Connection: close\r\n\r\n")?;
    stream.write_all(&rest[..count.min(rest.len())])
}
