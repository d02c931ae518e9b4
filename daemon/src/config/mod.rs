//! The configuration: defaults, file, environment and command line, in rising rank.
//!
//! | file | holds |
//! |---|---|
//! | [`draft`] | every option once, with its default and where its value came from |
//! | [`values`] | how values are spelt, on the command line and in the file |
//! | [`toml_value`] | how each type stands in the file |
//! | `access` | how the table `[access]` stands in it |
//! | `file` | reading the file, with every finding and its place |
//! | [`sandbox`], [`admission`], `table` | the tables `[sandbox]` and `[admission]` |
//! | [`limits`] | the table `[limits]` and those below it |
//! | `checks` | what only a check or a reload looks at: modules, and what a reload cannot change |
//! | `validate` | ranges, and the rules between options |
//! | [`environment`] | environment variables, directory, default socket |
//! | [`finding`] | what is wrong, where, and what is allowed |
//! | `show` | the output of `--check` |
//! | [`modules`] | from the name of a module to its file |
//! | [`elf`] | telling shared objects from programs and from everything else |
//!
//! Nothing here opens a socket, starts a process, logs, or keeps state between two loads.

mod access;
pub mod admission;
pub mod catch;
mod checks;
pub mod draft;
pub mod elf;
pub mod environment;
mod file;
pub mod finding;
pub mod limits;
pub mod modules;
pub mod sandbox;
mod show;
mod table;
#[cfg(test)]
mod tests;
pub mod toml_value;
mod validate;
pub mod values;

pub use environment::{Environment, default_socket};
pub use finding::{Finding, Findings};

use crate::access::Access;
use crate::cli::options::Options;
use crate::core::Settings;
use draft::Draft;
use finding::Origin;
use limits::Cgroup;
use mpserverd_proto::client::StopPolicy;
use mpserverd_proto::template::OnPreloadError;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use values::{LogFormat, LogLevel};

/// What kind of daemon is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// One that serves whoever may connect.
    Service,
    /// One that serves a command and ends with it. Its socket is its own, unless the command line
    /// names one: neither file nor environment do.
    Private,
}

/// How and where to log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogConfig {
    /// What is logged.
    pub level: LogLevel,
    /// How.
    pub format: LogFormat,
    /// Where to; `None`: standard error.
    pub file: Option<PathBuf>,
}

/// A configuration that keeps every rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Modules of the default template, each a name or an absolute path.
    pub preload: Vec<String>,
    /// What to do about one that fails.
    pub on_preload_error: OnPreloadError,
    /// Where clients connect; absolute.
    pub socket: PathBuf,
    /// Where modules are looked for, in this order; absolute.
    pub module_path: Vec<PathBuf>,
    /// What the core works by.
    pub settings: Settings,
    /// What a stop does to workers.
    pub stop_policy: StopPolicy,
    /// How long it waits for them.
    pub stop_grace: Duration,
    /// Who may use the daemon, and what of it.
    pub access: Access,
    /// Clients at once.
    pub clients_max: usize,
    /// How long a client may take to say hello.
    pub hello_deadline: Duration,
    /// How long a message may take from its first byte to its last.
    pub frame_deadline: Duration,
    /// How long a template without daemon and workers waits for the next daemon.
    pub orphan_grace: Duration,
    /// How long the trial fork of a template may take.
    pub canary_timeout: Duration,
    /// Whether templates put their heap on huge pages (`GLIBC_TUNABLES`).
    pub hugepages: bool,
    /// Where control groups for limited workers are made.
    pub cgroup: Cgroup,
    /// How and where to log.
    pub log: LogConfig,
    /// Where metrics are read over HTTP, if anywhere.
    pub metrics_address: Option<SocketAddr>,
    /// Whether others than this machine may reach that.
    pub metrics_public: bool,
    /// Where it is written who asked for what; absolute.
    pub audit_log: Option<PathBuf>,
    /// Where to write the pid; absolute.
    pub pid_file: Option<PathBuf>,
    /// Whether to detach from the terminal.
    pub daemonize: bool,
    /// Whose standard error goes through the daemon.
    pub catch_stderr: catch::CatchStderr,
    /// What confines workers, whatever their clients ask for.
    pub sandbox: sandbox::SandboxTable,
    draft: Draft,
    source: Source,
}

/// What a configuration was made from, to make it again.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Source {
    options: Options,
    environment: Environment,
    purpose: Purpose,
    file: Option<PathBuf>,
}

impl Config {
    /// Makes the configuration that these options and this environment ask for, reading the file
    /// that the options name.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, in the order of the file.
    pub fn load(
        options: Options,
        environment: Environment,
        purpose: Purpose,
    ) -> Result<Self, Findings> {
        let file = options.config.as_deref().map(|file| environment.absolute(file));
        Self::from_source(Source { options, environment, purpose, file })
    }

