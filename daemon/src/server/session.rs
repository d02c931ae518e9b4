//! One client's connection: the hello, frames in, bounded output.
//!
//! A session that is too slow, too greedy or makes no sense is closed with a reason; nobody else
//! notices.

pub(super) mod carry;

use super::audit::Notes;
use crate::access::Client;
use crate::core::Peer;
use mp::sys::scm;
use mpserverd_proto::client::{Answer, Reply};
use mpserverd_proto::codec;
use mpserverd_proto::error::Refusal;
use mpserverd_proto::frame::{self, Decoder, Frame};
use mpserverd_proto::hello::{HELLO_BYTES, Hello};
use mpserverd_proto::ids::RequestId;
use mpserverd_proto::limits::{FRAME_FDS_MAX, SESSION_OUTPUT_BYTES_MAX};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// Reads of one wake-up at most, so that nobody keeps the loop for itself.
const READS: usize = 16;
const READ_BYTES: usize = 64 << 10;

/// Why a session ends.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("closed by the client")]
    Closed,
    #[error("said nothing of ours within the time for a hello")]
    NoHello,
    #[error("{0}")]
    Hello(#[from] mpserverd_proto::hello::HelloError),
    #[error("refused; it has been told why")]
    Refused,
    #[error("half a frame, and nothing for too long")]
    HalfFrame,
    #[error("{0}")]
    Frame(#[from] frame::FrameError),
    #[error("descriptors without a frame that wants them")]
    StrayDescriptors,
    #[error("does not read its answers")]
    SlowReader,
    #[error("{0}")]
    System(#[from] io::Error),
}

impl Fault {
    /// Whether no client of good will ends so.
    pub(super) fn is_misdeed(&self) -> bool {
        match self {
            // One that was refused has been told, and counted for what it did.
            Self::Closed | Self::Refused | Self::System(_) => false,
            Self::NoHello
            | Self::Hello(_)
            | Self::HalfFrame
            | Self::Frame(_)
            | Self::StrayDescriptors
            | Self::SlowReader => true,
        }
    }
}

/// Where a session stands.
#[derive(Debug)]
enum Stage {
    /// Its hello is not complete.
    Hello(Vec<u8>),
    /// It may ask.
    Open,
    /// It gets what is queued, then it is closed.
    Closing,
}

/// A piece of output: bytes from an offset on, with descriptors for the first of them.
#[derive(Debug)]
struct Output {
    bytes: Vec<u8>,
    sent: usize,
    fds: Vec<OwnedFd>,
}

/// One client.
#[derive(Debug)]
pub(super) struct Session {
    socket: OwnedFd,
    stage: Stage,
    decoder: Decoder,
    fds: VecDeque<OwnedFd>,
    output: VecDeque<Output>,
    output_bytes: usize,
    deadline: Option<Instant>,
    /// Too many descriptors are on their way: nothing is sent before this time.
    crowded: Option<Instant>,
    pub(super) peer: Peer,
    /// The same for the policy, with all groups.
    pub(super) client: Client,
    /// What it has asked and opened, for the audit log.
    pub(super) notes: Notes,
    /// Whether writing is watched.
    pub(super) watched_writes: bool,
}

impl Session {
    pub(super) fn new(socket: OwnedFd, peer: Peer, client: Client, hello: Duration) -> Self {
        Self {
            socket,
            stage: Stage::Hello(Vec::with_capacity(HELLO_BYTES)),
            decoder: Decoder::new(),
            fds: VecDeque::new(),
            output: VecDeque::new(),
            output_bytes: 0,
            deadline: Some(Instant::now() + hello),
            crowded: None,
            peer,
            client,
            notes: Notes::default(),
            watched_writes: false,
        }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// The peer itself: a pid that was given to somebody else meanwhile is nobody. Kernels before
    /// 6.5 know it by its number only.
    pub(super) fn process(&self) -> io::Result<OwnedFd> {
        match mp::sys::peer::pidfd(self.fd()) {
            Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => {
                mp::sys::wait::pidfd_open(self.peer.pid)
            }
            told => told,
        }
    }

    /// When to look at it although its socket says nothing: it must have said more, or what was
    /// put off is sent again.
    pub(super) fn due(&self) -> Option<Instant> {
        [self.deadline, self.crowded].into_iter().flatten().min()
    }

    /// Whether it has passed the hello.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open)
    }

    /// Why it is late, if it is.
    pub(super) fn lateness(&self, now: Instant) -> Option<Fault> {
        self.deadline.filter(|at| *at <= now)?;
        Some(match self.stage {
            Stage::Hello(_) => Fault::NoHello,
            Stage::Open => Fault::HalfFrame,
            Stage::Closing => Fault::SlowReader,
        })
    }

    /// Whether it is to be told when there is room in the socket.
    pub(super) fn wants_to_write(&self) -> bool {
        !self.output.is_empty() && self.crowded.is_none()
    }

    /// Reads what is there; true when the hello was passed just now.
    pub(super) fn read(&mut self, frame_time: Duration) -> Result<bool, Fault> {
        let mut opened = false;
        let mut bytes = Vec::with_capacity(READ_BYTES);
        for _ in 0..READS {
            let mut fds = Vec::new();
            let got = match scm::receive_into(self.socket.as_fd(), &mut bytes, &mut fds, true) {
                Ok(0) => return Err(Fault::Closed),
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            };
            self.fds.extend(fds);
            if self.fds.len() > FRAME_FDS_MAX {
                return Err(Fault::StrayDescriptors);
            }
            opened |= self.take(&bytes)?;
            if got < READ_BYTES {
                break;
            }
        }
        if self.is_open() {
            self.time_frame(frame_time);
        }
        Ok(opened)
    }

    /// A frame that has begun must be complete in time.
    fn time_frame(&mut self, frame_time: Duration) {
        self.deadline = match (self.decoder.is_partial(), self.deadline) {
            (false, _) => None,
            (true, Some(running)) => Some(running),
            (true, None) => Some(Instant::now() + frame_time),
        };
    }

    fn take(&mut self, bytes: &[u8]) -> Result<bool, Fault> {
        let hello = match &mut self.stage {
            Stage::Closing => return Ok(false),
            Stage::Open => {
                self.decoder.feed(bytes);
                return Ok(false);
            }
            Stage::Hello(hello) => hello,
        };
        let missing = HELLO_BYTES - hello.len();
        let (now, later) = bytes.split_at(missing.min(bytes.len()));
        hello.extend_from_slice(now);
        let Some(whole) = hello.first_chunk::<HELLO_BYTES>() else { return Ok(false) };
        let reply = Hello::decode(*whole)?.answer();
        self.queue(reply.encode().to_vec(), Vec::new())?;
        if reply.chosen == 0 {
            self.stage = Stage::Closing;
            return Ok(false);
        }
        self.stage = Stage::Open;
        self.deadline = None;
        self.decoder.feed(later);
        Ok(true)
    }

    /// The next whole frame with its descriptors.
    pub(super) fn next_frame(&mut self) -> Result<Option<(Frame, Vec<OwnedFd>)>, Fault> {
        if !self.is_open() {
            return Ok(None);
        }
        let Some(frame) = self.decoder.next_frame()? else { return Ok(None) };
        if self.fds.len() < frame.fds {
            return Err(Fault::StrayDescriptors);
        }
        let fds = self.fds.drain(..frame.fds).collect();
        if !self.decoder.is_partial() {
            self.deadline = None;
        }
        Ok(Some((frame, fds)))
    }

    /// Sends an answer, or queues what the client does not take at once.
    pub(super) fn answer(
        &mut self,
        id: RequestId,
        reply: Reply,
        fds: &[BorrowedFd<'_>],
    ) -> Result<(), Fault> {
        let encoded = codec::encode(&Answer { id, reply }).unwrap_or_else(|error| {
            let reply = Reply::Refused(Refusal::BadRequest(format!("no answer fits: {error}")));
            codec::encode(&Answer { id, reply }).unwrap_or_default()
        });
        let bytes = frame::encode(&encoded, fds.len())?;
        if self.output.is_empty() {
            match scm::send(self.socket.as_fd(), &[&bytes], fds, true) {
                Ok(sent) if sent == bytes.len() => return Ok(()),
                Ok(sent) => return self.queue_from(bytes, sent, Vec::new()),
                Err(error) => self.put_off(error)?,
            }
        }
        let fds = fds.iter().map(|fd| fd.try_clone_to_owned()).collect::<io::Result<_>>()?;
        self.queue(bytes, fds)
    }

    /// Says why, then closes once that is sent.
    pub(super) fn refuse(&mut self, why: Refusal) -> Result<(), Fault> {
        self.answer(RequestId(0), Reply::Refused(why), &[])?;
        self.stage = Stage::Closing;
        Ok(())
    }

    fn queue(&mut self, bytes: Vec<u8>, fds: Vec<OwnedFd>) -> Result<(), Fault> {
        self.queue_from(bytes, 0, fds)
    }

    fn queue_from(&mut self, bytes: Vec<u8>, sent: usize, fds: Vec<OwnedFd>) -> Result<(), Fault> {
        self.output_bytes += bytes.len() - sent;
        if self.output_bytes > SESSION_OUTPUT_BYTES_MAX {
            return Err(Fault::SlowReader);
        }
        self.output.push_back(Output { bytes, sent, fds });
        Ok(())
    }

    /// Writes what the client takes now.
    pub(super) fn write(&mut self) -> Result<(), Fault> {
        if self.crowded.is_some_and(|until| Instant::now() < until) {
            return Ok(());
        }
        self.crowded = None;
        while let Some(output) = self.output.front_mut() {
            let fds = output.fds.iter().map(AsFd::as_fd).collect::<Vec<_>>();
            match scm::send(self.socket.as_fd(), &[&output.bytes[output.sent..]], &fds, true) {
                Ok(sent) => {
                    output.sent += sent;
                    output.fds.clear();
                    self.output_bytes -= sent;
                    if output.sent == output.bytes.len() {
                        self.output.pop_front();
                    }
                }
                Err(error) => return self.put_off(error),
            }
        }
        match self.stage {
            Stage::Closing => Err(Fault::Refused),
            Stage::Hello(_) | Stage::Open => Ok(()),
        }
    }

    /// What cannot be sent now waits, unless it can never be sent.
    fn put_off(&mut self, error: io::Error) -> Result<(), Fault> {
        if scm::crowded(&error) {
            self.crowded = Some(Instant::now() + scm::CROWDED_PAUSE);
        } else if error.kind() != io::ErrorKind::WouldBlock {
            return Err(error.into());
        }
        Ok(())
    }
}
