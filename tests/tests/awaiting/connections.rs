//! Connections, listeners and clients.

use crate::{SHORT, in_tokio, in_vain, poll_once, soon};
use mp::{Address, Client, Connection, ConnectionError, Listener};
use mpserverd_tests::suite;
use mpserverd_tests::suite::end;
use std::pin::pin;
use std::time::Duration;

suite![messages_of_others, callers_of_all_kinds, ends_of_others];

#[mp::task]
fn echo(connection: Connection) {
    while let Ok(bytes) = connection.recv_bytes(None) {
        connection.send_bytes(&bytes).unwrap();
    }
}

fn messages_of_others(ctx: &mp::Context) {
    let (ours, theirs) = mp::pipe(true).unwrap();
    let process = ctx.process::<echo>((theirs,)).start().unwrap();
    in_tokio(async {
        in_vain("nothing comes", ours.recv_async::<u32>()).await;
        for size in [0, 1, 100, 20_000, 3 << 20] {
            let sent = vec![7u8; size];
            let sends = ours.send_bytes_async(&sent);
            let receives = ours.recv_bytes_async(None);
            let both = async { tokio::join!(sends, receives) };
            let (sends, received) = soon("it comes back", both).await;
            sends.unwrap();
            assert!(received.unwrap() == sent, "{size} bytes");
        }
        soon("sent", ours.send_async(&("text", 5u8))).await.unwrap();
        soon("it is there", ours.poll_async()).await.unwrap();
        let (text, number) = soon("back", ours.recv_async::<(String, u8)>()).await.unwrap();
        assert_eq!((&*text, number), ("text", 5));
        assert!(matches!(
            {
                ours.send_bytes_async(&[1; 9]).await.unwrap();
                soon("back", ours.recv_bytes_async(Some(8))).await
            },
            Err(ConnectionError::TooLong { length: 9, limit: 8 })
        ));
    });
    drop(ours);
    assert_eq!(end(&process), 0);
}

#[mp::task]
fn call(address: Address, key: Option<Vec<u8>>, text: String) {
    let connection = Client::connect(address, key.as_deref()).unwrap();
    connection.send(&text).unwrap();
    assert_eq!(connection.recv::<usize>().unwrap(), text.len());
}

fn callers_of_all_kinds(ctx: &mp::Context) {
    let key = b"secret".to_vec();
    let tcp = || Listener::bind(("127.0.0.1", 0), Some(b"secret")).unwrap();
    let unix = || Listener::builder().authkey(b"secret").bind().unwrap();
    for listener in [tcp(), unix()] {
        in_tokio(async {
            in_vain("nobody calls", listener.accept_async()).await;
            let address = listener.address().clone();
            let arguments = (address.clone(), Some(key.clone()), "theirs".to_owned());
            let process = ctx.process::<call>(arguments).start().unwrap();
            let serves = async {
                for _ in 0..2 {
                    let connection = listener.accept_async().await.unwrap();
                    let text = connection.recv_async::<String>().await.unwrap();
                    connection.send_async(&text.len()).await.unwrap();
                }
            };
            let calls = async {
                let connection = Client::connect_async(address.clone(), Some(&key)).await.unwrap();
                connection.send_async(&"ours").await.unwrap();
                assert_eq!(connection.recv_async::<usize>().await.unwrap(), 4);
            };
            soon("both are served", async { tokio::join!(serves, calls) }).await;
            assert_eq!(soon("its end", process.join_async()).await, 0);
            let calls = Client::connect_async(address.clone(), Some(b"wrong"));
            let both = async { tokio::join!(listener.accept_async(), calls) };
            let (refused, refuses) = soon("refused", both).await;
            assert!(matches!(refused, Err(ConnectionError::Authentication(_))), "{refused:?}");
            assert!(refuses.is_err());
            // A silent caller has its time, and no more.
            let _silent = Client::connect_async(address.clone(), None).await.unwrap();
            let incoming = soon("a caller", listener.accept_incoming_async()).await.unwrap();
            in_vain("it says nothing", incoming.authenticate_async()).await;
            let mut accepts = pin!(listener.accept_async());
            assert!(poll_once(accepts.as_mut()).is_pending());
            listener.close();
            let closed = soon("closed", accepts).await;
            assert!(matches!(closed, Err(ConnectionError::Closed { .. })), "{closed:?}");
            let gone = soon("nobody", Client::connect_async(address, None)).await;
            assert!(matches!(gone, Err(ConnectionError::Connect { .. })), "{gone:?}");
        });
    }
}

#[mp::task]
fn send_a_part_and_die(connection: Connection) {
    use std::os::fd::AsFd;
    nix::unistd::write(connection.as_fd(), &[0, 0, 0, 9, 1, 2, 3]).unwrap();
    nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap();
}

