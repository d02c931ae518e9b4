//! A started process on platforms where none can be started yet: a type without values.

use super::{Options, Work};
use crate::context::Context;
use crate::error::{Ending, ProcessError, StartError};
use crate::job_types::Outcome;
use crate::parcel::Parcel;
use mpserverd_proto::death::Cause;
use mpserverd_proto::status::ExitRecord;
use std::convert::Infallible;
use std::io;
use std::time::Duration;

/// A started process. There are none on this platform.
#[derive(Clone, Debug)]
pub struct Handle {
    never: Infallible,
}

/// A process in the list of [`active_children`].
pub type ActiveChild = Handle;

/// Refuses: no start method works here yet.
pub(crate) fn start(context: &Context, work: Work, options: Options) -> Result<Handle, StartError> {
    drop((work, options));
    Err(StartError::Unsupported(context.method().as_str()))
}

/// The children of this process that run: none.
#[must_use]
pub fn active_children() -> Vec<ActiveChild> {
    Vec::new()
}

macro_rules! never {
    ($($(#[$doc:meta])* fn $name:ident(&self $(, $arg:ident: $ty:ty)*) $(-> $out:ty)?;)*) => {
        impl Handle {
            $($(#[$doc])*
            pub fn $name(&self $(, $arg: $ty)*) $(-> $out)? {
                $(let _ = $arg;)*
                match self.never {}
            })*
        }
    };
}

never! {
    /// Its name.
    fn name(&self) -> String;
    /// Renames it.
    ///
    /// # Errors
    /// None on this platform.
    fn set_name(&self, name: &str) -> Result<(), StartError>;
    /// Its pid.
    fn pid(&self) -> u32;
    /// Its daemon flag.
    fn daemon(&self) -> bool;
    /// The authentication key that it was given.
    fn authkey(&self) -> &[u8];
    /// Whether it has not ended yet.
    fn is_alive(&self) -> bool;
    /// Its exit code.
    fn exitcode(&self) -> Option<i32>;
    /// How it ended.
    fn ending(&self) -> Option<Ending>;
    /// Who caused its end.
    fn cause(&self) -> Option<Cause>;
    /// The exit record.
    fn exit_record(&self) -> Option<ExitRecord>;
    /// Waits for its end.
    fn join(&self) -> i32;
    /// Waits for its end, but no longer than this.
    fn join_timeout(&self, timeout: Duration) -> Option<i32>;
    /// Asks it to end.
    ///
    /// # Errors
    /// None on this platform.
    fn terminate(&self) -> io::Result<()>;
    /// Ends it.
    ///
    /// # Errors
    /// None on this platform.
    fn kill(&self) -> io::Result<()>;
    /// Interrupts it.
    ///
    /// # Errors
    /// None on this platform.
    fn interrupt(&self) -> io::Result<()>;
    /// Whether its result is there.
    fn has_result(&self) -> bool;
}

impl Handle {
    pub(super) fn take_outcome(
        &self,
        _: Option<Duration>,
    ) -> Result<(Outcome, Parcel), ProcessError> {
        match self.never {}
    }
}
