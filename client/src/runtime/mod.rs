//! What templates and workers run: the other side of the client library.
//!
//! | file | holds |
//! |---|---|
//! | [`birth`] | the limits that a worker is born with |
//! | [`boot`] | `freeze_support`: is this process a template or a worker? |
//! | [`load`] | modules and hooks, in order, with who failed and how |
//! | [`verdict`] | is it safe to fork from here? |
//! | [`template`] | the template's loop |
//! | [`nursery`] | the template's children: forked, reaped, reported |
//! | [`catch`] | the standard error of workers, where the daemon catches it |
//! | [`missed`] | deaths that no daemon has heard of |
//! | [`cradle`] | the loop of a copy of a process that does nothing but fork |
//! | [`attach`] | finding the next daemon |
//! | [`builtin`] | jobs that every worker can do |
//! | [`worker`] | controller and task thread of a worker |
//! | [`setup`] | becoming what the requester asked for |
//! | [`confine`] | and what it may do |
//! | [`peak`] | private memory of a worker at the end of its task |
//! | [`panics`] | what a panic said, and where |
//!
//! # Invariants
//!
//! A template has one thread for its whole life, runs no task and parses nothing that a client
//! sent. A worker runs one job, and ends with it. Neither keeps a descriptor that belongs to the
//! other's side.

#[cfg(target_os = "linux")]
mod attach;
#[cfg(target_os = "linux")]
mod birth;
#[cfg(target_os = "linux")]
mod boot;
#[cfg(target_os = "linux")]
mod builtin;
#[cfg(target_os = "linux")]
pub(crate) mod catch;
#[cfg(target_os = "linux")]
pub(crate) mod confine;
#[cfg(target_os = "linux")]
pub(crate) mod cradle;
#[cfg(target_os = "linux")]
pub(crate) mod load;
#[cfg(target_os = "linux")]
mod missed;
#[cfg(target_os = "linux")]
mod nursery;
pub(crate) mod panics;
#[cfg(target_os = "linux")]
mod peak;
#[cfg(target_os = "linux")]
mod setup;
#[cfg(target_os = "linux")]
mod template;
#[cfg(target_os = "linux")]
pub(crate) mod verdict;
#[cfg(target_os = "linux")]
pub(crate) mod worker;

#[cfg(target_os = "linux")]
pub(crate) use boot::{enter, is_bootstrapped};

use linkme::distributed_slice;

/// Environment variable that tells a started process its role.
pub const BOOTSTRAP: &str = "MPSERVERD_BOOTSTRAP";
/// Value of [`BOOTSTRAP`] for a template.
pub const ROLE_TEMPLATE: &str = "template";
/// Value of [`BOOTSTRAP`] for a spawned worker.
pub(crate) const ROLE_WORKER: &str = "worker";

/// Hooks of this program (or shared object), from `module!`.
#[derive(Debug)]
pub struct Hooks {
    /// Runs once in the template.
    pub init: Option<fn() -> Result<(), String>>,
    /// Runs once in the template, after every `init`.
    pub warm: Option<fn() -> Result<(), String>>,
    /// Runs in each worker.
    pub after_fork: Option<fn() -> Result<(), String>>,
}

/// The hooks that the linker found.
#[distributed_slice]
pub static HOOKS: [Hooks];

/// Non-empty in programs that want `freeze_support` before `main` (test binaries).
#[distributed_slice]
pub static EARLY: [bool];

/// What a hook may return.
pub trait HookResult {
    /// As a result with a text.
    ///
    /// # Errors
    /// The hook's error as text.
    fn into_result(self) -> Result<(), String>;
}

impl HookResult for () {
    fn into_result(self) -> Result<(), String> {
        Ok(())
    }
}

impl<E: std::fmt::Display> HookResult for Result<(), E> {
    fn into_result(self) -> Result<(), String> {
        self.map_err(|error| error.to_string())
    }
}
