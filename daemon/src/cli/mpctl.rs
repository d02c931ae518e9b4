//! The command line of `mpctl`. Definitions only: what the commands do stands elsewhere.

use super::mpctl_texts::{
    DEATHS_EXAMPLES, DOCTOR_EXAMPLES, EXAMPLES, EXPLAIN_EXAMPLES, INSTALL_EXAMPLES, KILL_EXAMPLES,
    LOGS_EXAMPLES, MAP_EXAMPLES, METRICS_EXAMPLES, RELOAD_EXAMPLES, RUN_EXAMPLES, STATUS_EXAMPLES,
    TOP_EXAMPLES, UPGRADE_EXAMPLES,
};
use super::parsers::{SignalNumber, choice, interval, sandbox_word, subject, worker};
use crate::config::values::duration;
use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand, ValueHint};
use clap_complete::Shell;
use mpserverd_proto::client::{StopPolicy, WorkerRef};
use mpserverd_proto::explain::Subject;
use mpserverd_proto::record::LogLevel;
use std::path::PathBuf;
use std::time::Duration;

/// Words of causes; `limit` is any of its kinds.
const CAUSES: [&str; 14] = [
    "itself",
    "limit",
    "limit-memory",
    "limit-cpu-time",
    "limit-wall-time",
    "limit-file-size",
    "limit-pids",
    "oom",
    "operator",
    "client",
    "client-gone",
    "daemon-stop",
    "deadline",
    "unknown",
];

/// Talk to a running mpserverd: look, run tasks, reload, stop.
#[derive(Parser, Clone, Debug, PartialEq, Eq)]
#[command(name = "mpctl", version, after_help = EXAMPLES)]
pub struct Mpctl {
    /// The daemon's socket [default: MPSERVERD_SOCKET, or that of this user's daemon]
    #[arg(long, global = true, help_heading = "Daemon and output", value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub socket: Option<PathBuf>,

    /// Print JSON for programs instead of text for people
    #[arg(long, global = true, help_heading = "Daemon and output")]
    pub json: bool,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What `mpctl` can do.
#[derive(Subcommand, Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Show templates, spares, workers, clients and limits in numbers
    #[command(after_help = STATUS_EXAMPLES)]
    Status,
    /// List the workers that run
    Ps(Ps),
    /// Show why workers ended: who or what caused it
    #[command(after_help = DEATHS_EXAMPLES)]
    Deaths(Deaths),
    /// List modules with their tasks, load times and errors
    Modules,
    /// Run one task and print its result
    #[command(after_help = RUN_EXAMPLES)]
    Run(Run),
    /// Run a task once for every input, on several workers
    #[command(after_help = MAP_EXAMPLES)]
    Map(Map),
    /// Print the daemon's numbers as OpenMetrics text
    #[command(after_help = METRICS_EXAMPLES)]
    Metrics,
    /// Send a signal to a worker
    #[command(after_help = KILL_EXAMPLES)]
    Kill(Kill),
    /// Read the configuration again and switch to new templates; on any fault nothing changes
    #[command(after_help = RELOAD_EXAMPLES)]
    Reload,
    /// Let another program go on in the daemon's place, with all workers; on any fault nothing changes
    #[command(after_help = UPGRADE_EXAMPLES)]
    Upgrade(Upgrade),
    /// Stop the daemon
    Stop(Stop),
    /// Ask the daemon whether it is there
    Ping,
    /// Watch the daemon on a live screen
    #[command(after_help = TOP_EXAMPLES)]
    Top(Top),
    /// Say why a request waits, or what a worker does
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Explain(Explain),
    /// Print the daemon's log: what it remembers of it, and what follows
    #[command(after_help = LOGS_EXAMPLES)]
    Logs(Logs),
    /// Measure how fast workers start
    Bench(Bench),
    /// Check kernel, limits, units and daemon: what is missing, what that costs, what to do
    #[command(after_help = DOCTOR_EXAMPLES)]
    Doctor(Doctor),
    /// Put systemd's units where they belong, or take them away
    #[command(after_help = INSTALL_EXAMPLES)]
    InstallUnits(InstallUnits),
    /// Let systemd start the next daemon beside workers of the last one; for ExecStopPost=
    #[command(hide = true)]
    ReleaseGroup,
    /// Print completions for a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Print the man page, or write all of them into a folder
    Man {
        /// Write one page a command into this folder
        #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
        out: Option<PathBuf>,
    },
}

