//! Either side is killed at a random moment of anything: the other side gets an error that says so
//! or goes on, and no descriptor stays open.

use super::{ends, open_descriptors, pipe};
use mp::{Client, Connection, ConnectionError, Listener, SharedFd};
use mpserverd_tests::crew::Crew;
use mpserverd_tests::daemon::Daemon;
use mpserverd_tests::eventually;
use mpserverd_tests::seeds;
use mpserverd_tests::suite::PATIENCE;
use std::cell::RefCell;
use std::io::PipeReader;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;

const SHORT: u64 = 6;
const LONG: u64 = 10_000;
const BIG: usize = 64 << 20;

fn copies(of: &impl AsFd, number: usize) -> Vec<SharedFd> {
    (0..number).map(|_| of.as_fd().try_clone_to_owned().unwrap().into()).collect()
}

/// Sends large messages for ever; each is one byte, again and again.
#[mp::task]
fn send_big(connection: Connection) {
    let mut message = vec![0; BIG];
    for round in 0..=u8::MAX {
        message.fill(round);
        connection.send_bytes(&message).unwrap();
    }
}

/// Receives for ever.
#[mp::task]
fn receive_big(connection: Connection) {
    let mut buffer = vec![0; BIG];
    while connection.recv_bytes_into(&mut buffer, 0).is_ok() {}
}

/// Sends descriptors for ever, few and many.
#[mp::task]
fn send_handles(connection: Connection, fd: SharedFd) {
    mp::sys::attributes::raise_descriptor_limit().unwrap();
    for number in [1, 300, 0, 600].into_iter().cycle() {
        connection.send(&copies(&fd, number)).unwrap();
    }
}

/// Receives them.
#[mp::task]
fn receive_handles(connection: Connection) {
    mp::sys::attributes::raise_descriptor_limit().unwrap();
    while connection.recv::<Vec<SharedFd>>().is_ok() {}
}

/// Calls for ever.
#[mp::task]
fn call(address: mp::Address) {
    loop {
        let client = Client::connect(&address, Some(b"k")).unwrap();
        client.send(&1u8).unwrap();
    }
}

/// Takes calls for ever.
#[mp::task]
fn take_calls(listener: Listener) {
    loop {
        if let Ok(connection) = listener.accept() {
            let _ = connection.recv::<u8>();
        }
    }
}

/// How many rounds, and whose workers are killed in them.
struct Rounds {
    count: u64,
    ctx: mp::Context,
}

/// The rounds of one test: a crew of one, whose member is killed and replaced in each.
fn each_round<T, R>(
    rounds: &Rounds,
    within: Duration,
    prepare: impl Fn(&mp::Context) -> (T, mp::ProcessBuilder<R>),
    survive: impl Fn(T, &dyn Fn()),
) {
    mp::sys::attributes::raise_descriptor_limit().unwrap();
    let side = RefCell::new(None);
    let begin = |_| {
        let (own, builder) = prepare(&rounds.ctx);
        *side.borrow_mut() = Some(own);
        builder
    };
    let crew = RefCell::new(Crew::new(1, begin));
    let mut before = None;
    for (seed, moments) in seeds::rounds(rounds.count) {
        if seed > 0 || side.borrow().is_none() {
            crew.borrow_mut().replace(0);
        }
        let moments = RefCell::new(moments);
        let own = side.borrow_mut().take().unwrap();
        survive(own, &|| {
            crew.borrow_mut().kill_one(&mut moments.borrow_mut(), within);
        });
        let open = || {
            let _ = mp::active_children();
            open_descriptors()
        };
        // The first rounds open what stays open.
        match before {
            None if seed > 0 => before = Some(open()),
            None => {}
            Some(before) => {
                let settled = eventually(PATIENCE, || open() <= before + 2);
                assert!(settled, "seed {seed}: {} descriptors, {before} before", open());
            }
        }
    }
}

/// Runs `work` while somebody kills the peer.
fn while_killed<R: Send>(kill: &dyn Fn(), work: impl FnOnce() -> R + Send) -> R {
    std::thread::scope(|scope| {
        let work = scope.spawn(work);
        kill();
        work.join().unwrap()
    })
}

fn sender_killed(rounds: &Rounds) {
    let prepare = |ctx: &mp::Context| {
        let (ours, theirs) = pipe();
        (ours, ctx.process::<send_big>((theirs,)))
    };
    each_round(rounds, Duration::from_millis(120), prepare, |ours, kill| {
        let (received, error) = while_killed(kill, || {
            for received in 0.. {
                match ours.recv_bytes_timeout(None, PATIENCE) {
                    Ok(message) => {
                        let whole = message.len() == BIG;
                        assert!(whole && message.iter().all(|byte| *byte == received as u8));
                    }
                    Err(error) => return (received, error),
                }
            }
            unreachable!("it ends before")
        });
        let told = matches!(error, ConnectionError::Eof | ConnectionError::EofInMessage);
        assert!(told, "after {received}: {error:?}");
    });
}

fn receiver_killed(rounds: &Rounds) {
    let prepare = |ctx: &mp::Context| {
        let (ours, theirs) = pipe();
        (ours, ctx.process::<receive_big>((theirs,)))
    };
    let message = vec![7; BIG];
    each_round(rounds, Duration::from_millis(120), prepare, |ours, kill| {
        let error = while_killed(kill, || {
            loop {
                if let Err(error) = ours.send_bytes(&message) {
                    return error;
                }
            }
        });
        assert!(matches!(error, ConnectionError::BrokenPipe), "{error:?}");
        assert!(ours.recv_bytes_timeout(None, PATIENCE).unwrap_err().is_disconnected());
    });
}

