//! What is said of limits: who holds them, and how much of those for many together is used.

use serde::{Deserialize, Serialize};

/// Who sees to it that a worker keeps a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
#[serde(rename_all = "lowercase")]
pub enum Holder {
    /// The kernel, by a control group.
    Cgroup,
    /// The daemon, which looks at the worker and its descendants time and again.
    Sampling,
    /// The kernel, by a resource limit of the process.
    Rlimit,
    /// The kernel: it is an attribute of the process that only the privileged may loosen.
    Process,
    /// The daemon, by its clock.
    Daemon,
    /// Nobody on this machine.
    Nobody,
}

impl Holder {
    /// How a sentence calls it.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Cgroup => "the control group",
            Self::Sampling => "sampling",
            Self::Rlimit => "rlimits",
            Self::Process => "the process itself",
            Self::Daemon => "the daemon",
            Self::Nobody => "nobody",
        }
    }
}

/// A limit of single workers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct HeldRow {
    /// Its key in the configuration.
    pub limit: String,
    /// Who holds it.
    pub by: Holder,
    /// Whether some section of the configuration sets it.
    pub configured: bool,
}

/// A limit of many workers together, and what of it is used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct QuotaRow {
    /// Its key in the configuration.
    pub limit: String,
    /// Whose workers: `host`, `uid 1000`, `module thumbs`.
    pub scope: String,
    /// What is used of it now.
    pub used: u64,
    /// What may be used.
    pub max: u64,
    /// Where it was set.
    pub set_in: String,
}
