//! A thousand connections at once, and silent ones among them: nobody is lost.

use mp::{Address, Manager};
use mpserverd_tests::suite::{PATIENCE, outcome};

const PROCESSES: u32 = 4;
const THREADS: u32 = 10;
const CALLS: u32 = 25;

/// Connects from many threads at once, by sockets of their own.
#[mp::task]
fn call_often(address: Address, key: Vec<u8>) -> u32 {
    let _ = mp::sys::attributes::raise_descriptor_limit();
    std::thread::scope(|scope| {
        let threads = (0..THREADS).map(|_| {
            scope.spawn(|| {
                let clients = (0..CALLS).map(|_| {
                    let client = mp::Client::builder(&address).handshake_timeout(PATIENCE);
                    client.authkey(&key).connect().unwrap()
                });
                clients.collect::<Vec<_>>()
            })
        });
        let threads = threads.collect::<Vec<_>>();
        let all = threads.into_iter().flat_map(|thread| thread.join().unwrap());
        all.collect::<Vec<_>>().len() as u32
    })
}

fn flood(address: Address) {
    let _ = mp::sys::attributes::raise_descriptor_limit();
    let spawn = mp::get_context(mp::StartMethod::Spawn);
    let builder = spawn.manager_builder().authkey(b"k");
    let manager = builder.address(address).start().unwrap();
    let list = manager.list([1]).unwrap();
    // These never say who they are.
    let silent = (0..100).map(|_| mp::Client::connect(manager.address(), None).unwrap());
    let silent = silent.collect::<Vec<_>>();
    let callers = (0..PROCESSES).map(|_| {
        let arguments = (manager.address().clone(), b"k".to_vec());
        spawn.process::<call_often>(arguments).daemon(true).start().unwrap()
    });
    let callers = callers.collect::<Vec<_>>();
    let served = callers.iter().map(|caller| outcome(caller).unwrap()).sum::<u32>();
    assert_eq!(served, PROCESSES * THREADS * CALLS);
    list.append(&2).unwrap();
    let another = Manager::builder().address(manager.address()).authkey(b"k").connect().unwrap();
    assert_eq!(another.list([1]).unwrap().len().unwrap(), 1);
    drop(silent);
    crate::until("they are forgotten", || manager.stats().unwrap().sessions <= 2);
}

#[test]
fn a_thousand_at_a_unix_socket() {
    flood(Address::Abstract(format!("flood-{}", std::process::id()).into_bytes()));
}

#[test]
fn a_thousand_at_a_port() {
    flood(("127.0.0.1", 0).into());
}
