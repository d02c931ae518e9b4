//! The connection to the daemon: one request, one answer, each with a deadline.
//!
//! The client library uses it for leases and `mpctl` for everything else. It is not part of what
//! a job needs: whoever holds a lease needs no daemon any more.

use crate::error::{DaemonError, TimeoutError};
use crate::sys::{fd, scm};
use crate::transport;
use mpserverd_proto::client::{Answer, Call, Reply, Request};
use mpserverd_proto::hello::{HELLO_BYTES, Hello, HelloReply};
use mpserverd_proto::ids::RequestId;
use mpserverd_proto::{codec, frame};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long the daemon may take to say hello when the caller gives no deadline.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that has passed the handshake.
#[derive(Debug)]
pub struct Connection {
    path: PathBuf,
    socket: OwnedFd,
    decoder: frame::Decoder,
    fds: VecDeque<OwnedFd>,
    next: u64,
    /// Answers that came while another was awaited.
    early: HashMap<RequestId, (Reply, Vec<OwnedFd>)>,
    /// Requests whose answers nobody wants any more.
    abandoned: HashSet<RequestId>,
}

/// Time left until a deadline, as `poll` wants it; an error once it has passed.
fn left(deadline: Option<Instant>, since: Instant) -> Result<PollTimeout, DaemonError> {
    let Some(deadline) = deadline else { return Ok(PollTimeout::NONE) };
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(TimeoutError(since.elapsed()).into());
    }
    Ok(PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX))
}

impl Connection {
    /// Connects and shakes hands.
    ///
    /// # Errors
    /// [`DaemonError`]: nobody there, somebody else there, another version, too slow.
    pub fn open(path: &Path, deadline: Option<Instant>) -> Result<Self, DaemonError> {
        let deadline = deadline.unwrap_or_else(|| Instant::now() + HELLO_TIMEOUT);
        let not_running = |source| DaemonError::NotRunning { path: path.to_owned(), source };
        let socket = transport::connect(path, deadline).map_err(not_running)?;
        let uid = transport::peer_uid(socket.as_fd()).map_err(DaemonError::Lost)?;
        if !transport::trusts(uid) {
            return Err(DaemonError::Untrusted { path: path.to_owned(), uid });
        }
        fd::set_nonblocking(socket.as_fd(), true).map_err(DaemonError::Lost)?;
        let mut connection = Self {
            path: path.to_owned(),
            socket,
            decoder: frame::Decoder::new(),
            fds: VecDeque::new(),
            next: 1,
            early: HashMap::new(),
            abandoned: HashSet::new(),
        };
        connection.shake_hands(deadline)?;
        Ok(connection)
    }

    fn shake_hands(&mut self, deadline: Instant) -> Result<(), DaemonError> {
        let hello = Hello::ours();
        self.write(&hello.encode(), &[], Some(deadline))?;
        let (mut answer, mut got) = ([0; HELLO_BYTES], 0);
        while got < HELLO_BYTES {
            got += self.read(&mut answer[got..], Some(deadline))?;
        }
        HelloReply::decode(answer, hello)?;
        Ok(())
    }