    /// Reads the file again, with the same command line and environment.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it now; this configuration stays as it is.
    pub fn reload(&self) -> Result<Self, Findings> {
        Self::from_source(self.source.clone())
    }

    /// The surroundings that it was made in.
    pub fn environment(&self) -> &Environment {
        &self.source.environment
    }

    /// The file that it was read from.
    pub fn file(&self) -> Option<&std::path::Path> {
        self.source.file.as_deref()
    }

    fn from_source(source: Source) -> Result<Self, Findings> {
        let Source { options, environment, purpose, file } = &source;
        let mut draft = Draft::default();
        let mut findings = Vec::new();
        if let Some(file) = file {
            match file::load(file, &mut draft) {
                Ok(found) => findings.extend(found),
                Err(found) => findings.push(found),
            }
        }
        overlay_environment(&mut draft, environment, *purpose);
        options.overlay(&mut draft, environment);
        draft.fit_spares();
        findings.extend(validate::check(&draft, file.as_deref()));
        findings.sort_by_key(|finding| match finding.origin {
            Origin::File { line, column } => (line, column),
            _ => (usize::MAX, 0),
        });
        if findings.is_empty() {
            Ok(Self::from_draft(draft, source))
        } else {
            Err(Findings(findings))
        }
    }

    fn from_draft(draft: Draft, source: Source) -> Self {
        let of = draft.clone();
        let settings = Settings {
            spares_min: of.spares.value.min,
            spares_max: of.spares.value.max,
            workers_max: of.max_workers.value,
            templates_max: usize::try_from(of.max_templates.value).unwrap_or(usize::MAX),
            preload_timeout: of.preload_timeout.value,
            handshake_timeout: of.handshake_timeout.value,
            idle_timeout: of.idle_timeout.value,
            backoff_min: of.backoff_min.value,
            backoff_max: of.backoff_max.value,
            backoff_reset: of.backoff_reset.value,
            refill_delay: of.refill_delay.value,
            decay_after: of.decay_after.value,
            kill_after: of.kill_after.value,
            admission: of.admission.value.rules(),
            limits: of.limits.value.to_core(source.file.as_deref()),
            deaths_kept: usize::try_from(of.deaths_kept.value).unwrap_or(usize::MAX),
            slow_log: of.slow_log.value,
            poison: of.poison.value,
            operators: of.access.value.operator_uids(source.environment.uid),
        };
        Self {
            preload: of.preload.value,
            on_preload_error: of.on_preload_error.value,
            socket: of.socket.value.unwrap_or_else(|| source.environment.default_socket.clone()),
            module_path: of.module_path.value,
            settings,
            stop_policy: of.stop_policy.value,
            stop_grace: of.grace.value,
            access: of.access.value,
            clients_max: usize::try_from(of.max_clients.value).unwrap_or(usize::MAX),
            hello_deadline: of.hello_timeout.value,
            frame_deadline: of.frame_timeout.value,
            orphan_grace: of.orphan_grace.value,
            canary_timeout: of.canary_timeout.value,
            hugepages: of.hugepages.value,
            cgroup: of.limits.value.cgroup(),
            log: LogConfig {
                level: of.log_level.value,
                format: of.log_format.value,
                file: of.log_file.value,
            },
            metrics_address: of.metrics_address.value,
            metrics_public: of.metrics_public.value,
            audit_log: of.audit_log.value,
            pid_file: of.pid_file.value,
            daemonize: of.daemonize.value,
            catch_stderr: of.catch_stderr.value,
            sandbox: of.sandbox.value,
            draft,
            source,
        }
    }
}

/// Lays the environment over the file. Folders of modules add up: the environment's come first.
fn overlay_environment(draft: &mut Draft, environment: &Environment, purpose: Purpose) {
    match purpose {
        Purpose::Private => {
            let private = environment::private_socket(&environment.default_socket);
            draft.socket.overlay(Some(Some(private)), Origin::Default);
            if matches!(draft.log_level.origin, Origin::Default) {
                draft.log_level.overlay(Some(LogLevel::quiet()), Origin::Default);
            }
        }
        Purpose::Service => {
            if draft.socket.value.is_none() {
                draft.socket.value = Some(environment.default_socket.clone());
            }
            let socket =
                environment.socket.as_ref().map(|path| environment.absolute(path.as_ref()));
            draft
                .socket
                .overlay(socket.map(Some), Origin::Environment(environment::SOCKET_VARIABLE));
        }
    }
    if let Some(list) = &environment.module_path {
        let mut folders: Vec<PathBuf> = std::env::split_paths(list)
            .filter(|folder| !folder.as_os_str().is_empty())
            .map(|folder| environment.absolute(&folder))
            .collect();
        folders.append(&mut draft.module_path.value);
        let origin = Origin::Environment(environment::MODULE_PATH_VARIABLE);
        draft.module_path.overlay(Some(folders), origin);
    }
}
