//! Options of the daemon. Each is also a key of the configuration file, with `_` for `-`; tables are
//! for the file alone.

use super::parsers::{LevelParser, choice};
use crate::access::names::{self, Named};
use crate::config::Environment;
use crate::config::catch::CatchStderr;
use crate::config::draft::Draft;
use crate::config::finding::Origin;
use crate::config::limits::LimitOption;
use crate::config::values::{LogFormat, LogLevel, Spares, address, duration};
use crate::core::PoisonRule;
use clap::{Args, ValueHint};
use mpserverd_proto::client::StopPolicy;
use mpserverd_proto::template::OnPreloadError;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What the command line says about the daemon; `None` and empty lists leave it to the file.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Load this module into the default template; may be given more than once.
    ///
    /// A name is looked for on the module path, a path (with a `/`) is taken as it is.
    #[arg(long, value_name = "MODULE", help_heading = "Templates", value_hint = ValueHint::FilePath)]
    pub preload: Vec<String>,

    /// What to do about a module that cannot be preloaded [default: warn]
    #[arg(long, value_name = "POLICY", help_heading = "Templates",
          value_parser = choice::<OnPreloadError>())]
    pub on_preload_error: Option<OnPreloadError>,

    /// Look for modules in this folder; may be given more than once.
    ///
    /// These folders come first, then those of MPSERVERD_MODULE_PATH, then those of the file.
    #[arg(long, value_name = "DIR", help_heading = "Templates", value_hint = ValueHint::DirPath)]
    pub module_path: Vec<PathBuf>,

    /// How long a template may take to load and initialise its modules [default: 1m]
    #[arg(long, value_name = "TIME", help_heading = "Templates", value_parser = duration)]
    pub preload_timeout: Option<Duration>,

    /// How long a program may take to call `freeze_support()` [default: 10s]
    #[arg(long, value_name = "TIME", help_heading = "Templates", value_parser = duration,
          hide_short_help = true)]
    pub handshake_timeout: Option<Duration>,

    /// How long the trial fork of a new template may take [default: 5s]
    #[arg(long, value_name = "TIME", help_heading = "Templates", value_parser = duration,
          hide_short_help = true)]
    pub canary_timeout: Option<Duration>,

    /// When a template made on demand that has nothing to do is dropped [default: 10m]
    #[arg(long, value_name = "TIME", help_heading = "Templates", value_parser = duration)]
    pub idle_timeout: Option<Duration>,

    /// How long a template without a daemon waits for the next one [default: 30s]
    #[arg(long, value_name = "TIME", help_heading = "Templates", value_parser = duration,
          hide_short_help = true)]
    pub orphan_grace: Option<Duration>,

    /// Put the heap of templates on huge pages, which makes large ones fork faster [default: true]
    #[arg(long, value_name = "BOOL", help_heading = "Templates", num_args = 0..=1,
          require_equals = true, default_missing_value = "true", hide_short_help = true)]
    pub hugepages: Option<bool>,

    /// Workers that each template keeps ready, both numbers included [default: 2..32]
    #[arg(long, value_name = "MIN..MAX", help_heading = "Workers")]
    pub spares: Option<Spares>,

    /// How long a refill waits after a worker was handed over [default: 1ms]
    #[arg(long, value_name = "TIME", help_heading = "Workers", value_parser = duration,
          hide_short_help = true)]
    pub refill_delay: Option<Duration>,

    /// How long surplus spares are kept after the last shortage [default: 5s]
    #[arg(long, value_name = "TIME", help_heading = "Workers", value_parser = duration,
          hide_short_help = true)]
    pub decay_after: Option<Duration>,

    /// Workers that may run at once, spares not counted [default: 4096]
    #[arg(long, value_name = "N", help_heading = "Limits", allow_negative_numbers = true)]
    pub max_workers: Option<u64>,

    /// Templates that may exist at once [default: 64]
    #[arg(long, value_name = "N", help_heading = "Limits", allow_negative_numbers = true)]
    pub max_templates: Option<u64>,

    /// Clients that may be connected at once [default: 1024]
    #[arg(long, value_name = "N", help_heading = "Limits", allow_negative_numbers = true)]
    pub max_clients: Option<u64>,

    /// First delay before a template that failed is tried again; it doubles [default: 100ms]
    #[arg(long, value_name = "TIME", help_heading = "Limits", value_parser = duration,
          hide_short_help = true)]
    pub backoff_min: Option<Duration>,

    /// Longest such delay [default: 1m]
    #[arg(long, value_name = "TIME", help_heading = "Limits", value_parser = duration,
          hide_short_help = true)]
    pub backoff_max: Option<Duration>,

    /// How long a template must live to start over with the first delay [default: 10s]
    #[arg(long, value_name = "TIME", help_heading = "Limits", value_parser = duration,
          hide_short_help = true)]
    pub backoff_reset: Option<Duration>,

    /// Limit workers; may be given more than once, as a key and value of the table limits.
    ///
    /// For example memory=512M, wall-time=10m, cpu-time=1m, pids=100, workers=8,
    /// starts-per-second=50. See the configuration file for all of them.
    #[arg(long, value_name = "KEY=VALUE", help_heading = "Limits")]
    pub limits: Vec<LimitOption>,
    /// Certificates of deaths that are kept, for `mpctl deaths` [default: 1000]
    #[arg(long, value_name = "N", help_heading = "Deaths", allow_negative_numbers = true)]
    pub deaths_kept: Option<u64>,

    /// Have what workers write to standard error in the log, and the last lines in certificates.
    ///
    /// Of all workers, or of those with these modules: a,b. A client that chose another stream for
    /// its worker keeps it.
    #[arg(long, value_name = "true|false|MODULES", help_heading = "Deaths", num_args = 0..=1,
          require_equals = true, default_missing_value = "true")]
    pub catch_stderr: Option<CatchStderr>,

    /// Report a task in the log, once, that still runs after this time
    #[arg(long, value_name = "TIME", help_heading = "Deaths", value_parser = duration)]
    pub slow_log: Option<Duration>,

    /// Refuse a task for a while after so many unexplained deaths of its workers, or `off`.
    ///
    /// 5/10m/1m: after five deaths within ten minutes, for one minute. Limits, operators, the
    /// kernel's want of memory and clients that kill their workers do not count.
    #[arg(long, value_name = "DEATHS/WINDOW/BACKOFF", help_heading = "Deaths")]
    pub poison: Option<PoisonRule>,

    /// Where clients connect.
    ///
    /// Without it: MPSERVERD_SOCKET, then `socket` of the configuration file, then
    /// $XDG_RUNTIME_DIR/mpserverd/mpserverd.sock, or for root /run/mpserverd/mpserverd.sock.
    #[arg(long, value_name = "PATH", help_heading = "Socket", value_hint = ValueHint::FilePath)]
    pub socket: Option<PathBuf>,

    /// How long a client may take to say hello [default: 5s]
    #[arg(long, value_name = "TIME", help_heading = "Socket", value_parser = duration,
          hide_short_help = true)]
    pub hello_timeout: Option<Duration>,

    /// How long a message may take from its first byte to its last [default: 10s]
    #[arg(long, value_name = "TIME", help_heading = "Socket", value_parser = duration,
          hide_short_help = true)]
    pub frame_timeout: Option<Duration>,

    /// Give workers to this user, by name or number; may be given more than once
    ///
    /// These users come on top of those of the file. A daemon of root starts their templates as
    /// themselves; any other daemon runs their workers as its own user.
    #[arg(long, value_name = "USER", help_heading = "Access", value_parser = names::user,
          value_hint = ValueHint::Username)]
    pub allow_user: Vec<Named>,

    /// Give workers to members of this group; may be given more than once
    #[arg(long, value_name = "GROUP", help_heading = "Access", value_parser = names::group)]
    pub allow_group: Vec<Named>,

    /// Let this user see and control everything, in place of the daemon's own; root always does
    #[arg(long, value_name = "USER", help_heading = "Access", value_parser = names::user,
          value_hint = ValueHint::Username, hide_short_help = true)]
    pub operator: Vec<Named>,

    /// Let metrics be read over HTTP at this address
    ///
    /// For example 127.0.0.1:9273. `mpctl metrics` shows the same without it.
    #[arg(long, value_name = "ADDRESS", help_heading = "Metrics", value_parser = address)]
    pub metrics_address: Option<SocketAddr>,

    /// Allow an address that others than this machine can reach [default: false]
    #[arg(long, value_name = "BOOL", help_heading = "Metrics", num_args = 0..=1,
          require_equals = true, default_missing_value = "true", hide_short_help = true)]
    pub metrics_public: Option<bool>,

    /// What a stop does to workers that run [default: wait]
    #[arg(long, value_name = "POLICY", help_heading = "Stopping",
          value_parser = choice::<StopPolicy>())]
    pub stop_policy: Option<StopPolicy>,

    /// How long a stop waits for them [default: 10s]
    #[arg(long, value_name = "TIME", help_heading = "Stopping", value_parser = duration)]
    pub grace: Option<Duration>,

    /// How long after SIGTERM comes SIGKILL [default: 2s]
    #[arg(long, value_name = "TIME", help_heading = "Stopping", value_parser = duration,
          hide_short_help = true)]
    pub kill_after: Option<Duration>,

    /// What to log: a level, or directives like warn,mpserverd::core=debug [default: info]
    #[arg(long, value_name = "LEVEL", help_heading = "Logging", value_parser = LevelParser)]
    pub log_level: Option<LogLevel>,

    /// How to write it [default: text]
    #[arg(long, value_name = "FORMAT", help_heading = "Logging",
          value_parser = choice::<LogFormat>())]
    pub log_format: Option<LogFormat>,

    /// Append it to this file instead of standard error
    #[arg(long, value_name = "PATH", help_heading = "Logging", value_hint = ValueHint::FilePath)]
    pub log_file: Option<PathBuf>,

    /// Write who asked for what to this file, a line of JSON each
    #[arg(long, value_name = "PATH", help_heading = "Logging", value_hint = ValueHint::FilePath)]
    pub audit_log: Option<PathBuf>,

    /// Read options from this file; the command line has the last word
    #[arg(long, value_name = "FILE", help_heading = "Configuration",
          value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,

    /// Show the effective configuration and where each value comes from, then exit.
    ///
    /// The output is a configuration file itself. With anything wrong: every finding with its
    /// place, and exit code 100.
    #[arg(long, help_heading = "Configuration")]
    pub check: bool,

    /// Read the state of a daemon from standard input and say whether this program could go on
    /// from it; what `mpctl upgrade` asks a new program.
    #[arg(long, hide = true)]
    pub check_state: bool,

    /// Options that only a service has.
    #[arg(skip)]
    pub background: Background,
}

