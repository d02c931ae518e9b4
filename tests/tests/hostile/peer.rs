//! A client without the client library: bytes and descriptors as it pleases.

use mp::sys::scm;
use mpserverd_proto::client::{Answer, Call, Reply, Request};
use mpserverd_proto::hello::{HELLO_BYTES, Hello, HelloReply};
use mpserverd_proto::ids::RequestId;
use mpserverd_proto::{codec, frame};
use mpserverd_tests::daemon::Daemon;
use mpserverd_tests::suite::PATIENCE;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

/// A raw connection.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) stream: UnixStream,
    decoder: frame::Decoder,
}

impl Peer {
    /// Connects and says nothing.
    pub(crate) fn connect(daemon: &Daemon) -> Self {
        let stream = UnixStream::connect(daemon.socket()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream, decoder: frame::Decoder::new() }
    }

    /// Connects and shakes hands.
    pub(crate) fn open(daemon: &Daemon) -> Self {
        let mut peer = Self::connect(daemon);
        let reply = peer.hello(Hello::ours());
        HelloReply::decode(reply, Hello::ours()).unwrap();
        peer
    }

    /// Says this hello and gives the answer.
    pub(crate) fn hello(&mut self, hello: Hello) -> [u8; HELLO_BYTES] {
        self.stream.write_all(&hello.encode()).unwrap();
        let mut answer = [0; HELLO_BYTES];
        self.stream.read_exact(&mut answer).unwrap();
        answer
    }

    /// Sends bytes, as far as the daemon takes them: it may have hung up already.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Sends bytes with descriptors.
    pub(crate) fn send_with(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> bool {
        scm::send(self.stream.as_fd(), &[bytes], fds, false).is_ok()
    }

    /// A request as it travels.
    pub(crate) fn request(id: u64, request: Request, fds: usize) -> Vec<u8> {
        let call = Call { id: RequestId(id), request };
        frame::encode(&codec::encode(&call).unwrap(), fds).unwrap()
    }

    pub(crate) fn ask(&mut self, id: u64, request: Request) {
        assert!(self.send(&Self::request(id, request, 0)));
    }

    /// The next answer; `None` once the daemon has hung up.
    pub(crate) fn answer(&mut self) -> Option<Answer> {
        loop {
            if let Some(frame) = self.decoder.next_frame().unwrap() {
                return Some(codec::decode(&frame.payload).unwrap());
            }
            let mut bytes = [0; 16 << 10];
            let mut fds = Vec::new();
            // Descriptors that come along are closed at once: a lease that nobody wants.
            match scm::receive(self.stream.as_fd(), &mut bytes, &mut fds, false) {
                Ok(0) => return None,
                Ok(got) => self.decoder.feed(&bytes[..got]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("no answer: {error}"),
            }
        }
    }

    /// The next answer, which must be a reply to this request.
    pub(crate) fn reply(&mut self, id: u64) -> Reply {
        let answer = self.answer().expect("an answer");
        assert_eq!(answer.id, RequestId(id), "{answer:?}");
        answer.reply
    }

    /// Waits until the daemon hangs up, whatever it says before.
    pub(crate) fn is_dropped(&mut self) -> bool {
        let mut bytes = [0; 4096];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
            }
        }
    }
}
