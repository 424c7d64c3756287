//! Servers that send wrong data, servers that redirect, and proxies between.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use abide_testing::scripted::{answer, whole};
use abide_testing::{Asked, Scripted};

use super::*;

const NOT_FOUND: &str = "404 Not Found";

/// The published image.
fn image() -> Vec<u8> {
    Image::new("2.0", "b").zst()
}

/// A machine that gives up soon, and takes an image without a list of digests.
fn impatient() -> Tree {
    let tree = machine();
    configure(&tree, "[download]\ngive_up_after = '400ms'\n[trust]\npolicy = 'none'\n");
    tree
}

fn configure(tree: &Tree, text: &str) {
    fs::create_dir_all(tree.path("etc/abide")).unwrap();
    fs::write(tree.path("etc/abide/abide.toml"), text).unwrap();
}

/// A server of the image, and of nothing beside it.
fn only_image(answer_image: impl Fn(&Asked) -> Vec<u8> + Send + 'static) -> Scripted {
    Scripted::new(move |asked| match asked.target.ends_with("/edge.raw") {
        true => answer_image(asked),
        false => answer(NOT_FOUND, &[], b""),
    })
}

/// Nothing was changed yet, or nothing boots the slot any more.
#[track_caller]
fn harmless(tree: &Tree) {
    if tree.entries().len() == 2 { untouched(tree) } else { unbootable(tree) }
}

#[track_caller]
fn write_from(tree: &Tree, server: &Scripted) -> Run {
    tree.abide(&["write", &server.url("edge.raw")])
}

#[test]
fn a_length_that_is_a_lie_is_an_error_whichever_way_it_lies() {
    let bytes = image();
    for length in [0, 1, bytes.len() / 2, bytes.len() - 1, bytes.len() + 1, usize::MAX] {
        let file = bytes.clone();
        let server = only_image(move |_| answer("200 OK", &[&format!("Content-Length: {length}")], &file));
        let tree = impatient();
        write_from(&tree, &server).fails(3);
        harmless(&tree);
        // With a digest that is known, less than was published is another image.
        if length > 1 && length < bytes.len() {
            let run = tree.abide(&["write", &server.url("edge.raw"), "--sha256", &digest(&bytes)]);
            run.fails(7);
            harmless(&tree);
        }
    }
    for length in ["-1", "many", "18446744073709551616"] {
        let file = bytes.clone();
        let server = only_image(move |_| answer("200 OK", &[&format!("Content-Length: {length}")], &file));
        let tree = impatient();
        write_from(&tree, &server).fails(3);
        untouched(&tree);
    }
}

/// A server whose first answer breaks off in the middle, and what it says when it is asked to go on.
fn breaks_off(then: impl Fn(&Asked, &[u8]) -> Vec<u8> + Send + 'static) -> Scripted {
    only_image(move |asked| match asked.start() {
        0 => {
            let file = image();
            let length = format!("Content-Length: {}", file.len());
            answer("200 OK", &[&length, "ETag: \"one\""], &file[..file.len() / 2])
        }
        _ => then(asked, &image()),
    })
}

fn range(first: usize, last: usize, len: &str, body: &[u8]) -> Vec<u8> {
    let headers =
        [format!("Content-Range: bytes {first}-{last}/{len}"), format!("Content-Length: {}", body.len())];
    answer("206 Partial Content", &[&headers[0], &headers[1], "ETag: \"one\""], body)
}

#[test]
fn any_answer_to_a_range_request_leads_to_the_whole_image() {
    type Then = fn(&Asked, &[u8]) -> Vec<u8>;
    let answers: [Then; 3] = [
        |asked, file| range(asked.start(), file.len() - 1, &file.len().to_string(), &file[asked.start()..]),
        // More than was asked for.
        |asked, file| {
            let first = asked.start() - 100;
            range(first, file.len() - 1, &file.len().to_string(), &file[first..])
        },
        // It knows no ranges.
        |_, file| answer("200 OK", &[&format!("Content-Length: {}", file.len()), "ETag: \"one\""], file),
    ];
    for then in answers {
        let tree = impatient();
        let server = breaks_off(then);
        write_from(&tree, &server).ok();
        staged(&tree, &Image::new("2.0", "b"), &image());
        let asked = server.asked().pop().unwrap();
        assert_eq!(asked.header("if-range"), Some("\"one\""));
    }
}

#[test]
fn an_answer_that_does_not_go_on_where_it_was_asked_to_is_an_error() {
    type Then = fn(&Asked, &[u8]) -> Vec<u8>;
    let answers: [(&str, Then); 8] = [
        ("a different byte range", |asked, file| {
            let first = asked.start() + 1;
            range(first, file.len() - 1, &file.len().to_string(), &file[first..])
        }),
        ("changed during", |asked, file| {
            range(asked.start(), file.len(), &(file.len() + 1).to_string(), &file[asked.start()..])
        }),
        ("invalid Content-Range", |_, _| answer("206 Partial Content", &["Content-Range: bytes x-y/z"], b"")),
        ("invalid Content-Range", |asked, file| {
            answer("206 Partial Content", &["ETag: \"one\""], &file[asked.start()..])
        }),
        ("changed during", |_, _| answer("200 OK", &["Content-Length: 3", "ETag: \"two\""], b"abc")),
        ("416", |_, _| answer("416 Range Not Satisfiable", &["Content-Range: bytes */5"], b"")),
        ("404", |_, _| answer(NOT_FOUND, &[], b"")),
        ("500", |_, _| answer("500 Oh", &[], b"")),
    ];
    for (words, then) in answers {
        let tree = impatient();
        let run = write_from(&tree, &breaks_off(then)).fails(3);
        let last = run.stderr.lines().last().unwrap();
        assert!(last.contains(words), "{words}: {}", run.stderr);
        harmless(&tree);
    }
}

