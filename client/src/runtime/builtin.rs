//! Jobs that every worker can do, whatever tasks its program and modules have: what pools and
//! managers are made of.
//!
//! They run in the host itself, so a pool of a module's tasks works too. Their names have a dot,
//! which no path of a function has.

use super::load::Loaded;
use crate::parcel::Parcel;
use crate::registry::Completion;

/// Such a job: what is loaded here, and its arguments.
pub(crate) type Builtin = fn(&'static Loaded, Parcel) -> Completion;

/// All of them, by name.
const BUILTINS: &[(&str, Builtin)] = &[
    (crate::pool::worker::WORKER, crate::pool::worker::run),
    (crate::manager::SERVER, crate::manager::serve_as_worker),
];

/// The one of that name.
pub(crate) fn find(name: &str) -> Option<Builtin> {
    BUILTINS.iter().find(|(known, _)| *known == name).map(|(_, run)| *run)
}
