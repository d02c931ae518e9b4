//! `mpctl top` on a terminal.

use crate::terminal::Terminal;
use crate::{json, sleeper, text};
use mpserverd_tests::daemon::Daemon;
use mpserverd_tests::suite::PATIENCE;
use mpserverd_tests::{eventually, proc};
use nix::sys::signal::Signal;

/// A few looks a second, so that tests need not wait long.
const TOP: [&str; 3] = ["top", "--interval", "150ms"];

#[test]
fn it_shows_filters_sorts_and_kills() {
    let daemon = Daemon::start(&[]);
    let (first, second) = (sleeper(&daemon, "first-one"), sleeper(&daemon, "second-one"));
    let mut top = Terminal::mpctl(&daemon, &TOP, 30, 120);
    let pid = format!("pid {}", daemon.pid());
    let shown = top.wait_for(&[&pid, "serving", "first-one", "second-one", "starts/s"]);
    assert!(top.is_taken(), "{shown}");
    assert!(top.has_colours(), "{shown}");
    // Memory is measured, and rates are known, at the second look.
    top.wait_for(&["0.0 starts/s"]);

    top.press("/second\r");
    top.wait_for(&["second-one", "filter: second"]);
    top.wait_without("first-one");
    top.press("\x1b[B");
    top.press("k");
    top.wait_for(&["signal for pid", "sleep_for_ever) [TERM]: _"]);
    top.press("KILL\r");
    top.wait_for(&["send signal 9 to pid", "? y/n"]);
    top.press("n");
    top.wait_for(&["nothing was sent"]);
    assert!(second.is_alive());
    top.press("kKILL\ry");
    top.wait_for(&["sent signal 9 to w"]);
    assert_eq!(second.join_timeout(PATIENCE), Some(-9));
    top.wait_for(&["no workers like that"]);
    assert!(first.is_alive());

    top.press("?");
    top.wait_for(&["Any key goes back."]);
    top.press("x/\x7f\x7f\x7f\x7f\x7f\x7f\r");
    top.wait_for(&["first-one", "q quit"]);
    top.press("q");
    assert_eq!(top.end().code(), Some(0));
    assert!(eventually(PATIENCE, || top.is_given_back()), "{}", top.contents());
    first.kill().unwrap();
    first.join();
}

#[test]
fn it_follows_the_size_of_the_terminal() {
    let daemon = Daemon::start(&[]);
    let mut top = Terminal::mpctl(&daemon, &TOP, 24, 80);
    top.wait_for(&["serving", "PRIVATE"]);
    top.resize(8, 30);
    top.wait_for(&["mpctl top needs 40x10"]);
    top.resize(40, 120);
    top.wait_for(&["serving", "CLIENT", "GEN"]);
    top.press("\x03");
    assert_eq!(top.end().code(), Some(0));
    assert!(eventually(PATIENCE, || top.is_given_back()));
}

#[test]
fn signals_end_it_with_the_terminal_given_back() {
    let daemon = Daemon::start(&[]);
    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130), (Signal::SIGHUP, 129)] {
        let mut top = Terminal::mpctl(&daemon, &TOP, 24, 80);
        top.wait_for(&["serving"]);
        top.signal(signal);
        assert_eq!(top.end().code(), Some(code), "{signal}");
        assert!(eventually(PATIENCE, || top.is_given_back()), "{signal}");
    }
}

#[test]
fn it_pauses_and_goes_on() {
    let daemon = Daemon::start(&[]);
    let mut top = Terminal::mpctl(&daemon, &TOP, 24, 80);
    top.wait_for(&["serving"]);
    let is_stopped = |pid: u32| {
        std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .is_ok_and(|stat| stat.rsplit_once(')').is_some_and(|(_, rest)| rest.starts_with(" T")))
    };
    for pause in 0..3 {
        // By its key, and by the signal.
        if pause == 0 {
            top.press("\x1a");
        } else {
            top.signal(Signal::SIGTSTP);
        }
        assert!(eventually(PATIENCE, || is_stopped(top.pid())), "it goes on");
        assert!(eventually(PATIENCE, || top.is_given_back()), "{}", top.contents());
        top.signal(Signal::SIGCONT);
        assert!(eventually(PATIENCE, || top.is_taken()), "{}", top.contents());
        top.wait_for(&["serving"]);
    }
    // Nobody asked it whether it wants to.
    top.signal(Signal::SIGSTOP);
    assert!(eventually(PATIENCE, || is_stopped(top.pid())));
    top.signal(Signal::SIGCONT);
    top.wait_for(&["serving"]);
    top.press("q");
    assert_eq!(top.end().code(), Some(0));
}

#[test]
fn it_says_that_the_daemon_is_gone_and_finds_the_next() {
    let mut daemon = Daemon::start(&[]);
    let mut top = Terminal::mpctl(&daemon, &TOP, 24, 80);
    top.wait_for(&["serving"]);
    daemon.signal(Signal::SIGSTOP);
    // A daemon that does not move keeps no key waiting.
    top.press("?");
    top.wait_for(&["Any key goes back."]);
    top.press("x");
    daemon.signal(Signal::SIGCONT);
    assert!(daemon.stop().success());
    top.wait_for(&["no mpserverd answers"]);
    daemon.restart();
    top.wait_for(&[&format!("pid {}", daemon.pid()), "q quit"]);
    top.press("q");
    assert_eq!(top.end().code(), Some(0));
}

#[test]
fn one_frame_is_text_where_there_is_no_terminal() {
    let daemon = Daemon::start(&[]);
    let process = sleeper(&daemon, "the-only-one");
    for arguments in [&["top", "--once", "--interval", "200ms"][..], &TOP] {
        let frame = text(&daemon, arguments);
        assert!(!frame.contains('\x1b'), "{frame:?}");
        for part in ["serving", "sleep_for_", "PRIVATE", "0.0 starts/s"] {
            assert!(frame.contains(part), "{part}:\n{frame}");
        }
    }
    let looked = json(&daemon, &["top", "--interval", "200ms"]);
    let rows = looked["workers"].as_array().expect("workers");
    let row = rows.iter().find(|row| row["name"] == "the-only-one");
    let row = row.unwrap_or_else(|| panic!("{looked}"));
    assert!(row["memory"]["private_kib"].as_u64() > Some(0), "{looked}");
    process.kill().unwrap();
    process.join();
    assert!(proc::is_running(daemon.pid()));
}
