//! A module's own side of its ABI: what `module!` and `#[task]` export.
//!
//! Contract: nothing unwinds out of an exported function; bytes are handed to the host's sink,
//! never owned by it; what the host passes in is borrowed for the call. A shared object has its
//! own copy of this crate, so each call makes that copy part of the host's process first.

use crate::registry::TaskEntry;
use mpserverd_proto::abi;
use mpserverd_proto::error::JobError;
use mpserverd_proto::job::{Codec, Outcome};
use std::ffi::{CString, c_char, c_int, c_void};

/// A task of this crate's kind behind the C ABI: the module's side of [`run`].
pub(crate) unsafe extern "C" fn exported<T: crate::Task>(call: *const abi::Call) -> c_int {
    // SAFETY: the host passes a valid call, by the ABI.
    unsafe { serve(&TaskEntry::of::<T>(), call) }
}

/// Serves one call of an exported task.
///
/// # Safety
/// `call` points to a valid `Call` of this ABI version.
pub(crate) unsafe fn serve(entry: &TaskEntry, call: *const abi::Call) -> c_int {
    // SAFETY: the caller vouches for it.
    let call = unsafe { &*call };
    let codec = match call.codec {
        1 => Codec::Bincode,
        2 => Codec::Json,
        _ => return abi::UNSUPPORTED_CODEC,
    };
    let args = if call.args.is_null() {
        &[][..]
    } else {
        // SAFETY: the host passes args_len readable bytes.
        unsafe { std::slice::from_raw_parts(call.args, call.args_len) }
    };
    let reply = |channel: u32, bytes: &[u8]| {
        // SAFETY: the host's sink with the host's context; it copies the bytes at once.
        unsafe { (call.reply)(call.context, channel, bytes.as_ptr(), bytes.len()) };
    };
    // SAFETY: the host passes descriptors that are open during the call.
    unsafe { join_host(call) };
    let completion = entry.invoke(codec, args);
    flush_own_output();
    reply(abi::channel::VALUE, &completion.payload);
    let message = |text: &str| reply(abi::channel::MESSAGE, text.as_bytes());
    match completion.outcome {
        Outcome::Returned => abi::OK,
        Outcome::Failed { message: text } => {
            message(&text);
            abi::FAILED
        }
        Outcome::Panicked(panic) => {
            message(&panic.message);
            reply(abi::channel::LOCATION, panic.location.unwrap_or_default().as_bytes());
            reply(abi::channel::BACKTRACE, panic.backtrace.unwrap_or_default().as_bytes());
            abi::PANICKED
        }
        Outcome::Rejected(JobError::BadArguments { reason, .. }) => {
            message(&reason);
            abi::BAD_ARGUMENTS
        }
        Outcome::Rejected(JobError::Unserializable(reason)) => {
            message(&reason);
            abi::UNSERIALIZABLE
        }
        Outcome::Rejected(JobError::ResultTooLarge { .. }) => abi::RESULT_TOO_LARGE,
        Outcome::Rejected(other) => {
            message(&other.to_string());
            abi::BAD_ARGUMENTS
        }
        Outcome::DeadlineExceeded { .. } => abi::FAILED,
    }
}

/// Makes this copy of the crate part of the host's process: its identity, its descriptors.
///
/// # Safety
/// As [`serve`].
unsafe fn join_host(call: &abi::Call) {
    use std::os::fd::{BorrowedFd, RawFd};
    if call.host.is_null() {
        return;
    }
    // SAFETY: the host passes host_len readable bytes, and fds_len numbers.
    let (host, fds) = unsafe {
        let fds = if call.fds.is_null() || call.fds_len == 0 {
            &[][..]
        } else {
            std::slice::from_raw_parts(call.fds, call.fds_len)
        };
        (std::slice::from_raw_parts(call.host, call.host_len), fds)
    };
    // A host of another version: the task runs, but cannot start processes.
    let Ok(host) = mpserverd_proto::codec::decode::<mpserverd_proto::job::Host>(host) else {
        return;
    };
    let copy = |number: &RawFd| {
        // SAFETY: open, and the host's for the duration of the call; it is only duplicated.
        unsafe { BorrowedFd::borrow_raw(*number) }.try_clone_to_owned().ok()
    };
    let parent = host.parent_fd.as_ref().and_then(copy);
    let passed = fds.iter().filter_map(copy).collect();
    crate::current::become_part_of(host, parent, passed);
}

