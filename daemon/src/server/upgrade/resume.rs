//! The other side of the step: from an image to a daemon that serves.

use super::exec::HANDOVER;
use super::former;
use super::image::{Configured, Image, Luggage, now_ns};
use crate::config::{Config, Environment};
use crate::core::{Core, Event, SessionId};
use crate::launch::Launch;
use crate::pid_file::PidFile;
use crate::server::Server;
use crate::server::access::{guard, own_uid};
use crate::server::audit::AuditLog;
use crate::server::command::Command;
use crate::server::limiter::Limiter;
use crate::server::listener::Listener;
use crate::server::logs::Followers;
use crate::server::notify::Supervisor;
use crate::server::poller::{Poller, Source};
use crate::server::recipes::Recipes;
use crate::server::scrape::Scrapes;
use crate::server::session::Session;
use crate::server::session::carry::SessionRow;
use crate::server::signals::{Caught, Signals};
use crate::server::stderr::Catchers;
use crate::server::store::Store;
use crate::server::templates::TemplateProcess;
use crate::server::templates::carry::TemplateRow;
use crate::server::workers::Workers;
use crate::server::workers::carry::WorkerRow;
use crate::state::{self, StateError};
use mp::sys::{code, fd};
use mpserverd_proto::client::{Reply, Upgraded};
use mpserverd_proto::ids::{RequestId, WorkerId};
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use std::collections::{HashMap, VecDeque};
use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::Read;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};
use tracing::info;

/// What the image before has left for this one.
#[derive(Debug)]
pub struct Handed {
    image: Image,
    core: Core,
    luggage: Luggage,
}

/// What is to be done once the daemon serves again.
#[derive(Debug)]
pub(in crate::server) struct Arrival {
    from: String,
    clock_ns: u64,
    asker: Option<(SessionId, RequestId)>,
    caught: Vec<u64>,
    ready: Option<usize>,
    configured: Configured,
}

impl Handed {
    /// What the environment of this process says that it was left. Called before the process has
    /// opened anything.
    ///
    /// A state that cannot be taken over is told on standard error, and the program is executed once
    /// more without it: templates and workers then come as they do after a crash.
    #[must_use]
    pub fn of_environment() -> Option<Self> {
        let number = std::env::var_os(HANDOVER)?;
        match Self::behind(&number) {
            Ok(handed) => Some(handed),
            Err(error) => afresh(&error),
        }
    }

    fn behind(number: &OsString) -> Result<Self, StateError> {
        let (image, core) = read_image(state_file(number)?)?;
        if image.pid != std::process::id() {
            let text = format!("it is for the process {}", image.pid);
            return Err(StateError::Senseless(text));
        }
        let luggage = Luggage::take_over(&image)?;
        fd::close_on_exec_from(3).map_err(StateError::system("close_range"))?;
        Ok(Self { image, core, luggage })
    }

    /// What the daemon found when it started first: relative paths of the command line mean what
    /// they meant then.
    #[must_use]
    pub fn environment(&self) -> Environment {
        self.image.environment.clone()
    }
}

/// The state behind the descriptor of that number, which nobody can change any more.
#[allow(unsafe_code, reason = "a descriptor that is known by its number only")]
fn state_file(number: &OsString) -> Result<File, StateError> {
    let senseless = || StateError::Senseless(format!("{HANDOVER} is {}", number.display()));
    let number = number.to_str().and_then(|text| text.parse().ok()).filter(|number| *number > 2);
    let number: i32 = number.filter(|number| fd::is_open(*number)).ok_or_else(senseless)?;
    // SAFETY: it is open and no standard stream, and this process has opened nothing yet.
    let file = unsafe { OwnedFd::from_raw_fd(number) };
    let seals = fcntl(&file, FcntlArg::F_GET_SEALS).map(SealFlag::from_bits_retain);
    if !seals.is_ok_and(|seals| seals.contains(SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SHRINK)) {
        return Err(senseless());
    }
    Ok(file.into())
}

