//! The daemon's loop and its I/O: descriptors in, events to the core, actions out.
//!
//! | file | holds |
//! |---|---|
//! | [`access`] | what a client may ask |
//! | [`attach`] | templates of earlier daemons that offer themselves |
//! | [`audit`] | the log of who asked for what |
//! | [`poller`] | epoll and what a readiness belongs to |
//! | [`activation`] | sockets that a supervisor passed in |
//! | [`listener`] | the socket file, its lock, accepting |
//! | [`session`] | one client's connection: hello, frames, bounded output |
//! | [`requests`] | what a client asks, turned into events |
//! | [`logs`] | who reads and follows the log |
//! | [`evidence`] | what workers say about themselves |
//! | [`recipes`] | what pools are built from |
//! | [`owners`] | whose pools are, and as whom their processes run |
//! | [`rights`] | what a client may read and execute |
//! | [`exec`] | starting a template's process |
//! | [`templates`] | the templates' control sockets |
//! | [`workers`] | the descriptors of spares and workers, and how orphans end |
//! | [`stderr`] | what workers write to standard error, where it is caught |
//! | [`limiter`] | holding workers to their limits |
//! | [`cgroup`] | control groups, of the daemon and of limited workers |
//! | [`tree`] | a process and its descendants, where there are no control groups |
//! | [`sampler`] | the thread that measures them |
//! | [`actions`] | doing what the core wants done |
//! | [`signals`] | signals as readable descriptors |
//! | [`scrape`] | metrics over HTTP |
//! | [`notify`] | telling the supervisor |
//! | [`command`] | the command of `mpserverd run` |
//! | [`slow`] | what a worker does whose task runs long |
//! | [`store`] | what the supervisor keeps for the case of a crash |
//! | [`upgrade`] | going on as another program |
//! | [`sweep`] | leaving no process behind |
//!
//! # Invariants
//!
//! The loop blocks in `epoll_wait` and nowhere else. It decides nothing: every choice is the
//! core's. It never forks (templates are executed by `posix_spawn`), never loads a module, and
//! never sees a job. A peer's fault closes that peer's connection and nothing else.

mod access;
mod actions;
mod activation;
mod attach;
mod audit;
mod cgroup;
mod command;
mod evidence;
mod exec;
mod limiter;
mod listener;
mod logs;
mod notify;
mod owners;
mod poller;
mod recipes;
mod requests;
mod rights;
mod sampler;
mod scrape;
mod session;
mod signals;
mod slow;
mod stderr;
mod store;
mod sweep;
mod templates;
mod tree;
mod upgrade;
mod workers;

use crate::cli::{EXIT_SYSTEM, EXIT_USAGE};
use crate::config::Config;
use crate::core::{Core, Event, SessionId, Time};
use crate::launch::Launch;
use crate::pid_file::PidFile;
use command::Command;
use limiter::Limiter;
use listener::Listener;
use logs::Followers;
use mpserverd_proto::error::PreloadError;
use mpserverd_proto::ids::{TemplateId, WorkerId};
use nix::time::{ClockId, clock_gettime};
use notify::Supervisor;
use poller::{Poller, Source};
use recipes::Recipes;
use requests::Next;
use session::Session;
use signals::{Caught, Signals};
use std::collections::{HashMap, VecDeque};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};
use stderr::Catchers;
use store::Store;
use templates::TemplateProcess;
use tracing::{error, info, warn};
use upgrade::Upgrade;
use workers::Workers;

pub use upgrade::{Handed, check_state};

