//! A web server that does as it is told.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

/// What the server answers to any request.
#[derive(Debug, Clone)]
pub enum Answer {
    /// The file, as it is.
    Whole(Vec<u8>),
    /// A status without a file.
    Status(u16),
    /// The file's length is announced, but the connection ends after so many bytes.
    CutAfter(usize, Vec<u8>),
    /// A redirect to this URL.
    Redirect(String),
}

/// Starts a server; it goes with the process. Returns the URL of the file.
pub fn serve(answer: Answer) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/edge.raw", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { continue };
            // Whoever asked may be gone already.
            drop(respond(stream, &answer));
        }
    });
    url
}

fn respond(mut stream: TcpStream, answer: &Answer) -> std::io::Result<()> {
    let mut request = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    while request.read_line(&mut line)? > 2 {
        line.clear();
    }
    match answer {
        Answer::Whole(file) => {
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
        Answer::Redirect(url) => {
            write!(
                stream,
                "HTTP/1.1 302 Found\r\nLocation: {url}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )
        }
    }
}
