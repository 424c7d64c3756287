//! Proxies: those that curl takes, by the same variables.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use abide_testing::scripted::{answer, whole};
use abide_testing::skip::skipped;

use super::*;

/// Something that listens where a proxy is configured, and how often it was reached.
struct Door {
    address: SocketAddr,
    reached: Arc<AtomicUsize>,
}

impl Door {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, reached) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&reached);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                count.fetch_add(1, Ordering::SeqCst);
                let mut request = [0; 1024];
                drop(stream.read(&mut request));
                drop(stream.write_all(b"HTTP/1.1 502 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"));
            }
        });
        Self { address, reached }
    }

    fn reached_by(&self, run: impl FnOnce()) -> bool {
        let before = self.reached.load(Ordering::SeqCst);
        run();
        self.reached.load(Ordering::SeqCst) > before
    }
}

/// Variables, a URL, and what is wanted.
type Case = (&'static [(&'static str, &'static str)], &'static str, Option<bool>);

/// The variables, with `P` for the proxy; the URL; and whether the proxy is used, where curl does otherwise in some version.
const CASES: [Case; 30] = [
    (&[("http_proxy", "http://P")], "http://a.invalid:9/x.raw", None),
    (&[("http_proxy", "P")], "http://127.0.0.1:9/x.raw", None),
    (&[("http_proxy", "http://P")], "https://127.0.0.1:9/x.raw", None),
    (&[("https_proxy", "http://P")], "https://a.invalid:9/x.raw", None),
    (&[("https_proxy", "http://P")], "http://127.0.0.1:9/x.raw", None),
    (&[("HTTPS_PROXY", "http://P")], "https://a.invalid:9/x.raw", None),
    (&[("all_proxy", "http://P")], "http://a.invalid:9/x.raw", None),
    (&[("ALL_PROXY", "http://P")], "https://a.invalid:9/x.raw", None),
    (&[("ALL_PROXY", "http://127.0.0.1:9"), ("all_proxy", "http://P")], "http://a.invalid:9/x.raw", None),
    (&[("all_proxy", "http://P"), ("http_proxy", "http://127.0.0.1:9")], "http://a.invalid:9/x.raw", None),
    (&[("all_proxy", "http://P"), ("http_proxy", "")], "http://a.invalid:9/x.raw", None),
    (&[("HTTP_PROXY", "http://P")], "http://127.0.0.1:9/x.raw", Some(true)),
    (&[("HTTP_PROXY", "http://127.0.0.1:9"), ("all_proxy", "http://P")], "http://a.invalid:9/x.raw", None),
    (&[("all_proxy", "http://P"), ("no_proxy", "x.invalid, a.invalid")], "http://a.invalid:9/x.raw", None),
    (&[("all_proxy", "http://P"), ("no_proxy", "x.invalid a.invalid")], "http://a.invalid:9/x.raw", None),
    (&[("all_proxy", "http://P"), ("NO_PROXY", ".invalid")], "http://a.invalid:9/x.raw", None),
    (&[("all_proxy", "http://P"), ("no_proxy", "nvalid")], "http://a.invalid:9/x.raw", None),
    (&[("all_proxy", "http://P"), ("no_proxy", "A.INVALID.")], "http://a.invalid:9/x.raw", None),
    (&[("all_proxy", "http://P"), ("no_proxy", "a.invalid:9")], "http://a.invalid:9/x.raw", None),
    (&[("all_proxy", "http://P"), ("no_proxy", "*")], "http://a.invalid:9/x.raw", None),
    (&[("all_proxy", "http://P"), ("no_proxy", "b, *")], "http://a.invalid:9/x.raw", Some(false)),
    (&[("all_proxy", "http://P"), ("no_proxy", "*.invalid")], "http://a.invalid:9/x.raw", Some(false)),
    (&[("all_proxy", "http://P"), ("no_proxy", "127.0.0.0/8")], "http://127.0.0.1:9/x.raw", None),
    (&[("all_proxy", "http://P"), ("no_proxy", "127.0.0.1")], "http://127.0.0.1:9/x.raw", None),
    (&[("all_proxy", "http://P"), ("no_proxy", "126.0.0.0/8")], "http://127.0.0.1:9/x.raw", None),
    (&[("all_proxy", "http://P"), ("no_proxy", "0.0.0.0/0")], "http://127.0.0.1:9/x.raw", Some(false)),
    (&[("all_proxy", "http://P"), ("no_proxy", "::1/128")], "http://[::1]:9/x.raw", Some(false)),
    (&[("all_proxy", "http://P"), ("no_proxy", "::2/128")], "http://[::1]:9/x.raw", None),
    (&[("all_proxy", "http://P"), ("no_proxy", "localhost")], "http://localhost:9/x.raw", None),
    (&[("http_proxy", "http://u:p@P/path")], "http://a.invalid:9/x.raw", None),
];

