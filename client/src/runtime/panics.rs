//! What a panic said, and where.

use mpserverd_proto::job::Panic;
use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

thread_local! {
    static LAST: RefCell<Option<Panic>> = const { RefCell::new(None) };
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
            if cfg!(panic = "abort") {
                super::worker::report_panic(&panic);
            }
            LAST.set(Some(panic));
            previous(info);
        }));
    });
}

/// Calls a function and catches its panic.
pub(crate) fn catch<T>(function: impl FnOnce() -> T) -> Result<T, Panic> {
    remember();
    LAST.set(None);
    catch_unwind(AssertUnwindSafe(function)).map_err(|payload| {
        LAST.take().unwrap_or_else(|| Panic {
            message: text(&*payload),
            location: None,
            backtrace: None,
        })
    })
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
