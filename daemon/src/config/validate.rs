//! The rules that no single value can break alone, and the ranges of numbers and times.

use super::draft::{Draft, Setting};
use super::finding::Finding;
use super::values::spell;
use mpserverd_proto::limits::{MODULES_MAX, NAME_BYTES_MAX};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Linux gives out pids up to 4 194 304 at most (`PID_MAX_LIMIT`).
const WORKERS: RangeInclusive<u64> = 1..=4_194_304;
/// Each template is a process with a few descriptors of ours; more is a mistake in the file.
const TEMPLATES: RangeInclusive<u64> = 1..=4096;
/// One descriptor each, and a buffer.
const CLIENTS: RangeInclusive<u64> = 1..=65_536;
/// Whoever wants more writes the log to a file.
const DEATHS_KEPT_MAX: u64 = 100_000;
/// Times of deaths that are remembered of each task.
const POISON_DEATHS_MAX: u32 = 1000;
/// Where zero would mean "never succeeds", and a day means "somebody confused the units".
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(86_400);
/// Where zero means "at once" and a year means "never".
const PATIENCE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(31_557_600);
/// `sun_path` holds 108 bytes on Linux and 104 elsewhere, with a zero at the end.
const SOCKET_BYTES_MAX: usize = if cfg!(target_os = "linux") { 107 } else { 103 };
/// On Linux a longer path is reached through its directory's descriptor; what its name may take is
/// what `/proc/self/fd/2147483647/` leaves.
const SOCKET_NAME_BYTES_MAX: usize = 82;

/// Everything that is wrong with the draft.
pub(super) fn check(draft: &Draft, file: Option<&Path>) -> Vec<Finding> {
    let mut rules = Rules { file, findings: Vec::new() };
    rules.modules(draft);
    rules.numbers(draft);
    rules.times(draft);
    rules.deaths(draft);
    rules.paths(draft);
    rules.metrics(draft);
    rules.findings
}

struct Rules<'f> {
    file: Option<&'f Path>,
    findings: Vec<Finding>,
}

