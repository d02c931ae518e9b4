//! One connection of a reader of metrics: a request, its answer, perhaps the next.

use super::http::{self, HEAD_BYTES_MAX, Page, Status};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, Shutdown, send, shutdown};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// How long a connection may be idle between two requests: longer than readers commonly pause.
const IDLE: Duration = Duration::from_secs(90);
/// How long somebody who was refused may take to read why.
const LINGER: Duration = Duration::from_secs(2);
/// Bytes that are read from somebody who was refused, so that the refusal is not lost by a reset.
const DRAINED_MAX: usize = 64 << 10;

/// What it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Reading,
    Writing {
        keep: bool,
    },
    /// All was said; what still comes is thrown away.
    Draining {
        drained: usize,
    },
}

/// What the connection waits for next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    ToRead,
    ToWrite,
    /// It is over.
    End,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    socket: OwnedFd,
    stage: Stage,
    input: Vec<u8>,
    output: Vec<u8>,
    sent: usize,
    deadline: Instant,
    /// How long a request may take from its first byte, or from the connection, to its last, and
    /// how long its answer.
    patience: Duration,
    /// There are too many: it is told so instead of an answer.
    surplus: bool,
    /// Since when it has been between two requests.
    idle_since: Option<Instant>,
}

impl Connection {
    pub(super) fn new(socket: OwnedFd, patience: Duration, surplus: bool) -> Self {
        Self {
            socket,
            stage: Stage::Reading,
            input: Vec::new(),
            output: Vec::new(),
            sent: 0,
            deadline: Instant::now() + patience,
            patience,
            surplus,
            idle_since: None,
        }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    pub(super) fn is_surplus(&self) -> bool {
        self.surplus
    }

    /// Since when it has been waiting for another request, of which it has nothing yet.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        self.idle_since
    }

    /// Does what can be done now; `page` gives a page with its status and type. One request at
    /// most: the next has its turn after everybody else's.
    pub(super) fn turn(
        &mut self,
        page: &mut dyn FnMut(Page) -> (Status, &'static str, String),
    ) -> Next {
        match self.stage {
            Stage::Reading => self.read(page),
            Stage::Writing { keep } => self.write(keep),
            Stage::Draining { drained } => self.drain(drained),
        }
    }

    /// Its time is over. Who has begun a request is told so.
    pub(super) fn expire(&mut self) -> Next {
        if self.stage == Stage::Reading && !self.input.is_empty() {
            return self.refuse(Status::Timeout);
        }
        Next::End
    }

    fn read(&mut self, page: &mut dyn FnMut(Page) -> (Status, &'static str, String)) -> Next {
        let mut bytes = [0; HEAD_BYTES_MAX];
        let room = HEAD_BYTES_MAX - self.input.len();
        match nix::unistd::read(&self.socket, &mut bytes[..room]) {
            Ok(0) => return Next::End,
            Ok(got) => self.input.extend_from_slice(&bytes[..got]),
            Err(Errno::EAGAIN | Errno::EINTR) => return Next::ToRead,
            Err(_) => return Next::End,
        }
        if self.idle_since.take().is_some() {
            self.deadline = Instant::now() + self.patience;
        }
        self.take_request(page)
    }

    fn take_request(
        &mut self,
        page: &mut dyn FnMut(Page) -> (Status, &'static str, String),
    ) -> Next {
        let request = match http::parse(&self.input) {
            Ok(None) => return Next::ToRead,
            Ok(Some(_)) if self.surplus => return self.refuse(Status::Unavailable),
            Ok(Some(request)) => request,
            Err(status) => return self.refuse(status),
        };
        self.input.drain(..request.length);
        let (status, content_type, body) = page(request.page);
        let answer = http::answer(status, content_type, &body, request.keep);
        self.say(answer, request.keep)
    }

    fn refuse(&mut self, status: Status) -> Next {
        self.say(http::refusal(status), false)
    }

    fn say(&mut self, answer: Vec<u8>, keep: bool) -> Next {
        self.output = answer;
        self.sent = 0;
        self.stage = Stage::Writing { keep };
        self.deadline = Instant::now() + self.patience;
        self.write(keep)
    }

    fn write(&mut self, keep: bool) -> Next {
        while self.sent < self.output.len() {
            let rest = &self.output[self.sent..];
            match send(self.socket.as_raw_fd(), rest, MsgFlags::MSG_NOSIGNAL) {
                Ok(sent) => self.sent += sent,
                Err(Errno::EAGAIN | Errno::EINTR) => return Next::ToWrite,
                Err(_) => return Next::End,
            }
        }
        self.output = Vec::new();
        if !keep {
            // Closed at once, what is still unread would reset the connection, and the answer
            // with it.
            if shutdown(self.socket.as_raw_fd(), Shutdown::Write).is_err() {
                return Next::End;
            }
            self.stage = Stage::Draining { drained: 0 };
            self.deadline = Instant::now() + LINGER;
            return Next::ToRead;
        }
        self.stage = Stage::Reading;
        let now = Instant::now();
        if self.input.is_empty() {
            self.input = Vec::new();
            self.idle_since = Some(now);
            self.deadline = now + IDLE;
        } else {
            self.deadline = now + self.patience;
        }
        Next::ToRead
    }

    /// Whether a whole request waits in what was read already, for which no readiness will come.
    pub(super) fn has_more(&self) -> bool {
        self.stage == Stage::Reading && !matches!(http::parse(&self.input), Ok(None))
    }

    /// The turn of a request that was read with the one before it.
    pub(super) fn next_turn(
        &mut self,
        page: &mut dyn FnMut(Page) -> (Status, &'static str, String),
    ) -> Next {
        self.take_request(page)
    }

    fn drain(&mut self, drained: usize) -> Next {
        let mut bytes = [0; 4096];
        match nix::unistd::read(&self.socket, &mut bytes) {
            Ok(0) => Next::End,
            Ok(got) if drained + got > DRAINED_MAX => Next::End,
            Ok(got) => {
                self.stage = Stage::Draining { drained: drained + got };
                Next::ToRead
            }
            Err(Errno::EAGAIN | Errno::EINTR) => Next::ToRead,
            Err(_) => Next::End,
        }
    }
}
