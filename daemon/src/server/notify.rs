//! Telling the supervisor (`sd_notify(3)`); without one, nothing happens.

use sd_notify::NotifyState;

/// The service is ready.
pub(super) fn ready(failed: usize) {
    let status = match failed {
        0 => "serving".to_owned(),
        failed => format!("serving; {failed} module(s) could not be preloaded"),
    };
    let _ = sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(&status)]);
}

/// The service goes down.
pub(super) fn stopping() {
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
}