/// `mpctl ps`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Ps {
    /// Also list spares, which wait for a job
    #[arg(long, short)]
    pub all: bool,

    /// Only workers that run as this user
    #[arg(long, value_name = "UID")]
    pub uid: Option<u32>,

    /// Only workers of this template, by name or id (t3)
    #[arg(long, value_name = "NAME|ID")]
    pub template: Option<String>,

    /// Only workers that run this task, by its name or the end of it
    #[arg(long, value_name = "TASK")]
    pub task: Option<String>,

    /// Only workers that the client with this pid has
    #[arg(long, value_name = "PID")]
    pub client: Option<u32>,

    /// What to sort by; numbers and times: the largest first
    #[arg(long, value_name = "KEY", value_enum, default_value_t = SortKey::Id)]
    pub sort: SortKey,

    /// The other way round
    #[arg(long, short)]
    pub reverse: bool,

    /// So many rows at most
    #[arg(long, short = 'n', value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
}

/// What workers are sorted by.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum SortKey {
    /// The order in which they were forked
    #[default]
    Id,
    /// Pid
    Pid,
    /// The user that they run as
    Uid,
    /// The task that they run
    Task,
    /// Name of the template
    Template,
    /// Time since they were handed over
    Age,
    /// CPU time; in `top`, CPU use
    Cpu,
    /// Memory of their own
    Memory,
    /// Memory that they share
    Shared,
    /// Pid of the client
    Client,
}

/// `mpctl top`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Top {
    /// Print one frame as text and end; so it is as well where standard output is no terminal
    #[arg(long)]
    pub once: bool,

    /// Time between two looks, from 100ms to 1h
    #[arg(long, short, value_name = "TIME", default_value = "1s", value_parser = interval)]
    pub interval: Duration,

    /// What to sort workers by at first
    #[arg(long, value_name = "KEY", value_enum, default_value_t = SortKey::Cpu)]
    pub sort: SortKey,

    /// Show only workers with this text in one of their columns
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub filter: String,
}

/// `mpctl explain`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Explain {
    /// A worker (w17), a template (t3), or the pid of either, of a client or of the daemon
    #[arg(value_name = "ID|PID", value_parser = subject)]
    pub subject: Subject,
}

/// `mpctl logs`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Logs {
    /// Go on with what is written from now on
    #[arg(long, short)]
    pub follow: bool,

    /// Begin with the last so many records that the daemon remembers
    #[arg(long, short = 'n', value_name = "N", default_value_t = 50)]
    pub lines: u32,

    /// Only records as important as this, or more
    #[arg(long, value_name = "LEVEL", value_parser = choice::<LogLevel>(), default_value = "trace")]
    pub level: LogLevel,
}

/// `mpctl deaths`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Deaths {
    /// Only this worker, by id (w17) or by the pid it had, with all that is known of it
    #[arg(long, value_name = "PID|ID", value_parser = worker)]
    pub worker: Option<WorkerRef>,

    /// Only deaths of this cause
    #[arg(long, value_name = "CAUSE", value_parser = PossibleValuesParser::new(CAUSES))]
    pub cause: Option<String>,

    /// So many at most, the latest
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: u32,

    /// Go on, with a line for each death as it comes
    #[arg(long, short)]
    pub follow: bool,
}

/// `mpctl run`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Name of the task, as `mpctl modules` lists it
    pub task: String,

    /// Its arguments: JSON where it is JSON, else a string
    #[arg(value_name = "ARG", allow_negative_numbers = true)]
    pub args: Vec<String>,

    /// Take the worker from a template with this module; may be given more than once
    #[arg(long = "module", value_name = "MODULE", value_hint = ValueHint::FilePath)]
    pub modules: Vec<String>,

    /// Give up and kill the worker after this time
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub timeout: Option<Duration>,

    /// Name of the process, as `mpctl ps` shows it
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,

    /// Confine the worker; may be given more than once.
    ///
    /// no-exec, no-network, no-sockets, no-ptrace, no-mount, no-kernel, deny=CALL, read-only=PATH,
    /// read-write=PATH, execute=PATH, no-files, private-network, private-tmp
    #[arg(long, value_name = "WORD", value_parser = sandbox_word)]
    pub sandbox: Vec<String>,
}

