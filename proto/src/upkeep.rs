//! What is said of a daemon that changes: reloads, upgrades, and what is left of earlier
//! generations.

use serde::{Deserialize, Serialize};

/// Reloads, or upgrades.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct Upkeep {
    /// One is under way, for so long, milliseconds.
    pub running_ms: Option<u64>,
    /// How the last one ended.
    pub last: Option<Change>,
}

/// A reload or an upgrade that is over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct Change {
    /// When it was over, milliseconds ago.
    pub ago_ms: u64,
    /// How long it took, milliseconds.
    pub took_ms: u64,
    /// How long nobody listened, microseconds; of upgrades only.
    pub pause_us: Option<u64>,
    /// Why everything is as it was; `None`: it was done.
    pub error: Option<String>,
}

/// What is left of a generation before the one that serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct GenerationRow {
    /// Which.
    pub generation: u32,
    /// Templates that wait for their workers to end.
    pub templates: u64,
    /// Workers that go on, spares not counted.
    pub workers: u64,
}
