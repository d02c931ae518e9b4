//! What a panic said, and where.

use mpserverd_proto::job::Panic;
use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

thread_local! {
    static LAST: RefCell<Option<Panic>> = const { RefCell::new(None) };
    /// Whether there is one: all that needs to be looked at before a call, as it has no destructor.
    static HAS_LAST: Cell<bool> = const { Cell::new(false) };
}

/// Installs the hook that remembers; the program's own hook still runs (and prints).
pub(crate) fn remember() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let backtrace = Backtrace::capture();
            let backtrace =
                (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
            let panic = Panic {
                message: text(info.payload()),
                location: info.location().map(ToString::to_string),
                backtrace,
            };
            #[cfg(target_os = "linux")]
            crate::logging::panicked(&panic);
            #[cfg(target_os = "linux")]
            super::worker::note_panic(&panic);
            #[cfg(target_os = "linux")]
            if cfg!(panic = "abort") {
                super::worker::report_panic(&panic);
            }
            // At the end of a thread it may be gone.
            if LAST.try_with(|last| last.replace(Some(panic))).is_ok() {
                HAS_LAST.set(true);
            }
            previous(info);
        }));
    });
}

/// Calls a function and catches its panic.
#[inline]
pub(crate) fn catch<T>(function: impl FnOnce() -> T) -> Result<T, Panic> {
    remember();
    if HAS_LAST.get() {
        forget_last();
    }
    catch_unwind(AssertUnwindSafe(function)).map_err(|payload| caught(&*payload))
}

/// One that was caught by somebody else.
#[cold]
fn forget_last() {
    let _ = LAST.try_with(RefCell::take);
    HAS_LAST.set(false);
}

#[cold]
fn caught(payload: &(dyn Any + Send)) -> Panic {
    HAS_LAST.set(false);
    let last = LAST.try_with(RefCell::take).ok().flatten();
    last.unwrap_or_else(|| Panic { message: text(payload), location: None, backtrace: None })
}

fn text(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "(a panic without text)".to_owned()
    }
}