/// `mpctl map`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Map {
    /// Name of the task, as `mpctl modules` lists it
    pub task: String,

    /// Inputs; without any, the lines of standard input
    #[arg(value_name = "INPUT", allow_negative_numbers = true)]
    pub inputs: Vec<String>,

    /// Take workers from a template with this module; may be given more than once
    #[arg(long = "module", value_name = "MODULE", value_hint = ValueHint::FilePath)]
    pub modules: Vec<String>,

    /// Workers at once [default: one for each CPU]
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub jobs: Option<u32>,

    /// Print results in the order of the inputs; this is the default
    #[arg(long, overrides_with = "unordered")]
    pub ordered: bool,

    /// Print each result as soon as it is there
    #[arg(long, overrides_with = "ordered")]
    pub unordered: bool,

    /// Give up on a single task after this time
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub timeout: Option<Duration>,

    /// Try a task so many times more after it panicked, died or ran out of time
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub retries: u32,

    /// Show no progress on the terminal
    #[arg(long)]
    pub no_progress: bool,

    /// Confine the workers; may be given more than once.
    ///
    /// no-exec, no-network, no-sockets, no-ptrace, no-mount, no-kernel, deny=CALL, read-only=PATH,
    /// read-write=PATH, execute=PATH, no-files, private-network, private-tmp
    #[arg(long, value_name = "WORD", value_parser = sandbox_word)]
    pub sandbox: Vec<String>,
}

/// `mpctl kill`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Kill {
    /// The worker, by pid or by id (w17)
    #[arg(value_name = "PID|ID", value_parser = worker)]
    pub worker: WorkerRef,

    /// The signal, by name or number
    #[arg(long, short, value_name = "NAME|NUM", default_value = "TERM")]
    pub signal: SignalNumber,
}

/// `mpctl upgrade`.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct Upgrade {
    /// The new program [default: the file that the daemon was started from, as it is now]
    #[arg(long, value_name = "PATH", value_hint = ValueHint::ExecutablePath)]
    pub binary: Option<PathBuf>,
}

/// `mpctl stop`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// What happens to workers that run [default: as the daemon is configured]
    #[arg(long, value_name = "POLICY", value_parser = choice::<StopPolicy>())]
    pub policy: Option<StopPolicy>,

    /// How long to wait for them [default: as the daemon is configured]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub grace: Option<Duration>,
}

/// `mpctl install-units`.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct InstallUnits {
    /// For the system manager; the default for root
    #[arg(long, conflicts_with = "user")]
    pub system: bool,

    /// For this user's own manager; the default for anybody else
    #[arg(long)]
    pub user: bool,

    /// One of several hosts on the machine: mpserverd@NAME
    #[arg(long, value_name = "NAME")]
    pub instance: Option<String>,

    /// Add a drop-in; may be given more than once
    #[arg(long = "profile", value_name = "PROFILE",
          value_parser = ["multi-user", "jit", "network", "sandbox"])]
    pub profiles: Vec<String>,

    /// Put this before every path, to build a package or an image
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub prefix: Option<PathBuf>,

    /// Write for this version of systemd instead of the one installed here
    #[arg(long, value_name = "VERSION", value_parser = clap::value_parser!(u32).range(252..))]
    pub for_systemd: Option<u32>,

    /// Overwrite files that somebody changed
    #[arg(long)]
    pub force: bool,

    /// Only show what would be done
    #[arg(long)]
    pub dry_run: bool,

    /// Remove them; a configuration stays
    #[arg(long, conflicts_with = "force")]
    pub uninstall: bool,
}

/// `mpctl doctor`.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct Doctor {
    /// Look at the machine only, not for a daemon
    #[arg(long)]
    pub host_only: bool,
}

/// `mpctl bench`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Bench {
    /// Workers to start, all clients together
    #[arg(long, value_name = "N", default_value_t = 1000,
          value_parser = clap::value_parser!(u64).range(1..))]
    pub starts: u64,

    /// Clients that start them side by side
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub clients: u32,

    /// Measure a template with this module; may be given more than once
    #[arg(long = "module", value_name = "MODULE", value_hint = ValueHint::FilePath)]
    pub modules: Vec<String>,
}

#[cfg(test)]
#[path = "mpctl_tests.rs"]
mod tests;
