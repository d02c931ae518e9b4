//! The numbers that the core works by; the configuration file sets them.

use super::limits::Limits;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Settings of the core.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Spares that every template keeps, whatever the demand.
    pub spares_min: u32,
    /// Spares that a template may have when demand is high.
    pub spares_max: u32,
    /// Workers that may run at once, spares not counted.
    pub workers_max: u64,
    /// Templates that may exist at once.
    pub templates_max: usize,
    /// How long loading and initialising may take.
    pub preload_timeout: Duration,
    /// How long a program may take to call `freeze_support()`.
    pub handshake_timeout: Duration,
    /// An on-demand template without workers and requests is dropped after this time.
    pub idle_timeout: Duration,
    /// First delay after a template that died or failed quickly.
    pub backoff_min: Duration,
    /// Longest such delay.
    pub backoff_max: Duration,
    /// A template that lived this long resets the delay.
    pub backoff_reset: Duration,
    /// How long after a hand-over a refill waits, so that it does not run ahead of the job.
    pub refill_delay: Duration,
    /// How long after the last shortage surplus spares are kept before they decay.
    pub decay_after: Duration,
    /// How long after `SIGTERM` a worker is killed when the daemon stops.
    pub kill_after: Duration,
    /// Who is refused early, and who is penalised.
    pub admission: super::Admission,
    /// Limits of workers, and for workers together.
    pub limits: Limits,
    /// Users who see and control everything, beside root.
    pub operators: Vec<u32>,
    /// Certificates of deaths that are kept.
    pub deaths_kept: usize,
    /// A worker whose task runs longer is looked at, once; `None`: none is.
    pub slow_log: Option<Duration>,
    /// When tasks are refused for their deaths.
    pub poison: PoisonRule,
}

/// When a task is refused for the deaths of its workers, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PoisonRule {
    /// So many unexplained deaths; zero: never.
    pub deaths: u32,
    /// Within this time.
    pub window: Duration,
    /// Refused so long.
    pub back_off: Duration,
}

impl Default for PoisonRule {
    /// No task is refused, until somebody says after how many deaths.
    fn default() -> Self {
        Self { deaths: 0, window: Duration::from_secs(600), back_off: Duration::from_secs(60) }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            spares_min: 2,
            spares_max: 32,
            workers_max: 4096,
            templates_max: 64,
            preload_timeout: Duration::from_secs(60),
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(600),
            backoff_min: Duration::from_millis(100),
            backoff_max: Duration::from_secs(60),
            backoff_reset: Duration::from_secs(10),
            refill_delay: Duration::from_millis(1),
            decay_after: Duration::from_secs(5),
            kill_after: Duration::from_secs(2),
            admission: super::Admission::default(),
            limits: Limits::default(),
            operators: Vec::new(),
            deaths_kept: 1000,
            slow_log: None,
            poison: PoisonRule::default(),
        }
    }
}
