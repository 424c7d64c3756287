//! FleetLock servers: airlock with etcd, if available; and one written from the text of the protocol, for other
//! machines and for misbehaviour.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use crate::child_server::fetch;
use crate::process;

/// A server with one lock for the group `default`.
pub trait LockServer {
    fn url(&self) -> String;
    /// The machines that hold the lock, as the operator sees them.
    fn holders(&self) -> Vec<String>;
}

/// By the text of the protocol.
pub struct Plain {
    url: String,
    holders: Arc<Mutex<BTreeSet<String>>>,
    /// It answers with this status, and not by the protocol.
    pub away: Arc<Mutex<Option<u16>>>,
}

impl Plain {
    pub fn serve() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/fleet/lock", listener.local_addr().unwrap());
        let holders = Arc::new(Mutex::new(BTreeSet::new()));
        let away = Arc::new(Mutex::new(None));
        let (held, gone) = (Arc::clone(&holders), Arc::clone(&away));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let status = *gone.lock().unwrap();
                // The client may have disconnected already.
                drop(answer(stream, &held, status));
            }
        });
        Self { url, holders, away }
    }
}

impl LockServer for Plain {
    fn url(&self) -> String {
        self.url.clone()
    }

    fn holders(&self) -> Vec<String> {
        self.holders.lock().unwrap().iter().cloned().collect()
    }
}

fn answer(
    mut stream: TcpStream,
    holders: &Mutex<BTreeSet<String>>,
    away: Option<u16>,
) -> std::io::Result<()> {
    let mut request = BufReader::new(stream.try_clone()?);
    let (mut head, mut line, mut len, mut marked) = (String::new(), String::new(), 0, false);
    request.read_line(&mut head)?;
    while request.read_line(&mut line)? > 2 {
        let lower = line.to_lowercase();
        len = lower.strip_prefix("content-length:").map_or(len, |n| n.trim().parse().unwrap());
        marked |= lower.trim() == "fleet-lock-protocol: true";
        line.clear();
    }
    let mut body = vec![0; len];
    request.read_exact(&mut body)?;
    let (status, text) = match away.map_or_else(|| judge(&head, marked, &body, holders), |_| Ok(())) {
        Ok(()) => (away.unwrap_or(200), String::new()),
        Err((status, kind)) => (status, format!(r#"{{"kind":"{kind}","value":"no"}}"#)),
    };
    let len = text.len();
    write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n{text}")
}

fn judge(
    head: &str,
    marked: bool,
    body: &[u8],
    holders: &Mutex<BTreeSet<String>>,
) -> Result<(), (u16, &'static str)> {
    let what =
        head.split(' ').nth(1).and_then(|path| path.strip_prefix("/fleet/lock/v1/")).unwrap_or_default();
    let json: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let client = &json["client_params"];
    let id = client["id"].as_str().filter(|id| !id.is_empty() && marked && head.starts_with("POST "));
    let id = id.ok_or((400, "invalid_client_identity"))?;
    if client["group"] != "default" {
        return Err((400, "unknown_group"));
    }
    let mut holders = holders.lock().unwrap();
    match what {
        "pre-reboot" if holders.is_empty() || holders.contains(id) => {
            holders.insert(id.to_owned());
        }
        "pre-reboot" => return Err((423, "lock_held")),
        "steady-state" => {
            holders.remove(id);
        }
        _ => return Err((404, "not_found")),
    }
    Ok(())
}

/// The real one.
pub struct Airlock {
    dir: tempfile::TempDir,
    program: String,
    port: u16,
    children: Vec<Child>,
}

impl Airlock {
    /// Starts one, with an etcd of its own.
    ///
    /// # Errors
    /// Why it is not available here.
    pub fn start(repository: &Path) -> Result<Self, String> {
        let script = repository.join("tests/servers/airlock/fetch");
        let program = fetch(&script, &repository.join("target/servers/airlock"))?;
        let ports = [0; 3].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
        let [client, peer, port] = ports.map(|listener| listener.local_addr().unwrap().port());
        let dir = tempfile::tempdir().unwrap();
        let (clients, peers) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
        let config = format!(
            "[status]\nenabled = false\n[service]\naddress = '127.0.0.1'\nport = {port}\ntls = false\n\
             [etcd3]\nendpoints = ['{clients}']\n[lock]\ndefault_group_name = 'default'\ndefault_slots = 1\n"
        );
        fs::write(dir.path().join("airlock.toml"), config).unwrap();
        let mut etcd = process::program("etcd");
        etcd.arg("--data-dir").arg(dir.path().join("etcd")).args([
            "--listen-client-urls",
            &clients,
            "--advertise-client-urls",
            &clients,
            "--listen-peer-urls",
            &peers,
            "--initial-advertise-peer-urls",
            &peers,
            "--initial-cluster",
            &format!("default={peers}"),
        ]);
        let mut airlock = process::program(&program);
        airlock.arg("serve").arg("-c").arg(dir.path().join("airlock.toml"));
        let children = [etcd, airlock].map(|mut command| {
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        });
        let it = Self { dir, program, port, children: children.into() };
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() || it.slots().is_none() {
            assert!(started.elapsed() < Duration::from_secs(200), "airlock does not start");
            sleep(Duration::from_millis(100));
        }
        Ok(it)
    }

    /// What `airlock ex get slots` says.
    fn slots(&self) -> Option<String> {
        let mut ask = process::program(&self.program);
        ask.args(["ex", "get", "slots", "-c"]).arg(self.dir.path().join("airlock.toml"));
        let output = ask.output().unwrap();
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl LockServer for Airlock {
    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn holders(&self) -> Vec<String> {
        let slots = self.slots().unwrap();
        slots.lines().filter_map(|line| line.strip_prefix(" - ")).map(str::to_owned).collect()
    }
}

impl Drop for Airlock {
    fn drop(&mut self) {
        for child in &mut self.children {
            // It may have ended by itself.
            drop(child.kill());
            drop(child.wait());
        }
    }
}
