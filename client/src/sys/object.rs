//! Loading a module and calling through its ABI: the host's side.
//!
//! Contract: a loaded object is never unloaded, so everything its descriptor points to lives for
//! ever; descriptors are checked for magic, version, size and null pointers before any field is
//! used. Loading a module runs its code: only the template (or worker) that shall run its tasks
//! does that. Descriptors of handles in arguments are the module's from the call on; those that it
//! names for handles in its result are duplicated at once and stay its own.

use crate::handles::SharedFd;
use crate::parcel::Parcel;
use crate::registry::{Completion, too_many_fds};
use mpserverd_proto::abi;
use mpserverd_proto::error::{Fault, JobError, Stage};
use mpserverd_proto::job::{Codec, Outcome, Panic};
use mpserverd_proto::limits::{JOB_FDS_MAX, MODULES_MAX, NAME_BYTES_MAX, PAYLOAD_BYTES_MAX};
use mpserverd_proto::report::TaskInfo;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::os::fd::{BorrowedFd, IntoRawFd, OwnedFd};
use std::path::Path;

/// Tasks that one module may have: far more than anybody writes, few enough to copy.
const TASKS_MAX: usize = 64 * MODULES_MAX;

/// A module that is loaded into this process, for ever.
#[derive(Debug)]
pub(crate) struct Module {
    hooks: [Option<abi::Hook>; 4],
    pub(crate) title: String,
    pub(crate) version: String,
    pub(crate) tasks: Vec<(TaskInfo, abi::Run)>,
}

/// Which hook.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Hook {
    Init,
    Warm,
    AfterFork,
    BeforeExit,
}

impl Module {
    /// Loads a shared object and reads its descriptor.
    pub(crate) fn open(path: &Path) -> Result<Self, (Stage, Fault)> {
        use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
        // SAFETY: running the object's constructors is the purpose; see the contract.
        let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) }
            .map_err(|e| (Stage::Load, Fault::NotLoadable(loader_message(&e))))?;
        // SAFETY: a module's only exported function has this type, by the ABI.
        let entry = unsafe { library.get::<abi::Entry>(abi::SYMBOL.as_bytes()) }
            .map(|symbol| *symbol)
            .map_err(|_| (Stage::Descriptor, Fault::NoDescriptor))?;
        std::mem::forget(library);
        // SAFETY: the object stays loaded; `entry` takes nothing and returns a static descriptor.
        let descriptor = unsafe { entry() };
        // SAFETY: `read` checks the pointer, and each field, before it uses what it points to.
        unsafe { Self::read(descriptor) }.map_err(|fault| (Stage::Descriptor, fault))
    }

    /// # Safety
    /// `descriptor` is null or points to a static `mp_module` of some ABI version.
    unsafe fn read(descriptor: *const abi::Module) -> Result<Self, Fault> {
        let bad = |what: &str| Fault::BadDescriptor(what.to_owned());
        if descriptor.is_null() || !descriptor.is_aligned() {
            return Err(bad("mp_module_v1() returned no valid pointer"));
        }
        // SAFETY: not null; magic and abi are the first fields of every ABI version.
        let (magic, version) = unsafe { ((*descriptor).magic, (*descriptor).abi) };
        if magic != abi::MAGIC {
            return Err(bad("the magic number is wrong"));
        }
        if version != abi::VERSION {
            return Err(Fault::WrongAbi { found: version, expected: abi::VERSION });
        }
        // SAFETY: of this version, so all fields of it are there.
        let descriptor = unsafe { &*descriptor };
        if descriptor.size < size_of::<abi::Module>() {
            return Err(bad("its size is smaller than that of this ABI version"));
        }
        if descriptor.tasks_len > TASKS_MAX
            || (descriptor.tasks.is_null() && descriptor.tasks_len > 0)
        {
            return Err(bad("its task array is null or absurdly long"));
        }
        let mut tasks = Vec::with_capacity(descriptor.tasks_len);
        for at in 0..descriptor.tasks_len {
            // SAFETY: a static array of tasks_len elements, by the ABI.
            let task = unsafe { &*descriptor.tasks.add(at) };
            // SAFETY: static NUL-terminated strings, by the ABI.
            let info = unsafe {
                TaskInfo {
                    name: text(task.name).ok_or_else(|| bad("a task has no name"))?,
                    signature: text(task.signature).unwrap_or_default(),
                    doc: text(task.doc).unwrap_or_default(),
                    schema: task.schema,
                }
            };
            tasks.push((info, task.run));
        }
        // SAFETY: as above.
        let (title, version) = unsafe { (text(descriptor.name), text(descriptor.version)) };
        let title = title.ok_or_else(|| bad("it has no name"))?;
        let abi::Module { init, warm, after_fork, before_exit, .. } = descriptor;
        let hooks = [*init, *warm, *after_fork, *before_exit];
        Ok(Self { hooks, title, version: version.unwrap_or_default(), tasks })
    }

    /// Runs a hook; a module without it succeeds.
    pub(crate) fn run_hook(&self, hook: Hook) -> Result<(), Fault> {
        let [init, warm, after_fork, before_exit] = self.hooks;
        let function = match hook {
            Hook::Init => init,
            Hook::Warm => warm,
            Hook::AfterFork => after_fork,
            Hook::BeforeExit => before_exit,
        };
        let Some(function) = function else { return Ok(()) };
        let mut caught = Caught::default();
        // SAFETY: a hook of a loaded module; the sink's context outlives the call.
        let status = unsafe { function((&raw mut caught).cast(), sink) };
        let message = caught.text(abi::channel::MESSAGE);
        match status {
            abi::OK => Ok(()),
            abi::PANICKED => Err(Fault::HookPanicked(message)),
            _ => Err(Fault::HookFailed(message)),
        }
    }
}

