//! A module's own side of its ABI: what `module!` and `#[task]` export.
//!
//! Contract: nothing unwinds out of an exported function; bytes are handed to the host's sink,
//! never owned by it; what the host passes in is borrowed for the call, but for the descriptors of
//! handles in the arguments, which this side owns from the call on. A shared object has its own
//! copy of this crate, so each call makes that copy part of the host's process first. A call of an
//! older host is shorter than ours: nothing beyond its `size` is read.

use crate::handles::SharedFd;
use crate::registry::TaskEntry;
use mpserverd_proto::abi;
use mpserverd_proto::error::JobError;
use mpserverd_proto::job::{Codec, Outcome};
use std::ffi::{CString, c_char, c_int, c_void};
use std::mem::{MaybeUninit, offset_of};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// A task of this crate's kind behind the C ABI: the module's side of [`run`].
pub(crate) unsafe extern "C" fn exported<T: crate::Task>(call: *const abi::Call) -> c_int {
    // SAFETY: the host passes a valid call, by the ABI.
    unsafe { serve(&TaskEntry::of::<T>(), call) }
}

/// A copy of the call, in which fields that the host does not have are zero; `None` if it lacks
/// any of the first.
///
/// # Safety
/// `call` points to as many readable bytes as its first field says.
unsafe fn read_call(call: *const abi::Call) -> Option<abi::Call> {
    // SAFETY: the first field is always there.
    let size = unsafe { (&raw const (*call).size).read() };
    if size < offset_of!(abi::Call, handles_len) {
        return None;
    }
    let mut copy = MaybeUninit::<abi::Call>::zeroed();
    let length = size.min(size_of::<abi::Call>());
    // SAFETY: so many bytes are readable (the caller vouches for it) and fit the copy. What is not
    // copied is zero, a valid number of handles: the field before it has come.
    unsafe {
        std::ptr::copy_nonoverlapping(call.cast::<u8>(), copy.as_mut_ptr().cast::<u8>(), length);
        Some(copy.assume_init())
    }
}