fn sender_of_handles_killed(rounds: &Rounds) {
    let prepare = |ctx: &mp::Context| {
        let (ours, theirs) = pipe();
        let (reader, writer) = std::io::pipe().unwrap();
        ((ours, reader), ctx.process::<send_handles>((theirs, writer.into())))
    };
    each_round(rounds, Duration::from_millis(60), prepare, |(ours, mut reader), kill| {
        let error = while_killed(kill, || {
            loop {
                match ours.recv_timeout::<Vec<SharedFd>>(PATIENCE) {
                    Ok(fds) => assert!([0, 1, 300, 600].contains(&fds.len())),
                    Err(error) => return error,
                }
            }
        });
        assert!(error.is_disconnected(), "{error:?}");
        drop(ours);
        assert!(ends(&mut reader), "a descriptor in flight is kept");
    });
}

fn receiver_of_handles_killed(rounds: &Rounds) {
    let prepare = |ctx: &mp::Context| {
        let (ours, theirs) = pipe();
        (ours, ctx.process::<receive_handles>((theirs,)))
    };
    each_round(rounds, Duration::from_millis(60), prepare, |ours: Connection, kill| {
        let (mut reader, writer): (PipeReader, _) = std::io::pipe().unwrap();
        let error = while_killed(kill, || {
            for number in [1, 300, 0, 600].into_iter().cycle() {
                if let Err(error) = ours.send(&copies(&writer, number)) {
                    return error;
                }
            }
            unreachable!("it ends before")
        });
        assert!(matches!(error, ConnectionError::BrokenPipe), "{error:?}");
        drop((ours, writer));
        assert!(ends(&mut reader), "a descriptor in flight is kept");
    });
}

fn client_killed(rounds: &Rounds) {
    let listener = Listener::builder().authkey(b"k").handshake_timeout(PATIENCE).bind().unwrap();
    let address = listener.address().clone();
    let prepare = |ctx: &mp::Context| ((), ctx.process::<call>((address.clone(),)));
    each_round(rounds, Duration::from_millis(30), prepare, |(), kill| {
        let stop = std::sync::atomic::AtomicBool::new(false);
        let relaxed = std::sync::atomic::Ordering::Relaxed;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                loop {
                    match listener.accept_timeout(Duration::from_millis(20)) {
                        Ok(connection) => drop(connection.recv_timeout::<u8>(PATIENCE)),
                        Err(ConnectionError::TimedOut(_)) if stop.load(relaxed) => return,
                        Err(ConnectionError::TimedOut(_)) => {}
                        Err(error) => assert!(error.is_disconnected(), "{error:?}"),
                    }
                }
            });
            kill();
            stop.store(true, relaxed);
        });
    });
    // And it serves others all the same.
    std::thread::scope(|scope| {
        scope.spawn(|| Client::connect(&address, Some(b"k")).unwrap());
        listener.accept_timeout(PATIENCE).unwrap();
    });
}

fn listener_killed(rounds: &Rounds) {
    let number = std::cell::Cell::new(0);
    let prepare = |ctx: &mp::Context| {
        number.set(number.get() + 1);
        let name = format!("\0mps-deaths-{}-{}", std::process::id(), number.get());
        let listener = Listener::bind(name, Some(b"k")).unwrap();
        let address = listener.address().clone();
        (address, ctx.process::<take_calls>((listener,)))
    };
    each_round(rounds, Duration::from_millis(30), prepare, |address, kill| {
        let error = while_killed(kill, || {
            loop {
                let called = Client::connect(&address, Some(b"k"));
                if let Err(error) = called.and_then(|client| client.send(&1u8)) {
                    return error;
                }
            }
        });
        let refused = matches!(error, ConnectionError::Connect { .. });
        assert!(refused || error.is_disconnected(), "{error:?}");
    });
}

type Body = fn(&Rounds);

const TESTS: [(&str, Body); 6] = [
    ("sender", sender_killed),
    ("receiver", receiver_killed),
    ("sender of handles", sender_of_handles_killed),
    ("receiver of handles", receiver_of_handles_killed),
    ("client", client_killed),
    ("listener", listener_killed),
];

/// Runs a test in a process of its own, whose descriptors nobody else opens.
#[mp::task]
fn alone(name: String, count: u64, socket: PathBuf) {
    let ctx = mp::get_context(mp::StartMethod::ForkServer).with_fallback(mp::Fallback::Fail);
    let rounds = Rounds { count, ctx: ctx.with_socket(socket) };
    TESTS.iter().find(|(known, _)| *known == name).unwrap().1(&rounds);
}

fn run(name: &str, count: u64) {
    let daemon = Daemon::start(&[]);
    let spawn = mp::get_context(mp::StartMethod::Spawn);
    let test = spawn.process::<alone>((name.to_owned(), count, daemon.socket())).start().unwrap();
    if let Err(error) = test.result() {
        panic!("{error}");
    }
}

#[test]
fn a_sender_is_killed() {
    run("sender", SHORT);
}

#[test]
fn a_receiver_is_killed() {
    run("receiver", SHORT);
}

#[test]
fn a_sender_of_descriptors_is_killed() {
    run("sender of handles", 2 * SHORT);
}

#[test]
fn a_receiver_of_descriptors_is_killed() {
    run("receiver of handles", 2 * SHORT);
}

#[test]
fn a_client_is_killed() {
    run("client", 5 * SHORT);
}

#[test]
fn a_listener_is_killed() {
    run("listener", 5 * SHORT);
}

#[test]
#[ignore = "long: 10 000 rounds of each, of those with 64 MiB a tenth"]
fn either_side_is_killed_ten_thousand_times() {
    for (name, _) in TESTS {
        run(name, if matches!(name, "sender" | "receiver") { LONG / 10 } else { LONG });
    }
}