/// Why the daemon ended otherwise than asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The socket cannot be had.
    #[error(transparent)]
    Listen(#[from] listener::ListenError),
    /// The address of metrics cannot be had.
    #[error(transparent)]
    Scrape(#[from] scrape::place::ScrapeError),
    /// A preloaded module failed under the policy `fail`.
    #[error("preload failed: {0}")]
    Preload(PreloadError),
    /// The command of `run` could not be started.
    #[error("cannot run {command}: {source}")]
    Command {
        /// The command.
        command: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The kernel, or a filter of its calls, has no pidfds for us.
    #[error(
        "cannot use pidfds: {0}; mpserverd needs Linux 5.10 or later, and a seccomp profile (of the \
         container, of the unit) that allows pidfd_open and pidfd_send_signal; see `mpctl doctor`"
    )]
    Kernel(std::io::Error),
    /// The system refused.
    #[error("{call}: {source}")]
    System {
        /// The call.
        call: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

impl ServeError {
    /// The exit code for it.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            // The next attempt would fail the same way.
            Self::Kernel(_) => EXIT_USAGE,
            _ => EXIT_SYSTEM,
        }
    }

    fn system(call: &'static str) -> impl Fn(std::io::Error) -> Self {
        move |source| Self::System { call, source }
    }
}

/// Everything that the loop has.
struct Server<'a> {
    config: Config,
    /// What serves once the reload in progress has succeeded.
    next: Option<Next>,
    /// What the answer to the reload that has just succeeded is to say too.
    notes: Vec<String>,
    core: Core,
    started: Instant,
    poller: Poller,
    signals: Signals,
    listener: Option<Listener>,
    sessions: HashMap<SessionId, Session>,
    next_session: u64,
    templates: HashMap<TemplateId, TemplateProcess>,
    workers: Workers,
    catchers: Catchers,
    limiter: Limiter,
    recipes: Recipes,
    events: VecDeque<Event>,
    command: Option<Command>,
    launch: &'a mut Launch,
    supervisor: Supervisor,
    scrapes: scrape::Scrapes,
    /// When the loop last woke up.
    woke: Instant,
    followers: Followers,
    audit: Option<audit::AuditLog>,
    store: Store,
    upgrade: Option<Upgrade>,
    /// The file that the next upgrade takes unless it is told another.
    program: PathBuf,
    pid_file: Option<PidFile>,
    /// Set when the loop is to end.
    end: Option<Result<(), ServeError>>,
}

/// Serves until stopped; with a command, for as long as that runs.
///
/// Says through `launch` when the service is ready. With what an earlier image of the process has
/// left, it goes on from there.
///
/// # Errors
///
/// Why it could not serve.
pub(crate) fn run(
    config: Config,
    command: Option<Vec<OsString>>,
    launch: &mut Launch,
    pid_file: Option<PidFile>,
    handed: Option<Handed>,
) -> Result<ExitCode, ServeError> {
    check_kernel()?;
    prepare_process()?;
    let mut server = match handed {
        None => {
            let mut server = Server::new(config, command.map(Command::new), launch)?;
            server.pid_file = pid_file;
            server.configure_first();
            server
        }
        Some(handed) => {
            let (mut server, arrival) = Server::resume(config, command, launch, handed);
            server.arrive(arrival);
            server
        }
    };
    let ended = server.serve();
    let code = server.command.as_ref().and_then(Command::exit_code);
    server.clean_up();
    ended.map(|()| code.unwrap_or(ExitCode::SUCCESS))
}

/// Without pidfds the daemon could neither see that somebody ended nor send a signal to the right
/// one. Asked once, so that the reason is told here and not by the first template that fails.
fn check_kernel() -> Result<(), ServeError> {
    use mp::sys::wait;
    use std::os::fd::AsFd;
    let own = wait::pidfd_open(std::process::id());
    own.and_then(|own| wait::signal(own.as_fd(), 0)).map_err(ServeError::Kernel)
}

/// What the process must have before it opens anything.
fn prepare_process() -> Result<(), ServeError> {
    use mp::sys::{attributes, fd};
    use std::os::fd::AsFd;
    let null = std::fs::File::options().read(true).write(true).open("/dev/null");
    let null = null.map_err(ServeError::system("/dev/null"))?;
    for number in 0..=2 {
        // A closed stream's number would be given to a socket.
        if !fd::is_open(number) {
            let _ = fd::install_standard(null.as_fd(), number);
        }
    }
    attributes::become_subreaper().map_err(ServeError::system("prctl"))?;
    if let Err(error) = attributes::raise_descriptor_limit() {
        warn!(%error, "cannot raise the limit of open files");
    }
    Ok(())
}