/// Serves one call of an exported task.
///
/// # Safety
/// `call` points to a valid `Call` of this ABI version.
pub(crate) unsafe fn serve(entry: &TaskEntry, call: *const abi::Call) -> c_int {
    // SAFETY: the caller vouches for it.
    let Some(call) = (unsafe { read_call(call) }) else { return abi::BAD_ARGUMENTS };
    // SAFETY: the host passes fds_len numbers, of which the handles are this side's.
    let Some((passed, handles)) = (unsafe { take_descriptors(&call) }) else {
        return abi::BAD_ARGUMENTS;
    };
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
    unsafe { join_host(&call, passed) };
    let completion = entry.invoke(codec, args, handles);
    flush_own_output();
    reply(abi::channel::VALUE, &completion.payload.bytes);
    let numbers = completion.payload.fds.iter().map(|fd| fd.as_fd().as_raw_fd());
    reply(abi::channel::FDS, &numbers.flat_map(c_int::to_ne_bytes).collect::<Vec<_>>());
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

/// The numbers that were passed by themselves, and the handles of the arguments; `None` if the
/// counts contradict each other.
///
/// # Safety
/// As [`serve`]; once for a call.
unsafe fn take_descriptors(call: &abi::Call) -> Option<(&[RawFd], Vec<SharedFd>)> {
    let fds = if call.fds.is_null() || call.fds_len == 0 {
        &[][..]
    } else {
        // SAFETY: the host passes fds_len numbers.
        unsafe { std::slice::from_raw_parts(call.fds, call.fds_len) }
    };
    let (passed, handles) = fds.split_at_checked(fds.len().checked_sub(call.handles_len)?)?;
    // SAFETY: open, and nobody's but ours from the call on, by the ABI.
    let own = |number: &RawFd| SharedFd::from(unsafe { OwnedFd::from_raw_fd(*number) });
    Some((passed, handles.iter().map(own).collect()))
}

/// Makes this copy of the crate part of the host's process: its identity, its descriptors.
///
/// # Safety
/// As [`serve`]; `passed` are open descriptors.
unsafe fn join_host(call: &abi::Call, passed: &[RawFd]) {
    if call.host.is_null() {
        return;
    }
    // SAFETY: the host passes host_len readable bytes.
    let host = unsafe { std::slice::from_raw_parts(call.host, call.host_len) };
    // A host of another version: the task runs, but cannot start processes.
    let Ok(host) = mpserverd_proto::codec::decode::<mpserverd_proto::job::Host>(host) else {
        return;
    };
    let copy = |number: &RawFd| {
        // SAFETY: open, and the host's for the duration of the call; it is only duplicated.
        unsafe { BorrowedFd::borrow_raw(*number) }.try_clone_to_owned().ok()
    };
    let parent = host.parent_fd.as_ref().and_then(copy);
    let passed = passed.iter().filter_map(copy).collect();
    let log = Some(host.log.clone()).filter(crate::logging::travel::is_news);
    let log_fd = host.log_fd.filter(|_| log.is_some());
    let log_fd = log_fd.as_ref().and_then(copy);
    crate::current::become_part_of(host, parent, passed);
    if let Some(log) = log {
        crate::logging::travel::join(log, log_fd);
    }
}

unsafe extern "C" fn before_exit(_: *mut c_void, _: abi::Sink) -> c_int {
    let _ = crate::runtime::panics::catch(|| {
        crate::exit::run();
        crate::process::end_children();
        crate::shared::memory::let_go();
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
    crate::exit::begin();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::CodecError;
    use crate::task::{Encoded, Returns, ReturnsValue, Task};
    use std::os::fd::IntoRawFd;

    /// How many handles it is given.
    #[derive(Debug)]
    enum Count {}

    impl Task for Count {
        const NAME: &'static str = "count";
        const SIGNATURE: &'static str = "(fds: Vec<SharedFd>) -> u64";
        const DOC: &'static str = "";
        const SCHEMA: u64 = 0;
        const ARITY: usize = 1;
        type Args = (Vec<SharedFd>,);
        type Output = u64;

        fn call((fds,): Self::Args) -> u64 {
            fds.len() as u64
        }

        fn encode(codec: Codec, output: u64) -> Encoded {
            Returns::new().encode(codec, output)
        }

        fn decode(failed: bool, payload: &[u8]) -> Result<u64, CodecError> {
            Returns::new().decode(failed, payload)
        }
    }

    unsafe extern "C" fn sink(context: *mut c_void, channel: u32, bytes: *const u8, length: usize) {
        // SAFETY: `call` passes its own list, and the sink's caller readable bytes.
        let (replies, bytes) = unsafe {
            let replies = &mut *context.cast::<Vec<(u32, Vec<u8>)>>();
            (replies, std::slice::from_raw_parts(bytes, length))
        };
        replies.push((channel, bytes.to_vec()));
    }

    /// Calls the task as a host whose `Call` has this size; gives status and value.
    fn call(size: usize, fds: &[RawFd], handles_len: usize) -> (c_int, Vec<u8>) {
        let args = (0..fds.len() as u16).collect::<Vec<_>>();
        let args = crate::codec::encode(Codec::Bincode, &(args,)).expect("encodes");
        let mut replies = Vec::<(u32, Vec<u8>)>::new();
        let call = abi::Call {
            size,
            codec: Codec::Bincode as u32,
            reserved: 0,
            args: args.as_ptr(),
            args_len: args.len(),
            fds: fds.as_ptr(),
            fds_len: fds.len(),
            reply: sink,
            context: (&raw mut replies).cast(),
            host: std::ptr::null(),
            host_len: 0,
            handles_len,
        };
        // SAFETY: a valid call of that size; the handles are nobody's but the callee's.
        let status = unsafe { exported::<Count>(&raw const call) };
        let value = replies.into_iter().find(|(channel, _)| *channel == abi::channel::VALUE);
        (status, value.map(|(_, bytes)| bytes).unwrap_or_default())
    }

    fn null() -> RawFd {
        std::fs::File::open("/dev/null").expect("/dev/null").into_raw_fd()
    }

    #[test]
    fn nothing_beyond_the_size_of_a_call_is_read() {
        let own = size_of::<abi::Call>();
        let old = offset_of!(abi::Call, handles_len);
        assert_eq!(call(own, &[null(), null()], 2), (abi::OK, 2u64.to_le_bytes().to_vec()));
        assert_eq!(call(own + 8, &[null()], 1), (abi::OK, 1u64.to_le_bytes().to_vec()));
        // A host without the field has no handles, whatever stands behind its call.
        assert_eq!(call(old, &[], 7), (abi::OK, 0u64.to_le_bytes().to_vec()));
        assert_eq!(call(old, &[0], 1).0, abi::BAD_ARGUMENTS);
        assert_eq!(call(old - 1, &[], 0).0, abi::BAD_ARGUMENTS);
    }

    #[test]
    fn more_handles_than_descriptors_are_refused() {
        assert_eq!(call(size_of::<abi::Call>(), &[0], 2).0, abi::BAD_ARGUMENTS);
        assert_eq!(call(size_of::<abi::Call>(), &[], usize::MAX).0, abi::BAD_ARGUMENTS);
    }
}
