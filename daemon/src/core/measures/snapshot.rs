//! All numbers at one moment. It walks templates and pools, never workers or queues.

use super::{Counts, Histogram, REASONS};
use crate::core::Core;
use crate::core::sight::Sight;
use crate::core::template::Phase;
use mpserverd_proto::upkeep::Change;
use std::time::Duration;

/// What there is just now of templates with one name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Templates that load, that serve, that retire; pools whose template failed.
    pub states: [u64; 4],
    /// Spares that wait.
    pub spares: u64,
    /// Spares that are aimed at.
    pub spares_wanted: u64,
    /// Workers that clients have.
    pub workers: u64,
    /// Requests that wait.
    pub queued: u64,
    /// Resident memory of the template processes, in KiB, as last measured.
    pub rss_kib: u64,
    /// Of it, what is theirs alone or shared with their forks only.
    pub private_kib: u64,
    /// Of it, what is on huge pages.
    pub huge_kib: u64,
}

/// Templates with one name.
#[derive(Clone, Debug)]
pub struct Row<'a> {
    /// The name.
    pub name: &'a str,
    /// What was counted.
    pub counts: Counts,
    /// What there is.
    pub gauges: Gauges,
}

/// All numbers at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot<'a> {
    /// Version of the daemon.
    pub version: &'a str,
    /// How long it has been up.
    pub uptime: Duration,
    /// Generation of the configuration.
    pub generation: u32,
    /// Whether it is going down.
    pub stopping: bool,
    /// Whether every preloaded template has had its verdict.
    pub settled: bool,
    /// Clients connected.
    pub clients: u64,
    /// Workers that may run at once.
    pub workers_max: u64,
    /// Templates that may exist at once.
    pub templates_max: u64,
    /// Reloads that switched, and such that changed nothing.
    pub reloads: (u64, u64),
    /// Upgrades that another program went on from, and such that changed nothing.
    pub upgrades: (u64, u64),
    /// The last reload.
    pub last_reload: Option<Change>,
    /// The last upgrade.
    pub last_upgrade: Option<Change>,
    /// Misdeeds of clients that were noted.
    pub misdeeds: u64,
    /// Users whose requests are refused now for such.
    pub penalised: u64,
    /// How often it was refused, in the order of [`REASONS`].
    pub refusals: &'a [u64; REASONS.len()],
    /// Workers that have died, by the word for who caused it.
    pub deaths: Vec<(&'a str, u64)>,
    /// From requests for workers to workers.
    pub queue_wait: &'a Histogram,
    /// From wishes for spares to spares.
    pub fork: &'a Histogram,
    /// From starts of templates to their readiness.
    pub load: &'a Histogram,
    /// From wake-ups of the loop to sleep.
    pub turn: &'a Histogram,
    /// By name; the others come last.
    pub rows: Vec<Row<'a>>,
}

impl Core {
    /// All numbers at this moment.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot<'_> {
        let measures = &self.measures;
        let mut rows: Vec<_> = measures
            .slots
            .rows()
            .map(|(name, counts)| Row { name, counts, gauges: Gauges::default() })
            .collect();
        for pool in self.pools.values() {
            let gauges = &mut rows[measures.slots.row(pool.slot)].gauges;
            gauges.states[3] += u64::from(pool.failure.is_some());
            gauges.queued += pool.queue.len() as u64;
            gauges.workers += u64::from(pool.leased);
            if pool.active.is_some() {
                gauges.spares_wanted += u64::from(pool.marks.target());
            }
        }
        for template in self.templates.values() {
            let Some(pool) = self.pools.get(&template.pool) else { continue };
            let gauges = &mut rows[measures.slots.row(pool.slot)].gauges;
            let state = match template.phase {
                Phase::Starting | Phase::Loading { .. } => 0,
                Phase::Ready { .. } => 1,
                Phase::Retiring | Phase::Stopping | Phase::Killed => 2,
            };
            gauges.states[state] += 1;
            gauges.spares += template.idle.len() as u64;
            let memory = template.memory;
            gauges.rss_kib = gauges.rss_kib.saturating_add(memory.rss_kib);
            gauges.private_kib = gauges.private_kib.saturating_add(memory.private_kib);
            gauges.huge_kib = gauges.huge_kib.saturating_add(memory.huge_kib);
        }
        Snapshot {
            version: &self.identity.version,
            uptime: self.now.since(self.identity.started),
            generation: self.generation,
            stopping: self.stopping(),
            settled: self.startup == crate::core::reload::Startup::Done,
            clients: self.sessions.len() as u64,
            workers_max: self.settings.workers_max,
            templates_max: self.settings.templates_max as u64,
            reloads: measures.reloads,
            upgrades: measures.upgrades,
            last_reload: self.reloads(Sight::All).last,
            last_upgrade: self.upgrades(Sight::All).last,
            misdeeds: measures.misdeeds,
            penalised: self.penalised(),
            refusals: &measures.refusals,
            deaths: self.deaths_by_cause().collect(),
            queue_wait: &measures.queue_wait,
            fork: &measures.fork,
            load: &measures.load,
            turn: &measures.turn,
            rows,
        }
    }
}