fn loader_message(error: &libloading::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// # Safety
/// `pointer` is null or points to a NUL-terminated string.
unsafe fn text(pointer: *const c_char) -> Option<String> {
    if pointer.is_null() {
        return None;
    }
    // SAFETY: the caller vouches for it.
    let bytes = unsafe { CStr::from_ptr(pointer) }.to_bytes();
    Some(String::from_utf8_lossy(&bytes[..bytes.len().min(16 * NAME_BYTES_MAX)]).into_owned())
}

/// What a module sent through its sink, by channel.
#[derive(Default)]
struct Caught {
    channels: [Vec<u8>; 4],
    overflow: bool,
    fds: Vec<OwnedFd>,
    /// How many descriptors it named, also beyond the limit.
    fds_count: usize,
    /// What was wrong with one.
    fds_error: Option<String>,
}

impl Caught {
    fn text(&self, channel: u32) -> String {
        String::from_utf8_lossy(&self.channels[channel as usize]).into_owned()
    }

    fn optional(&self, channel: u32) -> Option<String> {
        let text = self.text(channel);
        (!text.is_empty()).then_some(text)
    }

    /// Duplicates descriptors that the module names as an array of C ints.
    fn add_fds(&mut self, bytes: &[u8]) {
        let (numbers, rest) = bytes.as_chunks::<{ size_of::<c_int>() }>();
        self.fds_count = self.fds_count.saturating_add(numbers.len());
        if !rest.is_empty() {
            self.fds_error = Some("the module gave no array of numbers".to_owned());
        }
        if self.fds_count > JOB_FDS_MAX {
            self.fds.clear();
            return;
        }
        for number in numbers.iter().map(|bytes| c_int::from_ne_bytes(*bytes)) {
            match duplicate(number) {
                Ok(fd) => self.fds.push(fd),
                Err(error) => {
                    let limit = crate::sys::attributes::descriptor_limit();
                    self.fds_error.get_or_insert(format!(
                        "number {number} of the module: {error}; RLIMIT_NOFILE (`ulimit -n`) is \
                         {limit}"
                    ));
                }
            }
        }
    }

    /// Why the descriptors of the result cannot travel, if they cannot.
    fn fds_fault(&self) -> Option<JobError> {
        if self.fds_count > JOB_FDS_MAX {
            return Some(too_many_fds(self.fds_count));
        }
        self.fds_error.clone().map(JobError::Descriptors)
    }
}

/// A duplicate of a descriptor that the module names; any number may come.
fn duplicate(number: c_int) -> std::io::Result<OwnedFd> {
    if number < 0 {
        return Err(std::io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: not negative, and only passed to fcntl, which refuses a number that is not open.
    super::fd::duplicate_from(unsafe { BorrowedFd::borrow_raw(number) }, 3)
}

/// The host's sink: copies.
unsafe extern "C" fn sink(context: *mut c_void, channel: u32, bytes: *const u8, length: usize) {
    // SAFETY: every caller of ours passes a `Caught` that lives through the call.
    let caught = unsafe { &mut *context.cast::<Caught>() };
    if bytes.is_null() || length == 0 {
        return;
    }
    if channel == abi::channel::FDS {
        // SAFETY: the module passes `length` readable bytes, by the ABI.
        caught.add_fds(unsafe { std::slice::from_raw_parts(bytes, length) });
        return;
    }
    let Some(into) = caught.channels.get_mut(channel as usize) else { return };
    if into.len() as u64 + length as u64 > PAYLOAD_BYTES_MAX {
        caught.overflow = true;
        return;
    }
    // SAFETY: the module passes `length` readable bytes, by the ABI.
    into.extend_from_slice(unsafe { std::slice::from_raw_parts(bytes, length) });
}

/// Runs a task of a module; `passed` are descriptors that came by themselves.
pub(crate) fn run(
    info: &TaskInfo,
    run: abi::Run,
    codec: Codec,
    args: Parcel,
    passed: &[c_int],
) -> Completion {
    let Parcel { bytes: args, fds: handles } = args;
    let handles = handles.into_iter().map(SharedFd::into_owned).collect::<Result<Vec<_>, _>>();
    let handles = match handles {
        Ok(handles) => handles,
        Err(error) => return Completion::rejected(JobError::Descriptors(error.to_string())),
    };
    let handles_len = handles.len();
    let handles = handles.into_iter().map(IntoRawFd::into_raw_fd);
    let fds = passed.iter().copied().chain(handles).collect::<Vec<_>>();
    let mut caught = Caught::default();
    let host = crate::current::host();
    // A name has no NUL byte.
    let name = match codec {
        Codec::Custom(id) => CString::new(id.to_string()).ok(),
        _ => None,
    };
    let call = abi::Call {
        size: size_of::<abi::Call>(),
        codec: codec.number(),
        reserved: 0,
        args: args.as_ptr(),
        args_len: args.len(),
        fds: fds.as_ptr(),
        fds_len: fds.len(),
        reply: sink,
        context: (&raw mut caught).cast(),
        host: host.as_ptr(),
        host_len: host.len(),
        handles_len,
        codec_name: name.as_ref().map_or(std::ptr::null(), |name| name.as_ptr()),
    };
    // SAFETY: a task of a loaded module; everything in `call` outlives it.
    let status = unsafe { run(&raw const call) };
    let outcome = ending(info, codec, status, &caught);
    if !matches!(outcome, Outcome::Returned | Outcome::Failed { .. }) {
        return Completion { outcome, payload: Parcel::default() };
    }
    if let Some(fault) = caught.fds_fault() {
        return Completion::rejected(fault);
    }
    let [bytes, ..] = caught.channels;
    let fds = caught.fds.into_iter().map(SharedFd::from).collect();
    Completion { outcome, payload: Parcel { bytes, fds } }
}

/// What a task's status means.
fn ending(info: &TaskInfo, codec: Codec, status: c_int, caught: &Caught) -> Outcome {
    let message = caught.text(abi::channel::MESSAGE);
    let too_large = || Outcome::Rejected(JobError::ResultTooLarge { limit: PAYLOAD_BYTES_MAX });
    match status {
        _ if caught.overflow => too_large(),
        abi::OK => Outcome::Returned,
        abi::FAILED => Outcome::Failed { message },
        abi::PANICKED => Outcome::Panicked(Panic {
            message,
            location: caught.optional(abi::channel::LOCATION),
            backtrace: caught.optional(abi::channel::BACKTRACE),
        }),
        abi::BAD_ARGUMENTS => Outcome::Rejected(JobError::BadArguments {
            signature: format!("{}{}", info.name, info.signature),
            reason: message,
        }),
        abi::UNSERIALIZABLE => Outcome::Rejected(JobError::Unserializable(message)),
        abi::UNSUPPORTED_CODEC if !message.is_empty() => {
            let known = message.lines().map(str::to_owned).collect();
            Outcome::Rejected(JobError::UnknownReducer { name: codec.to_string(), known })
        }
        abi::UNSUPPORTED_CODEC => Outcome::Rejected(JobError::UnsupportedCodec {
            task: info.name.clone(),
            codec: codec.to_string(),
        }),
        abi::RESULT_TOO_LARGE => too_large(),
        other => Outcome::Failed { message: format!("the task returned status {other}") },
    }
}
