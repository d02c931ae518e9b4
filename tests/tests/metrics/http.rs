//! Requests and answers, the usual and the unusual.

use crate::exposition::{self, Exposition};
use crate::{address, connect, daemon, exchange, printed, rest};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// One answer of a connection that goes on: head and body.
fn answer(stream: &mut TcpStream) -> (String, String) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    (head, String::from_utf8(body).unwrap())
}

const METRICS: &str = "GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n";
const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n";

#[test]
fn a_page_says_what_it_is() {
    let daemon = daemon(&[]);
    let mut stream = connect(address(&daemon));
    stream.write_all(METRICS.as_bytes()).unwrap();
    let (head, body) = answer(&mut stream);
    let kind = "\r\nContent-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n";
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains(kind), "{head}");
    let families = |text: &str| Exposition::read(text).families().len();
    assert_eq!(families(&body), families(&printed(&daemon)), "the same over both ways");
}

/// Readers of before OpenMetrics say what they take.
#[test]
fn the_older_format_is_for_who_names_it_alone() {
    let daemon = daemon(&[]);
    let page = |accept: &str| {
        let mut stream = connect(address(&daemon));
        let request = METRICS.replace("\r\n\r\n", &format!("\r\nAccept: {accept}\r\n\r\n"));
        stream.write_all(request.as_bytes()).unwrap();
        answer(&mut stream)
    };
    let (head, body) = page("text/plain;version=0.0.4;q=0.5, */*;q=0.1");
    assert!(
        head.contains("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"),
        "{head}"
    );
    assert!(body.contains("# TYPE mpserverd_starts_total counter\n"), "{body}");
    assert!(!body.contains("# EOF") && !body.contains("# UNIT"), "{body}");
    let lines = body.lines().filter(|line| !line.starts_with('#')).count();
    if let Some((families, samples)) = exposition::stock_older(&body) {
        let families_told = body.lines().filter(|line| line.starts_with("# TYPE ")).count();
        assert_eq!((families, samples), (families_told, lines));
    }
    exposition::check_by_promtool(&body);
    for accept in
        ["*/*", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5", "text/html"]
    {
        assert!(page(accept).1.ends_with("# EOF\n"), "{accept}");
    }
}

#[test]
fn a_connection_is_used_again_as_long_as_the_reader_wants() {
    let daemon = daemon(&[]);
    let mut stream = connect(address(&daemon));
    for _ in 0..5 {
        stream.write_all(METRICS.as_bytes()).unwrap();
        assert!(answer(&mut stream).0.contains("\r\nConnection: keep-alive\r\n"));
        stream.write_all(HEALTH.as_bytes()).unwrap();
        assert_eq!(answer(&mut stream).1, "ok\n");
    }
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    assert!(rest(&mut stream).ends_with("Connection: close\r\n\r\nok\n"));
    let old = exchange(address(&daemon), "GET /healthz HTTP/1.0\r\n\r\n");
    assert!(old.contains("\r\nConnection: close\r\n"), "{old}");
}

#[test]
fn requests_in_one_piece_are_answered_in_turn() {
    let daemon = daemon(&[]);
    let mut stream = connect(address(&daemon));
    let many = [HEALTH, METRICS].repeat(40).concat();
    stream.write_all(many.as_bytes()).unwrap();
    for _ in 0..40 {
        assert_eq!(answer(&mut stream).1, "ok\n");
        assert!(answer(&mut stream).1.ends_with("# EOF\n"));
    }
}

#[test]
fn a_request_may_come_in_pieces() {
    let daemon = daemon(&[]);
    let mut stream = connect(address(&daemon));
    stream.set_nodelay(true).unwrap();
    for byte in HEALTH.bytes() {
        stream.write_all(&[byte]).unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(answer(&mut stream).1, "ok\n");
}

#[test]
fn what_is_no_request_is_told_so() {
    let daemon = daemon(&[]);
    let long = format!("GET /metrics HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(100 << 10));
    for (text, status) in [
        ("GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n", "404 Not Found"),
        ("POST /metrics HTTP/1.1\r\nHost: a\r\n\r\n", "405 Method Not Allowed"),
        ("DELETE /healthz HTTP/1.1\r\nHost: a\r\n\r\n", "405 Method Not Allowed"),
        (&long, "431 Request Header Fields Too Large"),
        ("GET /metrics HTTP/1.1\r\n\r\n", "400 Bad Request"),
        ("GET /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", "400 Bad Request"),
        ("\u{16}\u{3}\u{1}\u{2}hello, this is TLS\r\n\r\n", "400 Bad Request"),
        ("GET /metrics HTTP/3.0\r\nHost: a\r\n\r\n", "505 HTTP Version Not Supported"),
    ] {
        let mut stream = connect(address(&daemon));
        // All of a long one may not be taken.
        let _ = stream.write_all(text.as_bytes());
        let said = rest(&mut stream);
        assert!(said.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{text}: {said}");
        assert!(said.contains("\r\nConnection: close\r\n"), "{said}");
        assert!(!status.starts_with("405") || said.contains("\r\nAllow: GET\r\n"), "{said}");
    }
    assert!(exchange(address(&daemon), HEALTH.replace("1.1", "1.0").as_str()).ends_with("ok\n"));
}

#[test]
fn health_follows_the_daemon() {
    let mut daemon = daemon(&["--grace", "1m"]);
    let ask = || exchange(address(&daemon), "GET /healthz HTTP/1.0\r\n\r\n");
    assert!(
        mpserverd_tests::eventually(mpserverd_tests::suite::PATIENCE, || ask().ends_with("ok\n"))
    );
    let process = daemon.context().process::<crate::sleep_for_ever>(()).start().unwrap();
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    let stopping = || {
        let said = ask();
        said.starts_with("HTTP/1.1 503 ") && said.ends_with("stopping\n")
    };
    assert!(mpserverd_tests::eventually(mpserverd_tests::suite::PATIENCE, stopping));
    process.kill().unwrap();
    process.join();
    assert!(daemon.stop().success());
}
