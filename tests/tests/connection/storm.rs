//! A thousand calls at once: none is lost.

use super::LONG;
use mp::{Address, Client, Family, Listener};
use mpserverd_tests::suite::{PATIENCE, outcome};
use std::collections::BTreeSet;

const PROCESSES: u32 = 4;
const THREADS: u32 = 10;
const CALLS: u32 = 25;

/// Calls from many threads at once; gives what the listener said to each.
#[mp::task]
fn call_often(address: Address, key: Option<Vec<u8>>) -> Vec<u32> {
    std::thread::scope(|scope| {
        let threads = (0..THREADS).map(|_| {
            scope.spawn(|| {
                // All are connected before the first is served.
                let clients = (0..CALLS).map(|_| {
                    let client = Client::builder(&address).handshake_timeout(PATIENCE);
                    let client = match &key {
                        Some(key) => client.authkey(key).connect(),
                        None => client.connect(),
                    };
                    client.unwrap()
                });
                let clients = clients.collect::<Vec<_>>();
                let heard = clients.iter().map(|client| client.recv_timeout(PATIENCE).unwrap());
                heard.collect::<Vec<_>>()
            })
        });
        let threads = threads.collect::<Vec<_>>();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

fn storm(listener: &Listener, key: Option<&[u8]>) {
    mp::sys::attributes::raise_descriptor_limit().unwrap();
    let total = PROCESSES * THREADS * CALLS;
    let spawn = mp::get_context(mp::StartMethod::Spawn);
    let callers = (0..PROCESSES).map(|_| {
        let arguments = (listener.address().clone(), key.map(<[u8]>::to_vec));
        spawn.process::<call_often>(arguments).daemon(true).start().unwrap()
    });
    let callers = callers.collect::<Vec<_>>();
    let served = (0..total).map(|number| {
        let server = listener.accept_timeout(LONG).unwrap();
        server.send(&number).unwrap();
        server
    });
    let served = served.collect::<Vec<_>>();
    let heard = callers.iter().flat_map(|caller| outcome(caller).unwrap());
    assert_eq!(heard.collect::<BTreeSet<_>>(), (0..total).collect());
    drop(served);
}

#[test]
fn a_thousand_calls_of_a_unix_socket() {
    let listener = Listener::builder().bind().unwrap();
    storm(&listener, None);
    let short = Listener::builder().backlog(1).bind().unwrap();
    storm(&short, None);
}

#[test]
fn a_thousand_calls_with_a_key() {
    let listener = Listener::builder().authkey(b"k").bind().unwrap();
    storm(&listener, Some(b"k"));
}

#[test]
fn a_thousand_calls_of_a_port() {
    let listener = Listener::builder().family(Family::Inet).authkey(b"k").bind().unwrap();
    storm(&listener, Some(b"k"));
}
