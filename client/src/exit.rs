//! Exit handlers: what a process does at its own normal end.
//!
//! What must never be in here: the end itself, which is the runtime's in a worker and that of the
//! C library anywhere else.

use std::sync::{Mutex, PoisonError};

type Handler = Box<dyn FnOnce() + Send>;

/// The handlers of one process.
struct Handlers {
    /// Whose they are: a fork has the memory, but not the duty.
    pid: u32,
    list: Vec<Handler>,
}

static HANDLERS: Mutex<Handlers> = Mutex::new(Handlers { pid: 0, list: Vec::new() });

/// Runs `work` on the handlers of this process. Those of an ancestor are not dropped but left
/// alone: what they own (a temporary directory, say) belongs to it.
fn own<T>(work: impl FnOnce(&mut Vec<Handler>) -> T) -> T {
    let mut handlers = HANDLERS.lock().unwrap_or_else(PoisonError::into_inner);
    let pid = std::process::id();
    if handlers.pid != pid {
        std::mem::forget(std::mem::take(&mut handlers.list));
        handlers.pid = pid;
    }
    work(&mut handlers.list)
}

/// Runs a function when this process ends normally, as Python's `atexit.register`.
///
/// A normal end is a `main` that returns (or panics), [`std::process::exit`] anywhere, and the end
/// of a worker, whose task has returned or panicked and whose outcome has been sent. A signal, an
/// abort or `_exit` is none, and nothing runs.
///
/// The last function registered runs first, on the thread that ends the process; one that panics
/// keeps none of the others from running, and one that registers another has that run too. Only
/// then are children looked after: daemonic ones are ended, the others waited for. Values of
/// [`thread_local!`](std::thread_local) may be gone by then.
///
/// Handlers belong to one process. A worker does not run those of its parent or its template,
/// however it came into being; a task or an `after_fork` hook registers the worker's own. Under
/// `multiprocessing` that holds since 3.13; before, handlers of children never ran.
///
/// Where no process can be started yet (see [`StartError::Unsupported`]), nothing calls them.
///
/// [`StartError::Unsupported`]: crate::StartError::Unsupported
///
/// ```
/// use mpserverd_client as mp;
///
/// mp::at_exit(|| println!("second"));
/// mp::at_exit(|| println!("first"));
/// ```
pub fn at_exit(handler: impl FnOnce() + Send + 'static) {
    #[cfg(target_os = "linux")]
    crate::process::register_exit_handler();
    own(|list| list.push(Box::new(handler)));
}

/// In a process that has just become a worker: what was registered until now was not for it.
#[cfg(target_os = "linux")]
pub(crate) fn begin() {
    own(|list| std::mem::forget(std::mem::take(list)));
}

/// Runs the handlers of this process, the last first. Nothing is locked meanwhile.
#[cfg(target_os = "linux")]
pub(crate) fn run() {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    while let Some(handler) = own(Vec::pop) {
        // The panic hook has told of it.
        let _ = catch_unwind(AssertUnwindSafe(handler));
    }
}
