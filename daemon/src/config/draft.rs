//! Every option once: its key, its default, and where its value came from.
//!
//! The file, `--check` and the list of known keys all walk [`Draft::visit`], so that none of them
//! can forget an option.

use super::admission::AdmissionTable;
use super::catch::CatchStderr;
use super::finding::{Finding, Origin};
use super::limits::LimitsTable;
use super::sandbox::SandboxTable;
use super::toml_value::TomlValue;
use super::values::{LogFormat, LogLevel, Spares};
use crate::access::Access;
use crate::core::{PoisonRule, Settings};
use mpserverd_proto::client::StopPolicy;
use mpserverd_proto::template::OnPreloadError;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// An option with its value so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting<T> {
    /// The key in the file; with dashes, the option on the command line.
    pub key: &'static str,
    /// Its value.
    pub value: T,
    /// Who set that.
    pub origin: Origin,
}

impl<T> Setting<T> {
    fn new(key: &'static str, value: T) -> Self {
        Self { key, value, origin: Origin::Default }
    }

    /// Takes a value of higher rank, if there is one.
    pub fn overlay(&mut self, value: Option<T>, origin: Origin) {
        if let Some(value) = value {
            *self = Self { key: self.key, value, origin };
        }
    }

    /// What is wrong with it.
    pub fn finding(&self, file: Option<&Path>, reason: impl Into<String>) -> Finding {
        Finding {
            file: file.map(Path::to_owned),
            origin: self.origin,
            key: self.key.to_owned(),
            reason: reason.into(),
        }
    }
}

/// Something to be done with every option.
pub trait Visitor {
    /// Does it with this one.
    fn visit<T: TomlValue>(&mut self, setting: &mut Setting<T>);

    /// A new group of options begins.
    fn group(&mut self, _title: &'static str) {}
}

macro_rules! draft {
    ($($title:literal { $($(#[$doc:meta])* $key:ident: $type:ty = $default:expr,)* })*) => {
        /// All options with their values so far, before they are checked against each other.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Draft {
            $($($(#[$doc])* pub $key: Setting<$type>,)*)*
        }

        impl Default for Draft {
            fn default() -> Self {
                Self { $($($key: Setting::new(stringify!($key), $default),)*)* }
            }
        }

        impl Draft {
            /// Shows every option to the visitor, in the order in which people read them.
            pub fn visit(&mut self, visitor: &mut impl Visitor) {
                $(
                    visitor.group($title);
                    $(visitor.visit(&mut self.$key);)*
                )*
            }
        }
    };
}

fn core() -> Settings {
    Settings::default()
}

draft! {
    "Templates" {
        /// Modules that every host template loads.
        preload: Vec<String> = Vec::new(),
        /// What to do about one that fails.
        on_preload_error: OnPreloadError = OnPreloadError::default(),
        /// Where modules are looked for.
        module_path: Vec<PathBuf> = Vec::new(),
        /// How long loading and initialising may take.
        preload_timeout: Duration = core().preload_timeout,
        /// How long a program may take to call `freeze_support()`.
        handshake_timeout: Duration = core().handshake_timeout,
        /// How long the trial fork of a template may take.
        canary_timeout: Duration = Duration::from_secs(5),
        /// When a template that was made on demand and has nothing to do is dropped.
        idle_timeout: Duration = core().idle_timeout,
        /// How long a template without daemon and workers waits for the next daemon.
        orphan_grace: Duration = Duration::from_secs(30),
        /// Whether templates put their heap on huge pages.
        hugepages: bool = true,
    }
    "Workers" {
        /// Spares of each template.
        spares: Spares = Spares { min: core().spares_min, max: core().spares_max },
        /// How long a refill waits after a hand-over.
        refill_delay: Duration = core().refill_delay,
        /// How long surplus spares are kept after the last shortage.
        decay_after: Duration = core().decay_after,
    }
    "Limits" {
        /// Workers that run at once.
        max_workers: u64 = core().workers_max,
        /// Templates at once.
        max_templates: u64 = core().templates_max as u64,
        /// Clients at once.
        max_clients: u64 = 1024,
        /// First delay before a template that failed is tried again.
        backoff_min: Duration = core().backoff_min,
        /// Longest such delay.
        backoff_max: Duration = core().backoff_max,
        /// How long a template must live to reset the delay.
        backoff_reset: Duration = core().backoff_reset,
    }
    "Deaths" {
        /// Certificates of deaths that are kept.
        deaths_kept: u64 = core().deaths_kept as u64,
        /// Whose standard error goes through the daemon.
        catch_stderr: CatchStderr = CatchStderr::No,
        /// When a task that still runs is reported.
        slow_log: Option<Duration> = core().slow_log,
        /// When a task is refused for the deaths of its workers.
        poison: PoisonRule = core().poison,
    }
    "Socket" {
        /// Where clients connect. Its default depends on the user.
        socket: Option<PathBuf> = None,
        /// How long a client may take to say hello.
        hello_timeout: Duration = Duration::from_secs(5),
        /// How long a message may take from its first byte to its last.
        frame_timeout: Duration = Duration::from_secs(10),
    }
    "Access" {
        /// Who may use the daemon, and what of it.
        access: Access = Access::default(),
    }
    "Metrics" {
        /// Where metrics are read over HTTP.
        metrics_address: Option<SocketAddr> = None,
        /// Whether that may be an address that others than this machine reach.
        metrics_public: bool = false,
    }
    "Stopping" {
        /// What a stop does to workers.
        stop_policy: StopPolicy = StopPolicy::default(),
        /// How long it waits for them.
        grace: Duration = Duration::from_secs(10),
        /// How long after `SIGTERM` comes `SIGKILL`.
        kill_after: Duration = core().kill_after,
    }
    "Logging" {
        /// What is logged.
        log_level: LogLevel = LogLevel::default(),
        /// How it is written.
        log_format: LogFormat = LogFormat::default(),
        /// Where to, if not to standard error.
        log_file: Option<PathBuf> = None,
        /// Where it is written who asked for what.
        audit_log: Option<PathBuf> = None,
    }
    "Background" {
        /// Whether to detach from the terminal.
        daemonize: bool = false,
        /// Where to write the pid.
        pid_file: Option<PathBuf> = None,
    }
    "Confinement and admission" {
        /// What confines workers.
        sandbox: SandboxTable = SandboxTable::default(),
        /// Who is refused early, and who is penalised.
        admission: AdmissionTable = AdmissionTable::default(),
    }
    "Limits of workers" {
        /// Limits of each worker, user, module, and all together.
        limits: LimitsTable = LimitsTable::default(),
    }
}

impl Draft {
    /// Spares that nobody asked for follow the limit of workers: who wants one worker need not
    /// say that it is one spare, too.
    pub(super) fn fit_spares(&mut self) {
        let workers = u32::try_from(self.max_workers.value).unwrap_or(u32::MAX);
        if self.spares.origin == Origin::Default {
            let Spares { min, max } = self.spares.value;
            self.spares.value = Spares { min: min.min(workers), max: max.min(workers) };
        }
    }
}