impl Rules<'_> {
    fn refuse<T>(&mut self, setting: &Setting<T>, reason: impl Into<String>) {
        self.findings.push(setting.finding(self.file, reason));
    }

    fn modules(&mut self, draft: &Draft) {
        let preload = &draft.preload;
        for (index, name) in preload.value.iter().enumerate() {
            if name.is_empty() || name.contains('\0') || name.len() > NAME_BYTES_MAX {
                let limit = format!("a name has 1 to {NAME_BYTES_MAX} bytes and no NUL");
                self.refuse(preload, format!("{name:?} cannot be a module: {limit}"));
            }
            if preload.value[..index].contains(name) {
                self.refuse(preload, format!("`{name}` is listed twice"));
            }
        }
        if preload.value.len() > MODULES_MAX {
            let count = preload.value.len();
            self.refuse(
                preload,
                format!("{count} modules, a template loads {MODULES_MAX} at most"),
            );
        }
    }

    fn numbers(&mut self, draft: &Draft) {
        for (setting, range) in [
            (&draft.max_workers, WORKERS),
            (&draft.max_templates, TEMPLATES),
            (&draft.max_clients, CLIENTS),
        ] {
            if !range.contains(&setting.value) {
                let (low, high) = range.into_inner();
                let reason = format!("{} is not within {low} and {high}", setting.value);
                self.refuse(setting, reason);
            }
        }
        let spares = draft.spares.value;
        if u64::from(spares.max) > draft.max_workers.value {
            let workers = draft.max_workers.value;
            let reason = format!(
                "up to {} spares of one template, but only {workers} workers may run \
                 (`max_workers`)",
                spares.max
            );
            self.refuse(&draft.spares, reason);
        }
    }

    fn times(&mut self, draft: &Draft) {
        let timeouts = [
            &draft.preload_timeout,
            &draft.handshake_timeout,
            &draft.canary_timeout,
            &draft.hello_timeout,
            &draft.frame_timeout,
            &draft.backoff_min,
            &draft.backoff_max,
        ];
        let patience = [
            &draft.idle_timeout,
            &draft.orphan_grace,
            &draft.refill_delay,
            &draft.decay_after,
            &draft.backoff_reset,
            &draft.grace,
            &draft.kill_after,
        ];
        let ranged = timeouts.map(|setting| (setting, TIMEOUT)).into_iter();
        for (setting, range) in ranged.chain(patience.map(|setting| (setting, PATIENCE))) {
            if !range.contains(&setting.value) {
                let (low, high) = range.into_inner();
                let (low, high) = (spell(low), spell(high));
                let reason = format!("{} is not within {low} and {high}", spell(setting.value));
                self.refuse(setting, reason);
            }
        }
        if draft.backoff_min.value > draft.backoff_max.value {
            let (min, max) = (spell(draft.backoff_min.value), spell(draft.backoff_max.value));
            self.refuse(&draft.backoff_min, format!("{min} is more than `backoff_max`, {max}"));
        }
    }

    fn deaths(&mut self, draft: &Draft) {
        let (kept, poison) = (draft.deaths_kept.value, draft.poison.value);
        if kept > DEATHS_KEPT_MAX {
            let reason = format!("{kept} is not within 0 and {DEATHS_KEPT_MAX}");
            self.refuse(&draft.deaths_kept, reason);
        }
        let out_of = |time: Duration| {
            let (low, high) = TIMEOUT.into_inner();
            let inside = TIMEOUT.contains(&time);
            let (low, high) = (spell(low), spell(high));
            (!inside).then(|| format!("{} is not within {low} and {high}", spell(time)))
        };
        if let Some(reason) = draft.slow_log.value.and_then(out_of) {
            self.refuse(&draft.slow_log, reason);
        }
        for (name, time) in [("window", poison.window), ("back_off", poison.back_off)] {
            if let Some(reason) = out_of(time) {
                self.refuse(&draft.poison, format!("`{name}`: {reason}"));
            }
        }
        if poison.deaths > POISON_DEATHS_MAX {
            let deaths = poison.deaths;
            let reason = format!("`deaths`: {deaths} is not within 0 and {POISON_DEATHS_MAX}");
            self.refuse(&draft.poison, reason);
        }
    }

    fn paths(&mut self, draft: &Draft) {
        if let Some(path) = &draft.socket.value {
            let bytes = path.as_os_str().len();
            let name = path.file_name().map_or(0, |name| name.len());
            if cfg!(target_os = "linux") {
                if bytes > SOCKET_BYTES_MAX && name > SOCKET_NAME_BYTES_MAX {
                    let reason = format!(
                        "`{}` has a name of {name} bytes, that of a socket takes \
                         {SOCKET_NAME_BYTES_MAX}",
                        path.display()
                    );
                    self.refuse(&draft.socket, reason);
                }
            } else if cfg!(unix) && bytes > SOCKET_BYTES_MAX {
                let reason = format!(
                    "`{}` has {bytes} bytes, the system takes {SOCKET_BYTES_MAX} in the path of a \
                     socket",
                    path.display()
                );
                self.refuse(&draft.socket, reason);
            }
        }
        for setting in [&draft.socket, &draft.pid_file, &draft.log_file, &draft.audit_log] {
            self.names_a_file(setting);
        }
        let all = [&draft.socket, &draft.pid_file, &draft.log_file, &draft.audit_log];
        for (index, setting) in all.iter().enumerate().filter(|(_, s)| s.value.is_some()) {
            if let Some(other) = all[..index].iter().find(|other| other.value == setting.value) {
                self.refuse(setting, format!("is the same path as `{}`", other.key));
            }
        }
    }

    /// An address that others reach must be meant: it takes two lines of the file.
    fn metrics(&mut self, draft: &Draft) {
        let Some(address) = draft.metrics_address.value else { return };
        if !address.ip().to_canonical().is_loopback() && !draft.metrics_public.value {
            let reason = format!(
                "{address} is not a loopback address: say \
                 `metrics_public = true` too if others than this machine shall read them, or \
                 take 127.0.0.1:{}",
                address.port()
            );
            self.refuse(&draft.metrics_address, reason);
        }
    }

    fn names_a_file(&mut self, setting: &Setting<Option<PathBuf>>) {
        let Some(path) = &setting.value else { return };
        let shown = path.as_os_str().to_string_lossy();
        if path.file_name().is_none() || shown.ends_with('/') || shown.contains('\0') {
            self.refuse(setting, format!("`{shown}` does not name a file"));
        } else if path.is_dir() {
            self.refuse(setting, format!("`{shown}` is a directory; name a file in it"));
        }
    }
}
