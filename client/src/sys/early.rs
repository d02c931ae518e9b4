//! Code before `main` and at `exit`.
//!
//! Contract: the constructor runs in every program and module that links this crate, so it does
//! nothing but look for one environment variable; only in a process that the runtime itself
//! started *and* whose program asked for it with `enable_in_tests!` does it go further. The exit
//! handler is registered at most once a process and only touches this crate's own tables.

/// Runs before `main`. `std` works here: glibc has set up arguments, environment and threads.
extern "C" fn before_main() {
    if !crate::runtime::EARLY.is_empty() && crate::runtime::is_bootstrapped() {
        crate::freeze_support();
    }
}

#[used]
// SAFETY: `.init_array` holds pointers to functions that take no arguments we use and return
// nothing; that is what this one is.
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = before_main;

extern "C" fn at_exit() {
    let _ = std::panic::catch_unwind(crate::exit::run);
    let _ = std::panic::catch_unwind(crate::process::end_children);
    // Children may have held the same.
    let _ = std::panic::catch_unwind(crate::shared::memory::let_go);
}

/// Calls [`crate::exit::run`], [`crate::process::end_children`] and
/// [`crate::shared::memory::let_go`] when this process exits normally.
pub(crate) fn register_exit_handler() {
    // SAFETY: the handler is a plain function that does not unwind.
    unsafe { libc::atexit(at_exit) };
}
