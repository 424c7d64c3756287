//! Images over HTTPS, from a real server: openssl's.

use std::net::TcpListener;
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use super::*;

/// A server of the files in its folder, with a certificate for localhost by an authority of its own.
struct Server {
    dir: tempfile::TempDir,
    port: u16,
    process: Child,
}

impl Server {
    fn new(files: &[(&str, &[u8])]) -> Self {
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

    fn url(&self, name: &str) -> String {
        format!("https://localhost:{}/{name}", self.port)
    }

    fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn openssl(dir: &Path, arguments: &[&str]) -> Child {
    let mut command = Command::new("openssl");
    command.args(arguments).current_dir(dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

fn pin(tree: &Tree, ca: &Path) {
    fs::create_dir_all(tree.path("etc/abide")).unwrap();
    let text = format!("[download]\nca = '{}'\ngive_up_after = '400ms'\n", ca.display());
    fs::write(tree.path("etc/abide/abide.toml"), text).unwrap();
}

#[test]
fn an_image_comes_over_https_from_a_server_with_the_pinned_certificate() {
    let image = Image::new("2.0", "b");
    let bytes = image.zst();
    let list = format!("{}  edge.raw.zst\n", digest(&bytes));
    let server = Server::new(&[("edge.raw.zst", &bytes), ("SHA256SUMS", list.as_bytes())]);
    let tree = machine();
    pin(&tree, &server.ca());
    tree.abide(&["write", &server.url("edge.raw.zst")]).ok();
    staged(&tree, &image, &bytes);
}

#[test]
fn a_server_that_the_certificates_do_not_vouch_for_is_refused() {
    let server = Server::new(&[("edge.raw", b"x")]);
    let other = Server::new(&[]);
    let tree = machine();
    // With the system's certificates, with another authority's, and under another name.
    tree.abide(&["write", &server.url("edge.raw")]).fails(3);
    pin(&tree, &other.ca());
    let run = tree.abide(&["write", &server.url("edge.raw")]).fails(3);
    assert!(run.stderr.contains("certificate"), "{}", run.stderr);
    pin(&tree, &server.ca());
    tree.abide(&["write", &server.url("edge.raw").replace("localhost", "127.0.0.1")]).fails(3);
    pin(&tree, Path::new("/no/such/file"));
    tree.abide(&["write", &server.url("edge.raw")]).fails(2);
    untouched(&tree);
}
