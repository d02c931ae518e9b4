//! Metrics: what is counted, as text that any reader understands, over the socket and over HTTP.
//!
//! | file | holds |
//! |---|---|
//! | [`exposition`] | a strict reader of the format, and CPython's where it can be had |
//! | [`numbers`] | what is counted |
//! | [`http`] | requests and answers |
//! | [`strangers`] | readers that misbehave |
//! | [`address`] | where they are read, and how a reload moves that |
#![cfg(target_os = "linux")]

mp::enable_in_tests!();

mod address;
mod exposition;
mod http;
mod numbers;
mod strangers;

use exposition::Exposition;
use mpserverd_tests::daemon::Daemon;
use mpserverd_tests::eventually;
use mpserverd_tests::suite::PATIENCE;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

#[mp::task]
fn end_with(code: i32) {
    std::process::exit(code);
}

#[mp::task]
fn sleep_for_ever() {
    loop {
        std::thread::sleep(PATIENCE);
    }
}

/// A daemon that tells its metrics somewhere on this machine.
fn daemon(arguments: &[&str]) -> Daemon {
    let daemon = Daemon::start(&[&["--metrics-address", "127.0.0.1:0"], arguments].concat());
    let ready = || exchange(address(&daemon), "GET /healthz HTTP/1.0\r\n\r\n").ends_with("\nok\n");
    assert!(eventually(PATIENCE, ready), "{}", daemon.log());
    daemon
}

/// Where the daemon says that metrics can be read, the last time that it says so.
fn address(daemon: &Daemon) -> SocketAddr {
    let mut found = None;
    let told = eventually(PATIENCE, || {
        let log = daemon.log();
        let last = log.lines().rfind(|line| line.contains("metrics over HTTP"));
        found = last.and_then(|line| {
            let (_, rest) = line.split_once("address=")?;
            rest.split_whitespace().next()?.parse().ok()
        });
        found.is_some()
    });
    assert!(told, "{}", daemon.log());
    found.unwrap()
}

/// A connection of a reader.
fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Says all of this and gives all that is answered, until the daemon hangs up.
fn exchange(address: SocketAddr, text: &str) -> String {
    let mut stream = connect(address);
    stream.write_all(text.as_bytes()).unwrap();
    rest(&mut stream)
}

/// All that is still said.
fn rest(stream: &mut TcpStream) -> String {
    let mut said = Vec::new();
    stream.read_to_end(&mut said).unwrap();
    String::from_utf8(said).unwrap()
}

/// The page of metrics.
fn scrape(address: SocketAddr) -> Exposition {
    let answer = exchange(address, "GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    Exposition::read(body)
}

/// What `mpctl metrics` prints.
fn printed(daemon: &Daemon) -> String {
    let output = daemon.mpctl(&["metrics"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