#[test]
fn the_page_of_a_captive_portal_is_told_as_such() {
    let page = b"\r\n<!DOCTYPE html><html>Please log in</html>";
    let tree = impatient();
    let portals = [
        only_image(|_| answer("200 OK", &["Content-Type: text/html"], page)),
        // In mid-download.
        breaks_off(|_, _| answer("200 OK", &["Content-Type: text/html"], page)),
    ];
    for portal in portals {
        let run = write_from(&tree, &portal).fails(3);
        assert!(run.stderr.lines().last().unwrap().contains("web page: a captive portal"), "{}", run.stderr);
    }
    let saved = publish(&tree, "saved.raw", page);
    let run = tree.abide(&["write", &saved]).fails(3);
    assert!(run.stderr.contains("is a web page, not an image"), "{}", run.stderr);
    harmless(&tree);
}

#[test]
fn a_server_that_recovers_within_the_time_is_waited_for() {
    let tries = Mutex::new(0);
    let server = breaks_off(move |asked, file| {
        let mut tries = tries.lock().unwrap();
        *tries += 1;
        if *tries < 3 {
            return answer("503 Later", &[], b"");
        }
        range(asked.start(), file.len() - 1, &file.len().to_string(), &file[asked.start()..])
    });
    let tree = machine();
    configure(&tree, "[download]\ngive_up_after = '60s'\n[trust]\npolicy = 'none'\n");
    write_from(&tree, &server).ok();
    staged(&tree, &Image::new("2.0", "b"), &image());
}

#[test]
fn a_redirect_to_another_host_takes_no_password_along() {
    let there = only_image(|_| whole(&image()));
    let target = there.url("edge.raw").replace("127.0.0.1", "localhost");
    let here = Scripted::new(move |asked| match asked.target.split_once('?') {
        Some(("/edge.raw", _)) => {
            answer("302 Found", &[&format!("Location: {target}"), "Content-Length: 0"], b"")
        }
        _ => answer(NOT_FOUND, &[], b""),
    });
    let tree = impatient();
    let url = here.url("edge.raw?token=secret").replace("http://", "http://me:secret@");
    let run = tree.abide(&["write", &url]).ok();
    staged(&tree, &Image::new("2.0", "b"), &image());
    let authorized: Vec<bool> = here.asked().iter().map(|a| a.header("authorization").is_some()).collect();
    assert!(authorized.iter().all(|it| *it), "{:?}", here.asked());
    for asked in there.asked() {
        assert!(!format!("{asked:?}").contains("secret"), "{asked:?}");
        assert_eq!((asked.header("authorization"), asked.header("referer")), (None, None));
    }
    assert!(!run.stderr.contains("secret") && !run.stdout.contains("secret"));
}

#[test]
fn a_password_in_a_url_is_not_in_an_error_either() {
    let server = Scripted::new(|_| answer("403 No", &[], b""));
    let tree = impatient();
    let url = server.url("edge.raw?token=secret").replace("http://", "http://me:secret@");
    let run = tree.abide(&["write", &url]).fails(3);
    assert!(!run.stderr.contains("secret"), "{}", run.stderr);
    untouched(&tree);
}

#[test]
fn redirects_in_a_circle_and_to_nowhere_are_errors() {
    let circle = Scripted::new(|_| answer("302 Found", &["Location: /edge.raw", "Content-Length: 0"], b""));
    let tree = impatient();
    write_from(&tree, &circle).fails(3);
    for location in ["ftp://127.0.0.1/edge.raw", "http://", "file:///etc/passwd", ":"] {
        let server = Scripted::new(move |_| {
            answer("302 Found", &[&format!("Location: {location}"), "Content-Length: 0"], b"")
        });
        write_from(&tree, &server).fails(3);
    }
    untouched(&tree);
}

#[test]
fn proxy_variables_are_obeyed() {
    let tree = impatient();
    let proxy = only_image(|_| whole(&image()));
    let run = |variables: &[(&str, &str)], url: &str| {
        Run::of(tree.command().envs(variables.iter().copied()).args(["write", url]))
    };
    let url = format!("http://{}", proxy.address);
    for variable in ["http_proxy", "all_proxy"] {
        run(&[(variable, &url)], "http://updates.invalid/edge.raw").ok();
        let asked = proxy.asked();
        let tunnel = asked.iter().rev().find(|asked| asked.method == "CONNECT").unwrap();
        assert_eq!(tunnel.target, "updates.invalid:80");
    }
    let before = proxy.asked().len();
    let direct = only_image(|_| whole(&image()));
    run(&[("http_proxy", &url), ("no_proxy", "127.0.0.1")], &direct.url("edge.raw")).ok();
    assert_eq!(proxy.asked().len(), before);
    assert!(!direct.asked().is_empty());
}

#[test]
fn a_rate_limit_is_kept() {
    let bytes = Image::new("2.0", "b").bytes();
    let file = bytes.clone();
    let server = only_image(move |_| whole(&file));
    let tree = machine();
    configure(&tree, "[download]\nrate_limit = '4M'\n[trust]\npolicy = 'none'\n");
    let start = Instant::now();
    write_from(&tree, &server).ok();
    let least = Duration::from_secs_f64(bytes.len() as f64 / f64::from(4 << 20));
    assert!(start.elapsed() >= least, "{:?}", start.elapsed());
}