/// Reads and checks all but the descriptors.
fn read_image(file: File) -> Result<(Image, Core), StateError> {
    let length = file.metadata().map_err(StateError::system("fstat"))?.len();
    if length > state::BYTES_MAX as u64 {
        return Err(StateError::Length { claimed: length, got: 0 });
    }
    let bytes = fd::read_memfd(&file.into(), length).map_err(StateError::system("pread"))?;
    image_of(&bytes)
}

pub(super) fn image_of(bytes: &[u8]) -> Result<(Image, Core), StateError> {
    let mut image: Image = state::decode(bytes)?;
    image.check()?;
    let core = image.book()?;
    Ok((image, core))
}

/// Executes this program once more, without a state and without the descriptors that came with it.
fn afresh(error: &StateError) -> ! {
    use std::io::Write;
    let _ = writeln!(
        std::io::stderr(),
        "error: cannot go on from the state of the image before, \
                                         starting afresh: {error}"
    );
    let _ = fd::close_on_exec_from(3);
    let text = |text: &std::ffi::OsStr| CString::new(text.as_bytes()).unwrap_or_default();
    let words: Vec<_> = std::env::args_os().map(|word| text(&word)).collect();
    let variables = std::env::vars_os().filter(|(name, _)| name != HANDOVER);
    let variables = variables.map(|(mut entry, value)| {
        entry.push("=");
        entry.push(value);
        text(&entry)
    });
    let variables: Vec<_> = variables.collect();
    let own = std::env::current_exe().unwrap_or_default();
    let Err(errno) = nix::unistd::execve(&text(own.as_os_str()), &words, &variables);
    let _ = writeln!(std::io::stderr(), "error: cannot execute {}: {errno}", own.display());
    std::process::exit(i32::from(crate::cli::EXIT_SYSTEM))
}

/// `--check-state`: whether a state that comes from standard input could be taken over; gives what
/// proves that it was read.
///
/// # Errors
/// Why not.
pub fn check_state() -> Result<String, StateError> {
    let mut bytes = Vec::new();
    let stdin = std::io::stdin().lock();
    stdin
        .take(state::BYTES_MAX as u64)
        .read_to_end(&mut bytes)
        .map_err(StateError::system("read"))?;
    image_of(&bytes)?;
    Ok(state::proof(&bytes))
}

impl<'a> Server<'a> {
    /// The daemon as the image before left it; what this process cannot take over it starts without.
    pub(in crate::server) fn resume(
        config: Config,
        words: Option<Vec<OsString>>,
        launch: &'a mut Launch,
        handed: Handed,
    ) -> (Self, Arrival) {
        match Self::from_image(config, words, launch, handed) {
            Ok(resumed) => resumed,
            Err(error) => afresh(&error),
        }
    }

    fn from_image(
        mut config: Config,
        words: Option<Vec<OsString>>,
        launch: &'a mut Launch,
        Handed { image, core, luggage: mut from }: Handed,
    ) -> Result<(Self, Arrival), StateError> {
        let epoll = || StateError::system("epoll");
        let listener = Listener::from_row(image.listener, &mut from)?;
        listener.path().clone_into(&mut config.socket);
        let poller = Poller::new().map_err(epoll())?;
        let signals = Signals::catch(&poller).map_err(StateError::system("signals"))?;
        poller.add(listener.fd(), Source::Listener, false).map_err(epoll())?;
        let started = from.base();
        let recipes = Recipes::from_row(own_uid(), image.recipes, &mut from)?;
        let limiter = Limiter::go_on(image.groups);
        let catchers = Catchers::from_rows(image.catchers, &mut from, &poller)?;
        let scrapes = Scrapes::from_row(image.metrics, &mut from, &poller)?;
        let audit = config.audit_log.as_deref().map(AuditLog::open);
        let command = match (words, image.command) {
            (Some(words), Some(row)) => Some(Command::from_row(words, row, &mut from)?),
            (words, _) => words.map(Command::new),
        };
        let pid_file = image.pid_file.map(|row| {
            PidFile::go_on(&row.path, from.fd(row.file)?.into())
                .map_err(|error| StateError::Senseless(error.to_string()))
        });
        let mut server = Self {
            config,
            next: None,
            notes: Vec::new(),
            core: core.with_version(env!("CARGO_PKG_VERSION")).with_held(limiter.held()),
            started,
            poller,
            signals,
            listener: Some(listener),
            sessions: HashMap::new(),
            next_session: image.next_session,
            templates: HashMap::new(),
            workers: Workers::default(),
            catchers,
            recipes,
            events: VecDeque::new(),
            command,
            launch,
            supervisor: Supervisor::of_environment(),
            store: Store::of_environment(),
            scrapes,
            limiter,
            woke: Instant::now(),
            followers: Followers::default(),
            audit: audit.transpose().map_err(StateError::system("audit_log"))?,
            upgrade: None,
            program: image.program,
            pid_file: pid_file.transpose()?,
            end: None,
        };
        server.take_in(image.sessions, image.templates, image.workers, &mut from)?;
        if let Some(file) = image.former {
            former::give_up(from.fd(file)?);
        }
        let arrival = Arrival {
            from: image.version,
            clock_ns: image.clock_ns,
            asker: image.asker,
            caught: image.caught,
            ready: image.ready,
            configured: image.configured,
        };
        Ok((server, arrival))
    }