#[test]
fn a_request_takes_the_proxy_that_curl_takes() {
    if program("curl").arg("--version").stdout(Stdio::null()).status().is_err() {
        return skipped("proxies beside curl's", "there is no curl");
    }
    let door = Door::new();
    let tree = Tree::running("1.0");
    for (variables, url, known) in CASES {
        let place = door.address.to_string();
        let variables: Vec<_> =
            variables.iter().map(|(name, value)| (*name, value.replace('P', &place))).collect();
        let ours = door.reached_by(|| {
            Run::of(tree.command().envs(variables.clone()).args(["write", url])).fails(3);
        });
        let wanted = known.unwrap_or_else(|| {
            door.reached_by(|| {
                let mut curl = program("curl");
                curl.envs(variables.clone())
                    .args(["-s", "-m", "5", "-o", "/dev/null", url])
                    .status()
                    .unwrap();
            })
        });
        assert_eq!(ours, wanted, "{variables:?} {url}");
    }
}

#[test]
fn no_client_connects_past_a_proxy_that_cannot_be_used() {
    let door = Door::new();
    let url = format!("http://{}/x", door.address);
    let tree = Tree::running("1.0");
    fs::create_dir_all(tree.path("etc/abide")).unwrap();
    let token = tree.path("etc/abide/token");
    fs::write(&token, "t").unwrap();
    fs::set_permissions(&token, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let feed = format!("[update]\nfeed = '{url}/'\n");
    let hawkbit = format!("[update.hawkbit]\nurl = '{url}'\nid = 'n'\ntoken = '/etc/abide/token'\n");
    let check = format!("[[check]]\nname = 'c'\nkind = 'http'\nurl = '{url}'\ntimeout = '5s'\n");
    let image = format!("{url}.raw");
    let cases: [(&str, &[&str], i32); 4] = [
        ("", &["write", &image], 2),
        (&feed, &["update", "--check"], 2),
        (&hawkbit, &["update", "--check"], 2),
        (&check, &["check"], 1),
    ];
    for (config, words, code) in cases {
        fs::write(tree.path("etc/abide/abide.toml"), config).unwrap();
        for value in ["ftp://u:secret@p:1", "http://p:port"] {
            let mut run = None;
            let reached = door.reached_by(|| {
                let mut command = tree.command();
                run = Some(Run::of(command.env("http_proxy", value).args(words)).fails(code));
            });
            let run = run.unwrap();
            let said = run.stdout + &run.stderr;
            assert!(said.contains("http_proxy") && said.contains("unset it"), "{words:?}: {said}");
            assert!(!said.contains("secret") && !reached, "{words:?}: {said}");
        }
    }
}

#[test]
fn a_proxy_that_does_not_answer_is_named() {
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let tree = Tree::running("1.0");
    fs::create_dir_all(tree.path("etc/abide")).unwrap();
    let hawkbit = "[update.hawkbit]\nurl = 'http://a.invalid'\nid = 'n'\n";
    let check = "[[check]]\nname = 'c'\nkind = 'http'\nurl = 'http://a.invalid/'\ntimeout = '5s'\n";
    let cases: [(&str, &[&str], i32); 4] = [
        ("[download]\ngive_up_after = '1s'\n", &["write", "http://a.invalid/x.raw"], 3),
        (
            "[update]\nfeed = 'http://a.invalid/'\n[download]\ngive_up_after = '1s'\n",
            &["update", "--check"],
            3,
        ),
        (hawkbit, &["update", "--check"], 1),
        (check, &["check"], 1),
    ];
    for (config, words, code) in cases {
        fs::write(tree.path("etc/abide/abide.toml"), config).unwrap();
        let mut command = tree.command();
        let run =
            Run::of(command.env("http_proxy", format!("http://u:secret@{dead}")).args(words)).fails(code);
        let said = run.stdout + &run.stderr;
        let named =
            format!("connection refused; the request goes through the proxy in http_proxy ('http://{dead}')");
        assert!(said.contains(&named), "{words:?}: {said}");
        assert!(!said.contains("secret") && !said.contains("os error") && !said.contains("io:"), "{said}");
    }
}

#[test]
fn the_doctor_names_a_proxy_that_cannot_be_used() {
    let tree = Tree::running("1.0");
    fs::create_dir_all(tree.path("etc/abide")).unwrap();
    for (config, is_found) in [
        ("[update]\nfeed = 'http://a.invalid/'\n", true),
        ("[update.hawkbit]\nurl = 'http://a.invalid'\nid = 'n'\n", true),
        ("[update]\nfeed = 'http://b.invalid/'\n", false),
        ("[update]\nfeed = '/images'\n", false),
        ("[report]\nurl = 'http://a.invalid/'\n", true),
        ("", false),
    ] {
        fs::write(tree.path("etc/abide/abide.toml"), config).unwrap();
        let mut command = tree.command();
        command.env("http_proxy", "http://p:port").env("no_proxy", "b.invalid");
        let json = Run::of(command.args(["doctor", "--json"])).json();
        let findings = json["findings"].as_array().unwrap();
        let found = findings.iter().find(|finding| finding["id"] == "proxy");
        assert_eq!(found.is_some(), is_found, "{config}: {json}");
        let what = found.map(|finding| finding["what"].to_string()).unwrap_or_default();
        assert!(!is_found || what.contains("http_proxy"), "{what}");
    }
}

/// A SOCKS proxy that connects everybody to `target`; version 5, and 4 with names.
fn socks(target: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || drop(relay(stream, target)));
        }
    });
    address
}