unsafe extern "C" fn before_exit(_: *mut c_void, _: abi::Sink) -> c_int {
    let _ = crate::runtime::panics::catch(|| {
        crate::current::run_exit_handlers();
        crate::process::end_children();
    });
    flush_own_output();
    abi::OK
}

/// Writes out what this shared object has printed: it has a std of its own, with a buffer that the
/// host cannot flush. What a hook left there, every fork would write once more.
fn flush_own_output() {
    // Nobody listens to a closed standard output.
    let _ = std::io::Write::flush(&mut std::io::stdout());
}

/// Serves one call of an exported hook.
///
/// # Safety
/// `sink` and `context` are the host's.
pub(crate) unsafe fn serve_hook(
    hook: fn() -> Result<(), String>,
    context: *mut c_void,
    sink: abi::Sink,
) -> c_int {
    let result = crate::runtime::panics::catch(hook);
    flush_own_output();
    let (status, text) = match result {
        Ok(Ok(())) => return abi::OK,
        Ok(Err(message)) => (abi::FAILED, message),
        Err(panic) => {
            let place = panic.location.map(|at| format!(" at {at}")).unwrap_or_default();
            (abi::PANICKED, panic.message + &place)
        }
    };
    // SAFETY: the host's sink with the host's context; it copies the bytes at once.
    unsafe { sink(context, abi::channel::MESSAGE, text.as_ptr(), text.len()) };
    status
}

/// The one set of hooks that `module!` registered in this shared object.
fn hooks() -> Option<&'static crate::runtime::Hooks> {
    crate::runtime::HOOKS.first()
}

unsafe extern "C" fn init(context: *mut c_void, sink: abi::Sink) -> c_int {
    let hook = hooks().and_then(|hooks| hooks.init);
    // SAFETY: the host passes its own sink and context, by the ABI.
    hook.map_or(abi::OK, |hook| unsafe { serve_hook(hook, context, sink) })
}

unsafe extern "C" fn warm(context: *mut c_void, sink: abi::Sink) -> c_int {
    let hook = hooks().and_then(|hooks| hooks.warm);
    // SAFETY: the host passes its own sink and context, by the ABI.
    hook.map_or(abi::OK, |hook| unsafe { serve_hook(hook, context, sink) })
}

unsafe extern "C" fn after_fork(context: *mut c_void, sink: abi::Sink) -> c_int {
    let hook = hooks().and_then(|hooks| hooks.after_fork);
    // SAFETY: the host passes its own sink and context, by the ABI.
    hook.map_or(abi::OK, |hook| unsafe { serve_hook(hook, context, sink) })
}

fn static_text(text: &str) -> *const c_char {
    let text = text.replace('\0', " ");
    CString::new(text).unwrap_or_default().into_raw().cast_const()
}

/// Builds (and leaks) the descriptor of this shared object. The host asks for it once.
#[must_use]
pub fn module_descriptor(name: &str, version: &str) -> *const abi::Module {
    let tasks = crate::registry::TASKS
        .iter()
        .map(|entry| abi::Task {
            name: static_text(entry.name),
            signature: static_text(entry.signature),
            doc: static_text(entry.doc),
            schema: entry.schema,
            run: entry.foreign,
        })
        .collect::<Vec<_>>()
        .leak();
    Box::leak(Box::new(abi::Module {
        magic: abi::MAGIC,
        abi: abi::VERSION,
        size: size_of::<abi::Module>(),
        name: static_text(name),
        version: static_text(version),
        tasks: tasks.as_ptr(),
        tasks_len: tasks.len(),
        init: Some(init),
        warm: Some(warm),
        after_fork: Some(after_fork),
        before_exit: Some(before_exit),
    }))
}