/// How the daemon goes into the background.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct Background {
    /// Detach from the terminal; the command returns when the daemon is ready or has failed
    #[arg(long, help_heading = "Background")]
    pub daemonize: bool,

    /// Write the daemon's pid to this file, and hold it locked
    #[arg(long, value_name = "PATH", help_heading = "Background", value_hint = ValueHint::FilePath)]
    pub pid_file: Option<PathBuf>,
}

impl Options {
    /// Lays the command line over the draft. Folders of modules add up, all else is replaced.
    pub(crate) fn overlay(&self, draft: &mut Draft, place: &Environment) {
        const HERE: Origin = Origin::CommandLine;
        let path = |path: &Option<PathBuf>| path.as_deref().map(|path| Some(absolute(place, path)));
        let module = |name: &String| match name.contains(std::path::is_separator) {
            true => place.absolute(Path::new(name)).to_string_lossy().into_owned(),
            false => name.clone(),
        };
        if !self.preload.is_empty() {
            draft.preload.overlay(Some(self.preload.iter().map(module).collect()), HERE);
        }
        if !self.module_path.is_empty() {
            let mut folders: Vec<_> = self.module_path.iter().map(|d| place.absolute(d)).collect();
            folders.append(&mut draft.module_path.value);
            draft.module_path.overlay(Some(folders), HERE);
        }
        self.overlay_access(draft);
        draft.on_preload_error.overlay(self.on_preload_error, HERE);
        draft.preload_timeout.overlay(self.preload_timeout, HERE);
        draft.handshake_timeout.overlay(self.handshake_timeout, HERE);
        draft.canary_timeout.overlay(self.canary_timeout, HERE);
        draft.idle_timeout.overlay(self.idle_timeout, HERE);
        draft.orphan_grace.overlay(self.orphan_grace, HERE);
        draft.hugepages.overlay(self.hugepages, HERE);
        draft.spares.overlay(self.spares, HERE);
        draft.refill_delay.overlay(self.refill_delay, HERE);
        draft.decay_after.overlay(self.decay_after, HERE);
        draft.max_workers.overlay(self.max_workers, HERE);
        draft.max_templates.overlay(self.max_templates, HERE);
        draft.max_clients.overlay(self.max_clients, HERE);
        draft.backoff_min.overlay(self.backoff_min, HERE);
        draft.backoff_max.overlay(self.backoff_max, HERE);
        draft.backoff_reset.overlay(self.backoff_reset, HERE);
        for option in &self.limits {
            draft.limits.value.overlay(option);
            draft.limits.origin = HERE;
        }
        draft.deaths_kept.overlay(self.deaths_kept, HERE);
        draft.catch_stderr.overlay(self.catch_stderr.clone(), HERE);
        draft.slow_log.overlay(self.slow_log.map(Some), HERE);
        draft.poison.overlay(self.poison, HERE);
        draft.socket.overlay(path(&self.socket), HERE);
        draft.hello_timeout.overlay(self.hello_timeout, HERE);
        draft.frame_timeout.overlay(self.frame_timeout, HERE);
        draft.metrics_address.overlay(self.metrics_address.map(Some), HERE);
        draft.metrics_public.overlay(self.metrics_public, HERE);
        draft.stop_policy.overlay(self.stop_policy, HERE);
        draft.grace.overlay(self.grace, HERE);
        draft.kill_after.overlay(self.kill_after, HERE);
        draft.log_level.overlay(self.log_level.clone(), HERE);
        draft.log_format.overlay(self.log_format, HERE);
        draft.log_file.overlay(path(&self.log_file), HERE);
        draft.audit_log.overlay(path(&self.audit_log), HERE);
        draft.daemonize.overlay(self.background.daemonize.then_some(true), HERE);
        draft.pid_file.overlay(path(&self.background.pid_file), HERE);
    }

    /// Users and groups add up with those of the file; operators are replaced.
    fn overlay_access(&self, draft: &mut Draft) {
        if self.allow_user.is_empty() && self.allow_group.is_empty() && self.operator.is_empty() {
            return;
        }
        let mut access = draft.access.value.clone();
        access.users.extend(self.allow_user.iter().cloned());
        access.groups.extend(self.allow_group.iter().cloned());
        if !self.operator.is_empty() {
            access.operators = Some(self.operator.clone());
        }
        draft.access.overlay(Some(access), Origin::CommandLine);
    }
}

/// Like [`Environment::absolute`], but an empty path stays one, to be refused.
fn absolute(place: &Environment, path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() { PathBuf::new() } else { place.absolute(path) }
}
