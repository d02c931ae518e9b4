//! Two reloads at once, a reload whose operator goes away, and one while a template loads.

use crate::{Host, square};
use mpserverd_proto::client::Request;
use mpserverd_tests::build::artifacts;
use mpserverd_tests::eventually;
use mpserverd_tests::suite::PATIENCE;

/// A configuration whose template never gets ready, for so long.
fn endless(time: &str) -> String {
    let module = artifacts().misbehave.display();
    let policy = "on_preload_error = 'fail'\n";
    format!("preload = ['{module}']\n{policy}preload_timeout = '{time}'\n")
}

#[test]
fn the_second_of_two_is_refused_at_once_and_the_first_goes_on() {
    let host = Host::start("", &[("MISBEHAVE", "hang")]);
    host.serves();
    host.configure(&endless("10m"));
    std::thread::scope(|scope| {
        let first = scope.spawn(|| host.reload());
        assert!(eventually(PATIENCE, || !host.templates(2, "loading").is_empty()));
        for _ in 0..3 {
            let error = host.reload().unwrap_err();
            assert!(error.contains("a reload is already in progress"), "{error}");
            assert!(!host.templates(2, "loading").is_empty(), "the first one goes on");
            host.serves();
        }
        host.kill_what_loads(2);
        let error = first.join().unwrap().unwrap_err();
        assert!(error.contains("killed by signal 9"), "{error}");
    });
    host.configure("");
    assert_eq!(host.reload().unwrap(), 2);
}

#[test]
fn many_at_once_are_each_answered() {
    let host = Host::start("", &[]);
    host.serves();
    let done: Vec<_> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..12).map(|_| scope.spawn(|| host.reload())).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let switched: std::collections::BTreeSet<_> = done.iter().flatten().collect();
    let refused = done.iter().filter_map(|one| one.as_ref().err());
    for error in refused.clone() {
        assert!(error.contains("a reload is already in progress"), "{error}");
    }
    assert_eq!(switched.len() + refused.count(), 12, "no generation twice: {done:?}");
    assert_eq!(host.generation(), 1 + switched.len() as u64);
    host.serves();
}

#[test]
fn an_operator_that_goes_away_does_not_stop_it() {
    let host = Host::start("", &[]);
    host.serves();
    for round in 0..10 {
        let mut connection = host.daemon.connect();
        connection.post(&Request::Reload, &[], None).unwrap();
        drop(connection);
        assert!(eventually(PATIENCE, || host.generation() == round + 2));
    }
    host.serves();
}

#[test]
fn a_template_that_loads_meanwhile_serves_whoever_waits_for_it() {
    let host = Host::start("", &[]);
    // The first start of this program builds its template; the reload comes while that loads.
    for round in 0..5 {
        host.configure(&format!("idle_timeout = '1ms'\ngrace = '{}s'\n", round + 1));
        std::thread::scope(|scope| {
            let starts: Vec<_> = (0..4u64)
                .map(|x| {
                    let context = host.daemon.context();
                    scope.spawn(move || {
                        let process = context.process::<square>((x,)).start().unwrap();
                        process.result_timeout(PATIENCE).unwrap()
                    })
                })
                .collect();
            assert_eq!(host.reload().unwrap(), round + 2);
            for (x, start) in (0..).zip(starts) {
                assert_eq!(start.join().unwrap(), x * x);
            }
        });
    }
}