impl<'a> Server<'a> {
    fn new(
        mut config: Config,
        command: Option<Command>,
        launch: &'a mut Launch,
    ) -> Result<Self, ServeError> {
        // First, while no descriptor of ours can have a number that a supervisor announced.
        let passed = activation::passed().map_err(listener::ListenError::from)?;
        let shared = config.access.is_shared();
        let listener = Listener::open(&config.socket, shared, passed.socket)?;
        // Templates come back to where clients come.
        listener.path().clone_into(&mut config.socket);
        let poller = Poller::new().map_err(ServeError::system("epoll"))?;
        let signals = Signals::catch(&poller).map_err(ServeError::system("signals"))?;
        poller
            .add(listener.fd(), Source::Listener, false)
            .map_err(ServeError::system("epoll_ctl"))?;
        // Before templates are started, which are born where the daemon is.
        let limiter = Limiter::start(&config);
        let scrapes = scrape::Scrapes::open(&config, &poller)?;
        let started = Instant::now();
        let pid = std::process::id();
        let socket = config.socket.to_string_lossy().into_owned();
        let core = Core::new(Time::default(), env!("CARGO_PKG_VERSION"), pid, &socket, 1)
            .with_first_worker(first_worker())
            .with_seed(seed())
            .with_uid(nix::unistd::geteuid().as_raw())
            .with_held(limiter.held());
        let audit = config.audit_log.as_deref().map(audit::AuditLog::open).transpose();
        let audit = audit.map_err(ServeError::system("audit_log"))?;
        let core = store::recall(core, passed.kept);
        info!(socket, pid, "listening");
        let program = upgrade::binary::own_path(&config.environment().directory);
        Ok(Self {
            config,
            next: None,
            notes: Vec::new(),
            core,
            started,
            poller,
            signals,
            listener: Some(listener),
            sessions: HashMap::new(),
            next_session: 1,
            templates: HashMap::new(),
            workers: Workers::default(),
            catchers: Catchers::default(),
            limiter,
            recipes: Recipes::new(access::own_uid()),
            events: VecDeque::new(),
            command,
            launch,
            supervisor: Supervisor::of_environment(),
            scrapes,
            woke: started,
            followers: Followers::default(),
            audit,
            store: Store::of_environment(),
            upgrade: None,
            program,
            pid_file: None,
            end: None,
        })
    }

    fn now(&self) -> Time {
        Time(self.started.elapsed())
    }

    /// The main loop: wait, hear everybody, act, until there is nothing left to serve.
    fn serve(&mut self) -> Result<(), ServeError> {
        loop {
            self.settle();
            self.upgrade_if_due();
            if let Some(end) = self.end.take() {
                return end;
            }
            self.core.note_turn(self.woke.elapsed());
            let ready = self.poller.wait(self.timeout()).map_err(ServeError::system("epoll"))?;
            self.woke = Instant::now();
            for (source, readiness) in ready {
                self.dispatch(source, readiness);
                self.settle();
            }
            self.expire_sessions();
            self.expire_readers();
            self.hear_again();
            self.on_trial();
            self.tell_supervisor();
            self.audit.iter_mut().for_each(audit::AuditLog::retry);
            self.events.push_back(Event::Tick);
        }
    }

    /// Feeds the core all that happened, and does what it wants, until both are silent.
    fn settle(&mut self) {
        let mut actions = Vec::new();
        while !self.events.is_empty() {
            while let Some(event) = self.events.pop_front() {
                let now = self.now();
                if matches!(event, Event::WorkerEnded { .. } | Event::Missed { .. }) {
                    self.core.set_wall_clock(epoch_ms());
                }
                self.core.handle(now, event, &mut actions);
                for action in actions.drain(..) {
                    self.act(action);
                }
            }
            // Last: all that was worth a record has happened. Who takes no answer is one more event.
            self.tell_followers();
        }
    }

