//! A server that speaks TLS: openssl's.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use crate::process::program;

/// A server of the files in its folder, with a certificate for localhost by an authority of its own.
pub struct HttpsServer {
    dir: tempfile::TempDir,
    port: u16,
    process: Child,
}

impl HttpsServer {
    pub fn new(files: &[(&str, &[u8])]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            fs::write(dir.path().join(name), bytes).unwrap();
        }
        fs::write(dir.path().join("names"), "subjectAltName=DNS:localhost\n").unwrap();
        for step in [
            "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.pem",
            "req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout key.pem -out request.pem",
            "x509 -req -in request.pem -CA ca.pem -CAkey ca.key -days 2 -extfile names -out cert.pem",
        ] {
            let words: Vec<&str> = step.split(' ').collect();
            assert!(openssl(dir.path(), &words).wait().unwrap().success(), "{step}");
        }
        // Another test may take the port in between; then the server says so by ending.
        loop {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let arguments =
                ["s_server", "-accept", &port.to_string(), "-cert", "cert.pem", "-key", "key.pem", "-WWW"];
            let mut process = openssl(dir.path(), &arguments);
            loop {
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Self { dir, port, process };
                }
                if process.try_wait().unwrap().is_some() {
                    break;
                }
                std::thread::yield_now();
            }
        }
    }

    pub fn url(&self, name: &str) -> String {
        format!("https://localhost:{}/{name}", self.port)
    }

    pub fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }
}

impl Drop for HttpsServer {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn openssl(dir: &Path, arguments: &[&str]) -> Child {
    let mut command = program("openssl");
    command.args(arguments).current_dir(dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}