fn relay(mut client: TcpStream, target: SocketAddr) -> std::io::Result<()> {
    let mut request = [0; 512];
    let count = client.read(&mut request)?;
    if request[0] == 5 {
        client.write_all(&[5, 0])?;
        let count = client.read(&mut request)?;
        assert!(
            request[..count].windows(15).any(|part| part == b"updates.invalid"),
            "the name is resolved there"
        );
        client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])?;
    } else {
        assert!(request[..count].windows(15).any(|part| part == b"updates.invalid"));
        client.write_all(&[0, 90, 0, 0, 0, 0, 0, 0])?;
    }
    let mut server = TcpStream::connect(target)?;
    let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
    std::thread::spawn(move || {
        drop(std::io::copy(&mut from, &mut to));
        drop(to.shutdown(Shutdown::Write));
    });
    std::io::copy(&mut server, &mut client)?;
    client.shutdown(Shutdown::Write)
}

#[test]
fn a_feed_is_followed_through_a_socks_proxy() {
    let feed = Feed::new();
    feed.publish("2.0", "b");
    let folder = feed.path("");
    let server =
        Scripted::new(move |asked| match fs::read(folder.join(asked.target.trim_start_matches('/'))) {
            Ok(bytes) => whole(&bytes),
            Err(_) => answer("404 Not Found", &["Content-Length: 0"], b""),
        });
    let proxy = socks(server.address);
    for scheme in ["socks5h", "socks4a"] {
        let tree = machine(&feed);
        fs::write(tree.path("etc/abide/abide.toml"), "[update]\nfeed = 'http://updates.invalid/'\n").unwrap();
        let mut command = tree.command();
        Run::of(command.env("all_proxy", format!("{scheme}://{proxy}")).arg("update")).ok();
        assert!(reboots(&tree));
    }
}
