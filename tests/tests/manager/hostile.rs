//! Hostile bytes to the server, from strangers and from clients that know the key.

use mp::{Client, Manager, Server};
use mpserverd_tests::seeds;
use mpserverd_tests::suite::PATIENCE;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

const KEY: &[u8] = b"k";

/// Runs something with a server in this process, which must serve as before in the end.
fn with_server(run: impl FnOnce(&mp::Address, &mp::ConnectedManager)) {
    let directory = tempfile::tempdir().unwrap();
    let address = mp::Address::from(directory.path().join("socket"));
    let server: Server = Manager::builder().address(&address).authkey(KEY).server().unwrap();
    let stopper = server.stopper();
    std::thread::scope(|scope| {
        scope.spawn(move || server.serve_forever());
        let manager = Manager::builder().address(&address).authkey(KEY).connect().unwrap();
        let list = manager.list([1]).unwrap();
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            run(&address, &manager);
            assert_eq!(list.with_patience().copy().unwrap(), [1]);
        }));
        stopper.stop();
        ran.unwrap();
    });
}

/// Nobody waits for a server for ever here.
trait WithPatience {
    fn with_patience(&self) -> Self;
}

impl<P: mp::Proxy> WithPatience for P {
    fn with_patience(&self) -> Self {
        self.with_timeout(PATIENCE)
    }
}

/// A connection that has shown that it knows the key.
fn let_in(address: &mp::Address) -> UnixStream {
    let connection = Client::connect(address, Some(KEY)).unwrap();
    let stream = UnixStream::from(connection.into_fd().unwrap());
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn frame(call: u64, body: &[u8]) -> Vec<u8> {
    let length = (8 + body.len()) as u32;
    [&length.to_le_bytes()[..], &call.to_le_bytes(), body].concat()
}

/// The server hangs up on it, whatever it says before.
fn is_hung_up_on(mut stream: UnixStream) {
    let mut said = Vec::new();
    match stream.read_to_end(&mut said) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}"),
    }
}

#[test]
fn strangers() {
    with_server(|address, _| {
        let mp::Address::Path(path) = address else { panic!() };
        for bytes in [&[][..], &[0xff; 64], &frame(1, &[0; 40]), b"GET / HTTP/1.1\r\n\r\n"] {
            let mut stream = UnixStream::connect(path).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.write_all(bytes).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            is_hung_up_on(stream);
        }
    });
}

#[test]
fn absurd_frames() {
    with_server(|address, _| {
        let absurd = [
            u32::MAX.to_le_bytes().to_vec(),
            0u32.to_le_bytes().to_vec(),
            frame(1, &[]),
            frame(1, &[0xff; 100]),
            frame(1, &[0; 100]),
        ];
        for bytes in absurd {
            let mut stream = let_in(address);
            let _ = stream.write_all(&bytes);
            is_hung_up_on(stream);
        }
        // A length that nothing follows costs nothing and holds up nobody.
        let mut silent = let_in(address);
        silent.write_all(&(1u32 << 30).to_le_bytes()).unwrap();
        silent.write_all(&[0; 100]).unwrap();
    });
}

#[test]
fn garbage_of_all_kinds() {
    with_server(|address, manager| {
        let mut moments = seeds::Moments::of(seeds::any());
        for _ in 0..seeds::count(300) {
            let mut stream = let_in(address);
            // The greeting: version 1 and no ticket.
            let mut hello = 0u64.to_le_bytes().to_vec();
            hello.extend([0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            stream.write_all(&frame(1, &hello)).unwrap();
            for _ in 0..moments.below(4) {
                let mut body = (0..moments.below(80)).map(|_| moments.below(256) as u8);
                let mut body = body.by_ref().collect::<Vec<_>>();
                // Mostly an operation that exists, of an object that may.
                if body.len() > 16 && moments.below(4) > 0 {
                    body[..8].fill(0);
                    body[8..12].copy_from_slice(&(moments.below(24) as u32).to_le_bytes());
                    if body[8] == 1 {
                        continue; // the end of the server: whoever knows the key may
                    }
                }
                if stream.write_all(&frame(moments.below(3), &body)).is_err() {
                    break;
                }
            }
        }
        assert!(manager.stats().unwrap().sessions > 0);
    });
}

#[test]
fn one_who_does_not_read_holds_up_nobody() {
    with_server(|address, manager| {
        let large = manager.list([vec![1u8; 1 << 20]]).unwrap();
        assert!(manager.publish("large", &large).unwrap());
        let deaf = Manager::builder().address(address).authkey(KEY).connect().unwrap();
        let copy: mp::ListProxy<Vec<u8>> = deaf.find("large").unwrap();
        std::thread::scope(|scope| {
            // Many ask at once and one reads for all: far more than any buffer holds.
            for _ in 0..40 {
                scope.spawn(|| assert_eq!(copy.get(0).unwrap().len(), 1 << 20));
            }
        });
        let mut stream = let_in(address);
        let mut hello = 0u64.to_le_bytes().to_vec();
        hello.extend([0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        stream.write_all(&frame(1, &hello)).unwrap();
        stream.set_nonblocking(true).unwrap();
        // Asks for counts, and never reads an answer: at some point nothing more is taken.
        let stats = [0u64.to_le_bytes().to_vec(), 2u32.to_le_bytes().to_vec()].concat();
        let stats = frame(7, &stats);
        let (mut asked, mut sent) = (0, 0);
        let begun = std::time::Instant::now();
        let mut refused = 0;
        while refused < 20 && begun.elapsed() < PATIENCE {
            match stream.write(&stats[sent..]) {
                Ok(some) => {
                    sent = (sent + some) % stats.len();
                    asked += u32::from(sent == 0);
                }
                Err(_) => {
                    refused += 1;
                    std::thread::sleep(std::time::Duration::from_millis(5));
                }
            }
        }
        println!("{asked} questions were taken");
        assert_eq!(large.with_patience().len().unwrap(), 1);
    });
}
