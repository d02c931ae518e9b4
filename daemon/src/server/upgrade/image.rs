//! What one image of the daemon tells the next, in rows; descriptors are numbers in them, which stay
//! what they are through an exec.
//!
//! Fields that are added have a `#[serde(default)]`; see [`crate::state`].

use crate::config::sandbox::SandboxTable;
use crate::config::toml_value::TomlValue;
use crate::config::{Config, Environment};
use crate::core::{Core, CoreState, SessionId, Time};
use crate::server::command::carry::CommandRow;
use crate::server::limiter::GroupsRow;
use crate::server::listener::carry::ListenerRow;
use crate::server::recipes::carry::RecipesRow;
use crate::server::scrape::PlaceRow;
use crate::server::session::carry::SessionRow;
use crate::server::stderr::carry::{self, CatcherRow};
use crate::server::templates::carry::TemplateRow;
use crate::server::workers::carry::WorkerRow;
use crate::state::StateError;
use mp::sys::board::Board;
use mpserverd_proto::ids::RequestId;
use mpserverd_proto::template::OnPreloadError;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Clients with their numbers are not believed above this: the next ones would not fit any more.
const SESSION_MAX: u64 = 1 << 55;

/// A descriptor, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(in crate::server) struct Fd(i32);

/// Everything.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::server) struct Image {
    /// The version of the daemon that wrote it.
    pub(super) version: String,
    /// Its pid, which is that of the next.
    pub(super) pid: u32,
    /// What it found when it started.
    pub(super) environment: Environment,
    /// The file that the next upgrade takes unless it is told another.
    #[serde(with = "crate::state::path")]
    pub(super) program: PathBuf,
    /// Nanoseconds of the clock that never jumps.
    pub(super) clock_ns: u64,
    /// How long the daemon had been up then.
    pub(super) elapsed: Duration,
    /// Taken out by [`book`](Self::book).
    pub(super) core: Option<CoreState>,
    pub(super) configured: Configured,
    pub(super) listener: ListenerRow,
    pub(super) sessions: Vec<SessionRow>,
    pub(super) next_session: u64,
    pub(super) templates: Vec<TemplateRow>,
    pub(super) workers: Vec<WorkerRow>,
    /// What is caught of their standard errors.
    #[serde(default)]
    pub(super) catchers: Vec<CatcherRow>,
    pub(super) recipes: RecipesRow,
    /// Control groups.
    pub(super) groups: Option<GroupsRow>,
    /// Where metrics are read.
    pub(super) metrics: Option<PlaceRow>,
    pub(super) command: Option<CommandRow>,
    pub(super) pid_file: Option<PidFileRow>,
    /// The service was ready, with so many modules that could not be preloaded.
    pub(super) ready: Option<usize>,
    /// Signals that came too late to be heard.
    pub(super) caught: Vec<u64>,
    /// Who is to be told that the upgrade is done.
    pub(super) asker: Option<(SessionId, RequestId)>,
    /// The file of the program that wrote it; see [`super::former`].
    #[serde(default)]
    pub(super) former: Option<Fd>,
    /// Every descriptor that is named above.
    pub(super) descriptors: Vec<Fd>,
}

/// The pid file that is held.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PidFileRow {
    pub(super) file: Fd,
    #[serde(with = "crate::state::path")]
    pub(super) path: PathBuf,
}

/// What decides which pools are preloaded. Where the next image finds something else in its
/// configuration, it does what a reload does.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Configured {
    preload: Vec<String>,
    on_preload_error: OnPreloadError,
    #[serde(with = "crate::state::paths")]
    module_path: Vec<PathBuf>,
    settings: crate::core::Settings,
    /// What confines workers, as text.
    #[serde(default)]
    sandbox: Option<String>,
}

impl Configured {
    pub(super) fn by(config: &Config) -> Self {
        Self {
            preload: config.preload.clone(),
            on_preload_error: config.on_preload_error,
            module_path: config.module_path.clone(),
            settings: config.settings.clone(),
            sandbox: config.sandbox.write().filter(|_| config.sandbox != SandboxTable::default()),
        }
    }
}

impl Image {
    /// Takes the book out, checked: that is too much work to be done twice.
    pub(super) fn book(&mut self) -> Result<Core, StateError> {
        let missing = || StateError::Senseless("it has no book".to_owned());
        let book = self.core.take().ok_or_else(missing)?;
        Core::import(book, Time(self.elapsed))
            .map_err(|error| StateError::Senseless(error.to_string()))
    }