fn ends_of_others(ctx: &mp::Context) {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let (ours, theirs) = (Connection::from(ours), Connection::from(theirs));
    let process = ctx.process::<send_a_part_and_die>((theirs,)).start().unwrap();
    in_tokio(async {
        let error = soon("it died", ours.recv_bytes_async(None)).await.unwrap_err();
        assert!(matches!(error, ConnectionError::EofInMessage), "{error}");
    });
    assert_eq!(end(&process), -9);
}

#[test]
fn what_has_come_of_a_message_is_kept() {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let connection = Connection::from(ours);
    let mut theirs = std::io::BufWriter::new(theirs);
    in_tokio(async {
        use std::io::Write;
        for piece in [&[0, 0][..], &[0, 5, b'h'], b"el"] {
            theirs.write_all(piece).unwrap();
            theirs.flush().unwrap();
            in_vain("it is not whole", connection.recv_bytes_async(None)).await;
        }
        theirs.write_all(b"lo").unwrap();
        theirs.flush().unwrap();
        let message = soon("it is whole", connection.recv_bytes_async(None)).await.unwrap();
        assert_eq!(message, b"hello");
    });
}

#[test]
fn a_message_that_is_cut_off_is_the_last() {
    let (ours, theirs) = mp::pipe(true).unwrap();
    in_tokio(async {
        // Nothing of it was sent: all is well.
        drop(ours.send_bytes_async(&[1; 64 << 20]));
        ours.send_bytes_async(b"small").await.unwrap();
        in_vain("nobody reads", ours.send_bytes_async(&[1; 64 << 20])).await;
        let error = ours.send_bytes_async(b"more").await.unwrap_err();
        assert!(matches!(error, ConnectionError::Cut), "{error}");
        assert_eq!(theirs.recv_bytes_async(None).await.unwrap(), b"small");
        drop(ours);
        let error = soon("its end", theirs.recv_bytes_async(None)).await.unwrap_err();
        assert!(matches!(error, ConnectionError::EofInMessage), "{error}");
    });
}

#[test]
fn closing_ends_the_wait_of_others() {
    for (ours, theirs) in [mp::pipe(true).unwrap(), {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        (ours.into(), theirs.into())
    }] {
        // Somebody else has the same end, so the system says nothing.
        let copy = {
            use std::os::fd::AsFd;
            ours.as_fd().try_clone_to_owned().unwrap()
        };
        in_tokio(async {
            let receives = async { tokio::join!(ours.recv_async::<u8>(), ours.recv_async::<u8>()) };
            let closes = async {
                tokio::time::sleep(SHORT).await;
                ours.close();
            };
            let (both, ()) = soon("told", async { tokio::join!(receives, closes) }).await;
            for error in [both.0.unwrap_err(), both.1.unwrap_err()] {
                assert!(matches!(error, ConnectionError::Closed { .. }), "{error}");
            }
        });
        drop((copy, theirs));
    }
}

#[test]
fn threads_and_tasks_take_turns() {
    let (ours, theirs) = mp::pipe(true).unwrap();
    std::thread::scope(|scope| {
        let threads = (0..2)
            .map(|_| scope.spawn(|| (0..100).map(|_| ours.recv::<u32>().unwrap()).sum::<u32>()));
        let threads = threads.collect::<Vec<_>>();
        let sum = in_tokio(async {
            let receives = || async {
                let mut sum = 0;
                for _ in 0..100 {
                    sum += soon("a message", ours.recv_async::<u32>()).await.unwrap();
                }
                sum
            };
            let sends = async {
                for number in 0..400u32 {
                    theirs.send_async(&number).await.unwrap();
                    tokio::task::yield_now().await;
                }
            };
            let (one, other, ()) = tokio::join!(receives(), receives(), sends);
            one + other
        });
        let theirs = threads.into_iter().map(|thread| thread.join().unwrap()).sum::<u32>();
        assert_eq!(sum + theirs, 399 * 400 / 2);
    });
}

#[test]
fn a_full_listener_is_waited_for() {
    let listener = Listener::builder().backlog(1).bind().unwrap();
    let address = listener.address().clone();
    in_tokio(async {
        let mut calls = Vec::new();
        let full = loop {
            let call = Client::builder(address.clone()).timeout(SHORT).connect_async().await;
            match call {
                Ok(connection) => calls.push(connection),
                Err(error) => break error,
            }
            assert!(calls.len() < 100);
        };
        assert!(matches!(full, ConnectionError::TimedOut(_)), "{full}");
        let serves = async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            for _ in 0..=calls.len() {
                drop(listener.accept_async().await.unwrap());
            }
        };
        let call = Client::connect_async(address.clone(), None);
        let (called, ()) = soon("room", async { tokio::join!(call, serves) }).await;
        called.unwrap();
    });
}
