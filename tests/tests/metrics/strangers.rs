//! Readers that are too many, too slow, or gone: each loses its own connection, and clients never
//! notice.

use crate::{address, connect, daemon, end_with, exchange, rest, scrape};
use mpserverd_tests::daemon::Daemon;
use mpserverd_tests::suite::{PATIENCE, end};
use mpserverd_tests::{eventually, proc};
use std::io::{Read, Write};
use std::time::{Duration, Instant};

fn serves(daemon: &Daemon) {
    let process = daemon.context().process::<end_with>((0,)).start().unwrap();
    assert_eq!(end(&process), 0);
}

/// The status of a short answer that may also be a hang-up.
fn status(daemon: &Daemon) -> Option<String> {
    let mut stream = connect(address(daemon));
    let _ = stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n");
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said);
    let said = String::from_utf8(said).unwrap();
    said.split_once(' ').map(|(_, rest)| rest[..3].to_owned())
}

#[test]
fn too_many_are_told_so_and_the_rest_is_hung_up_on() {
    let daemon = daemon(&["--frame-timeout", "1m"]);
    let place = address(&daemon);
    let silent: Vec<_> = (0..16).map(|_| connect(place)).collect();
    assert!(eventually(PATIENCE, || status(&daemon).as_deref() == Some("503")));
    let surplus: Vec<_> = (0..300).map(|_| connect(place)).collect();
    serves(&daemon);
    assert!(proc::fd_count(daemon.pid()) < 150);
    drop((silent, surplus));
    assert!(eventually(PATIENCE, || status(&daemon).as_deref() == Some("200")));
    let refused =
        scrape(place).value("mpserverd_refusals_total", &[("reason", "too_many_clients")]);
    assert!(refused >= 1.0);
}

#[test]
fn who_is_between_two_requests_makes_room() {
    let daemon = daemon(&[]);
    let place = address(&daemon);
    let idle: Vec<_> = (0..16)
        .map(|_| {
            let mut stream = connect(place);
            stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            let mut bytes = [0; 12];
            stream.read_exact(&mut bytes).unwrap();
            assert_eq!(&bytes, b"HTTP/1.1 200");
            stream
        })
        .collect();
    for _ in 0..50 {
        assert!(exchange(place, "GET /healthz HTTP/1.0\r\n\r\n").ends_with("ok\n"));
    }
    drop(idle);
}

#[test]
fn who_takes_too_long_is_told_so() {
    // Enough for whoever has his say at once, on a busy machine too.
    let limit = Duration::from_secs(1);
    let daemon = daemon(&["--frame-timeout", "1s"]);
    let begun = Instant::now();
    let mut half = connect(address(&daemon));
    half.write_all(b"GET /metrics HT").unwrap();
    let mut silent = connect(address(&daemon));
    assert!(rest(&mut half).starts_with("HTTP/1.1 408 Request Timeout\r\n"));
    assert_eq!(rest(&mut silent), "");
    assert!(begun.elapsed() >= limit);
}

#[test]
fn who_never_reads_is_dropped() {
    let daemon = daemon(&["--frame-timeout", "500ms"]);
    let before = proc::fd_count(daemon.pid());
    let mut stream = connect(address(&daemon));
    stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    let request = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n".repeat(100);
    let begun = Instant::now();
    while stream.write_all(&request).is_ok() {
        assert!(begun.elapsed() < PATIENCE, "the daemon takes all requests of one who never reads");
    }
    serves(&daemon);
    assert!(eventually(PATIENCE, || proc::fd_count(daemon.pid()) <= before + 40));
    assert_eq!(status(&daemon).as_deref(), Some("200"));
}

#[test]
fn nonsense_of_all_kinds_hurts_nobody() {
    let daemon = daemon(&["--frame-timeout", "200ms"]);
    let mut moments = mpserverd_tests::seeds::Moments::of(7);
    for round in 0..mpserverd_tests::seeds::count(200) {
        let mut stream = connect(address(&daemon));
        let length = moments.below(9000) as usize;
        let text = "GET /metrics HTTP/1.0\r\nHost: a\r\n\r\n";
        let bytes: Vec<u8> = match round % 3 {
            0 => (0..length).map(|_| moments.below(256) as u8).collect(),
            1 => text.bytes().take(length % 40).collect(),
            _ => text.bytes().map(|b| if moments.below(9) == 0 { 0 } else { b }).collect(),
        };
        let _ = stream.write_all(&bytes);
        // Gone without a word, half the time.
        if round % 2 == 0 {
            let mut said = Vec::new();
            let _ = stream.read_to_end(&mut said);
        }
    }
    serves(&daemon);
    assert!(eventually(PATIENCE, || status(&daemon).as_deref() == Some("200")));
}