    /// Time until the next thing to do, or `None` to sleep until somebody speaks.
    fn timeout(&self) -> Option<Duration> {
        let core = self.core.next_deadline().map(|at| self.started + at.0);
        let sessions = self.sessions.values().filter_map(Session::due).min();
        let retry = self.listener.as_ref().and_then(Listener::retry_at);
        let orphans = self.workers.retry_at();
        let supervisor = self.supervisor.due();
        let readers = self.scrapes.deadline();
        let followers = self.followers.deadline();
        let audit = self.audit.as_ref().and_then(audit::AuditLog::due);
        let upgrade = self.upgrade.as_ref().and_then(Upgrade::deadline);
        let store = self.store.due();
        let stderr = self.catchers.due();
        let next = [
            core, sessions, retry, orphans, supervisor, readers, followers, audit, upgrade, store,
            stderr,
        ];
        let next = next.into_iter().flatten().min()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    /// What the supervisor is to know, and what it wants to know.
    fn tell_supervisor(&mut self) {
        self.supervisor.describe(self.core.summary());
        self.store.keep(&self.core);
        if self.supervisor.wants_probe() {
            self.events.push_back(Event::ProbeDue);
        }
    }

    fn dispatch(&mut self, source: Source, readiness: poller::Readiness) {
        match source {
            Source::Listener => self.accept(),
            Source::Session(session) => self.on_session(session, readiness),
            Source::Control(template) => self.on_control(template, readiness),
            Source::TemplateEnd(template) => self.on_template_end(template),
            Source::OrphanEnd(worker) => self.on_orphan_end(worker),
            Source::Stderr(worker) => self.on_stderr(worker),
            Source::CommandEnd => self.on_command_end(),
            Source::Samples => self.take_samples(),
            Source::Signal(caught) => self.on_signal(caught),
            Source::Scrapes => self.accept_readers(),
            Source::Scrape(id) => self.on_reader(id, readiness),
            Source::Trial => self.on_trial(),
        }
    }

    fn on_signal(&mut self, caught: Caught) {
        if self.signals.drain(caught) {
            self.heard(caught);
        }
    }

    fn heard(&mut self, caught: Caught) {
        match caught {
            Caught::Upgrade => self.upgrade(None, None),
            Caught::Child => self.on_child(),
            Caught::Hangup => self.reload(None),
            Caught::Interrupt | Caught::Terminate if self.command_runs() => {
                // The terminal has told the command already; a supervisor has not.
                if caught == Caught::Terminate
                    && let Some(command) = &self.command
                {
                    command.terminate();
                }
            }
            Caught::Interrupt | Caught::Terminate => {
                info!("stopping on {caught:?}");
                let (policy, grace) = (self.config.stop_policy, self.config.stop_grace);
                self.events.push_back(Event::StopAsked { origin: None, policy, grace });
            }
        }
    }

    /// The daemon must not start, or cannot go on.
    fn fail(&mut self, why: ServeError) {
        error!("{why}");
        self.end.get_or_insert(Err(why));
    }

    /// What is left once the loop has ended, for whatever reason.
    fn clean_up(&mut self) {
        drop(self.listener.take());
        self.tell_followers();
        self.sessions.clear();
        for template in self.templates.values() {
            template.kill();
        }
        self.workers.kill_all();
        self.templates.clear();
        self.close_limiter();
        info!("stopped");
    }
}

/// The date, for people. Nothing is timed by it: it jumps.
fn epoch_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as u64
}

/// Where ids of workers begin: above those of any earlier daemon, whose workers may still live.
fn first_worker() -> u64 {
    // Workers do not outlive the machine; and this clock, unlike the date, never goes back.
    let since = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from);
    // More than the earlier daemon can have given: it never made a thousand workers a millisecond.
    (since.as_millis() as u64) << 10
}

/// What the core leaves to chance begins here: nobody outside knows.
fn seed() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}

/// A worker's place in the tables, for messages.
fn describe(worker: WorkerId, pid: u32) -> String {
    format!("{worker} (pid {pid})")
}