    /// The socket it is connected to.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// [`DaemonError`]; a refusal is [`DaemonError::Refused`].
    pub fn call(
        &mut self,
        request: &Request,
        fds: &[BorrowedFd<'_>],
        deadline: Option<Instant>,
    ) -> Result<(Reply, Vec<OwnedFd>), DaemonError> {
        let id = self.post(request, fds, deadline)?;
        self.wait(id, deadline)
    }

    /// Sends a request without waiting.
    ///
    /// # Errors
    /// [`DaemonError`].
    pub fn post(
        &mut self,
        request: &Request,
        fds: &[BorrowedFd<'_>],
        deadline: Option<Instant>,
    ) -> Result<RequestId, DaemonError> {
        let id = RequestId(self.next);
        self.next += 1;
        let protocol = |e: &dyn std::fmt::Display| DaemonError::Protocol(e.to_string());
        let call = Call { id, request: request.clone() };
        let payload = codec::encode(&call).map_err(|e| protocol(&e))?;
        let bytes = frame::encode(&payload, fds.len()).map_err(|e| protocol(&e))?;
        self.write(&bytes, fds, deadline).map_err(|error| self.last_words(error))?;
        Ok(id)
    }

    /// Why the daemon hung up, if it said so before: it says no to a client that has yet to ask.
    fn last_words(&mut self, error: DaemonError) -> DaemonError {
        if !matches!(error, DaemonError::Lost(_)) {
            return error;
        }
        loop {
            match self.receive(Some(Instant::now())) {
                Ok(()) => {}
                Err(refusal @ DaemonError::Refused(_)) => return refusal,
                Err(_) => return error,
            }
        }
    }

    /// Waits for the answer to an earlier request.
    ///
    /// # Errors
    /// [`DaemonError`]; a refusal is [`DaemonError::Refused`].
    pub fn wait(
        &mut self,
        id: RequestId,
        deadline: Option<Instant>,
    ) -> Result<(Reply, Vec<OwnedFd>), DaemonError> {
        loop {
            if let Some((reply, fds)) = self.early.remove(&id) {
                return match reply {
                    Reply::Refused(refusal) => Err(refusal.into()),
                    reply => Ok((reply, fds)),
                };
            }
            self.receive(deadline)?;
        }
    }

    /// Takes a request back: its answer is dropped when it comes, descriptors included.
    ///
    /// # Errors
    /// [`DaemonError`] when the connection broke.
    pub fn abandon(&mut self, id: RequestId) -> Result<(), DaemonError> {
        if self.early.remove(&id).is_none() {
            let cancel = self.post(&Request::Cancel(id), &[], None)?;
            self.abandoned.extend([id, cancel]);
        }
        Ok(())
    }

    /// Says something that needs no answer, if that costs no wait.
    ///
    /// # Errors
    /// [`DaemonError`]: the connection is of no use any more.
    pub(crate) fn tell(&mut self, request: &Request) -> Result<(), DaemonError> {
        let id = self.post(request, &[], Some(Instant::now()))?;
        self.abandoned.insert(id);
        Ok(())
    }

    /// Receives at least one answer.
    fn receive(&mut self, deadline: Option<Instant>) -> Result<(), DaemonError> {
        let protocol = |e: &dyn std::fmt::Display| DaemonError::Protocol(e.to_string());
        let frame = loop {
            if let Some(frame) = self.decoder.next_frame().map_err(|e| protocol(&e))? {
                break frame;
            }
            let mut bytes = [0; 16 << 10];
            let got = self.read(&mut bytes, deadline)?;
            self.decoder.feed(&bytes[..got]);
        };
        let answer = codec::decode::<Answer>(&frame.payload).map_err(|e| protocol(&e))?;
        if self.fds.len() < frame.fds {
            return Err(DaemonError::Protocol("descriptors are missing".to_owned()));
        }
        let fds = self.fds.drain(..frame.fds).collect();
        match answer {
            Answer { id: RequestId(0), reply: Reply::Refused(refusal) } => Err(refusal.into()),
            Answer { id, .. } if self.abandoned.remove(&id) => Ok(()),
            Answer { id, reply } => {
                self.early.insert(id, (reply, fds));
                Ok(())
            }
        }
    }

    fn ready(&self, flags: PollFlags, deadline: Option<Instant>) -> Result<(), DaemonError> {
        let since = Instant::now();
        loop {
            let mut sources = [PollFd::new(self.socket.as_fd(), flags)];
            if matches!(poll(&mut sources, left(deadline, since)?), Ok(1..)) {
                return Ok(());
            }
        }
    }

    fn read(&mut self, bytes: &mut [u8], deadline: Option<Instant>) -> Result<usize, DaemonError> {
        loop {
            let mut fds = Vec::new();
            match scm::receive(self.socket.as_fd(), bytes, &mut fds, true) {
                Ok(0) => return Err(DaemonError::Lost(io::ErrorKind::UnexpectedEof.into())),
                Ok(got) => {
                    self.fds.extend(fds);
                    return Ok(got);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.ready(PollFlags::POLLIN, deadline)?;
                }
                Err(error) => return Err(DaemonError::Lost(error)),
            }
        }
    }

    fn write(
        &mut self,
        mut bytes: &[u8],
        mut fds: &[BorrowedFd<'_>],
        deadline: Option<Instant>,
    ) -> Result<(), DaemonError> {
        while !bytes.is_empty() {
            match scm::send(self.socket.as_fd(), &[bytes], fds, true) {
                Ok(sent) => {
                    bytes = &bytes[sent..];
                    fds = &[];
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.ready(PollFlags::POLLOUT, deadline)?;
                }
                Err(error) => return Err(DaemonError::Lost(error)),
            }
        }
        Ok(())
    }
}