    /// Checks all else that can be checked without the descriptors.
    pub(super) fn check(&self) -> Result<(), StateError> {
        let ensure = |holds: bool, what: &str| {
            if holds { Ok(()) } else { Err(StateError::Senseless(what.to_owned())) }
        };
        carry::check(&self.catchers)?;
        ensure(self.next_session < SESSION_MAX, "a number of a client is out of range")?;
        let known = |session: &SessionRow| session.id.0 < self.next_session;
        ensure(self.sessions.iter().all(known), "a client was never given its number")?;
        let mut numbers = self.descriptors.clone();
        numbers.sort_unstable();
        numbers.dedup();
        let distinct = numbers.len() == self.descriptors.len();
        ensure(distinct, "a descriptor is named twice")?;
        ensure(numbers.iter().all(|fd| fd.0 > 2), "a standard stream is named as a descriptor")
    }
}

/// Collects the descriptors that rows name.
#[derive(Debug)]
pub(in crate::server) struct Carrier<'a> {
    base: Instant,
    pub(super) fds: Vec<BorrowedFd<'a>>,
    boards: BTreeSet<Fd>,
}

impl<'a> Carrier<'a> {
    pub(super) fn new(base: Instant) -> Self {
        Self { base, fds: Vec::new(), boards: BTreeSet::new() }
    }

    pub(in crate::server) fn fd(&mut self, fd: BorrowedFd<'a>) -> Fd {
        self.fds.push(fd);
        Fd(fd.as_raw_fd())
    }

    /// A board, which many rows name.
    pub(in crate::server) fn board(&mut self, board: &'a Arc<Board>) -> Fd {
        let fd = Fd(board.fd().as_raw_fd());
        if self.boards.insert(fd) {
            self.fds.push(board.fd());
        }
        fd
    }

    /// The numbers of all of them.
    pub(super) fn numbers(&self) -> Vec<Fd> {
        self.fds.iter().map(|fd| Fd(fd.as_raw_fd())).collect()
    }

    /// A time, as one that the next image can make a time of again.
    pub(in crate::server) fn time(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.base)
    }
}

/// The descriptors that came with an image; what nobody takes is closed.
#[derive(Debug)]
pub(in crate::server) struct Luggage {
    base: Instant,
    fds: BTreeMap<Fd, OwnedFd>,
    boards: BTreeMap<Fd, Arc<Board>>,
}

impl Luggage {
    /// Takes over the descriptors of a checked image. Called once in a process, before it has opened
    /// anything of its own.
    pub(super) fn take_over(image: &Image) -> Result<Self, StateError> {
        let open = |fd: &Fd| mp::sys::fd::is_open(fd.0);
        if let Some(Fd(closed)) = image.descriptors.iter().find(|fd| !open(fd)) {
            return Err(StateError::Senseless(format!("descriptor {closed} is not open")));
        }
        let fds = image.descriptors.iter().map(|fd| (*fd, own(*fd))).collect();
        let passed = now_ns().saturating_sub(image.clock_ns);
        let up = image.elapsed.saturating_add(Duration::from_nanos(passed));
        let now = Instant::now();
        Ok(Self { base: now.checked_sub(up).unwrap_or(now), fds, boards: BTreeMap::new() })
    }

    /// Descriptors that are all of nothing, for an image whose own are nobody's here.
    #[cfg(test)]
    pub(super) fn of_nothing(image: &Image) -> Self {
        let nothing = || std::fs::File::open("/dev/null").expect("there is one").into();
        let fds = image.descriptors.iter().map(|fd| (*fd, nothing())).collect();
        Self { base: Instant::now(), fds, boards: BTreeMap::new() }
    }

    /// When the first image of the daemon started.
    pub(super) fn base(&self) -> Instant {
        self.base
    }

    pub(in crate::server) fn fd(&mut self, fd: Fd) -> Result<OwnedFd, StateError> {
        let missing = || StateError::Senseless(format!("descriptor {} does not come along", fd.0));
        self.fds.remove(&fd).ok_or_else(missing)
    }

    pub(in crate::server) fn fds(&mut self, fds: &[Fd]) -> Result<Vec<OwnedFd>, StateError> {
        fds.iter().map(|fd| self.fd(*fd)).collect()
    }

    /// A board, which many rows name.
    pub(in crate::server) fn board(&mut self, fd: Fd) -> Result<Arc<Board>, StateError> {
        if let Some(known) = self.boards.get(&fd) {
            return Ok(known.clone());
        }
        let board = Board::of(self.fd(fd)?).map_err(StateError::system("mmap"))?;
        let board = Arc::new(board);
        self.boards.insert(fd, board.clone());
        Ok(board)
    }

    pub(in crate::server) fn time(&self, at: Duration) -> Instant {
        self.base.checked_add(at).unwrap_or_else(Instant::now)
    }
}

#[allow(unsafe_code, reason = "descriptors that are known by their numbers only")]
fn own(Fd(number): Fd) -> OwnedFd {
    // SAFETY: the image before had it open for this one, the caller saw that it is open, it is no
    // standard stream, no number comes twice (Image::check), and nothing else is open yet.
    unsafe { OwnedFd::from_raw_fd(number) }
}

/// The clock that all images share.
pub(super) fn now_ns() -> u64 {
    use nix::time::{ClockId, clock_gettime};
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}