    /// Clients, templates and workers.
    fn take_in(
        &mut self,
        sessions: Vec<SessionRow>,
        templates: Vec<TemplateRow>,
        workers: Vec<WorkerRow>,
        from: &mut Luggage,
    ) -> Result<(), StateError> {
        let epoll = || StateError::system("epoll");
        for row in sessions {
            let (id, session) = (row.id, Session::from_row(row, from)?);
            let writes = session.wants_to_write();
            self.poller.add(session.fd(), Source::Session(id), writes).map_err(epoll())?;
            self.sessions.insert(id, session);
        }
        for row in templates {
            let (id, process) = (row.template, TemplateProcess::from_row(row, from)?);
            self.add_template(id, process).map_err(epoll())?;
        }
        let workers = workers.into_iter().map(|row| self.workers.add_row(row, from));
        let workers = workers.collect::<Result<Vec<_>, _>>()?;
        let orphans = workers.iter().filter(|(_, of)| !self.templates.contains_key(of));
        let orphans: Vec<WorkerId> = orphans.map(|(worker, _)| *worker).collect();
        orphans.into_iter().for_each(|worker| self.watch_orphan(worker));
        self.watch_command().map_err(epoll())?;
        Ok(())
    }

    /// The first things that the daemon does after the step.
    pub(in crate::server) fn arrive(&mut self, arrival: Arrival) {
        // An exec gives it up.
        guard(&self.config.access);
        self.supervisor.go_on(arrival.ready);
        // Their signal may have come in between.
        self.on_child();
        // Nobody measures any more what was being measured.
        for worker in self.core.measuring() {
            self.events.push_back(Event::Measured { worker, sample: None });
        }
        self.events.push_back(Event::Tick);
        for caught in arrival.caught.into_iter().filter_map(Caught::from_number) {
            self.heard(caught);
        }
        let upgraded = Upgraded {
            from: arrival.from,
            to: env!("CARGO_PKG_VERSION").to_owned(),
            binary: self.program.display().to_string(),
            pid: std::process::id(),
            pause_us: now_ns().saturating_sub(arrival.clock_ns) / 1000,
            workers: self.core.summary().1,
        };
        let Upgraded { from, to, binary, pause_us, workers, .. } = &upgraded;
        info!(from, to, binary, pause_us, workers, "upgraded");
        let pause = Duration::from_micros(*pause_us);
        self.events.push_back(Event::UpgradeEnded { pause, error: None });
        if let Some((session, id)) = arrival.asker {
            self.answer(session, id, Reply::Upgraded(upgraded));
        }
        if arrival.configured != Configured::by(&self.config) {
            info!("the configuration is not what it was");
            self.reload(None);
        }
        code::let_go();
    }
}
