//! Changes that need to know what is there: read, computed here, and stored if nobody has changed
//! it meanwhile.

use super::error::ManagerError;
use super::handle::Answered;
use std::time::Duration;

/// So often it is tried. Each failure means that somebody else has succeeded.
const ATTEMPTS: u32 = 10_000;
/// From this attempt on there are pauses.
const PATIENT: u32 = 4;
/// The longest.
const PAUSE: Duration = Duration::from_millis(4);

/// Tries until it is stored. An attempt that gives nothing found another version.
///
/// # Errors
/// Those of an attempt; [`ManagerError::Contended`].
pub(super) fn retry<R>(
    proxy: &'static str,
    mut attempt: impl FnMut() -> Result<Option<R>, ManagerError>,
) -> Result<R, ManagerError> {
    for number in 0..ATTEMPTS {
        if let Some(done) = attempt()? {
            return Ok(done);
        }
        if number >= PATIENT {
            let most = PAUSE.min(Duration::from_micros(50) * (number - PATIENT + 1));
            // Random, so that two who collide do not collide again.
            let part = getrandom::u32().unwrap_or(u32::MAX / 2) / (u32::MAX / 1000);
            std::thread::sleep(most * part / 1000);
        }
    }
    Err(ManagerError::Contended { proxy, attempts: ATTEMPTS })
}

/// Whether it was stored; not, if there was another version.
///
/// # Errors
/// Any other failure.
pub(super) fn stored(answered: &Answered) -> Result<bool, ManagerError> {
    match answered.done() {
        Ok(()) => Ok(true),
        Err(ManagerError::Contended { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}
