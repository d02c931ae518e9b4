//! Loading a module and calling through its ABI: the host's side.
//!
//! Contract: a loaded object is never unloaded, so everything its descriptor points to lives for
//! ever; descriptors are checked for magic, version, size and null pointers before any field is
//! used. Loading a module runs its code: only the template (or worker) that shall run its tasks
//! does that.

use crate::registry::Completion;
use mpserverd_proto::abi;
use mpserverd_proto::error::{Fault, JobError, Stage};
use mpserverd_proto::job::{Codec, Outcome, Panic};
use mpserverd_proto::limits::{MODULES_MAX, NAME_BYTES_MAX, PAYLOAD_BYTES_MAX};
use mpserverd_proto::report::TaskInfo;
use std::ffi::{CStr, c_char, c_int, c_void};
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
}

impl Caught {
    fn text(&self, channel: u32) -> String {
        String::from_utf8_lossy(&self.channels[channel as usize]).into_owned()
    }

    fn optional(&self, channel: u32) -> Option<String> {
        let text = self.text(channel);
        (!text.is_empty()).then_some(text)
    }
}

/// The host's sink: copies.
unsafe extern "C" fn sink(context: *mut c_void, channel: u32, bytes: *const u8, length: usize) {
    // SAFETY: every caller of ours passes a `Caught` that lives through the call.
    let caught = unsafe { &mut *context.cast::<Caught>() };
    let Some(into) = caught.channels.get_mut(channel as usize) else { return };
    if bytes.is_null() || length == 0 {
        return;
    }
    if into.len() as u64 + length as u64 > PAYLOAD_BYTES_MAX {
        caught.overflow = true;
        return;
    }
    // SAFETY: the module passes `length` readable bytes, by the ABI.
    into.extend_from_slice(unsafe { std::slice::from_raw_parts(bytes, length) });
}

/// Runs a task of a module.
pub(crate) fn run(
    info: &TaskInfo,
    run: abi::Run,
    codec: Codec,
    args: &[u8],
    fds: &[c_int],
) -> Completion {
    let mut caught = Caught::default();
    let host = crate::current::host();
    let call = abi::Call {
        size: size_of::<abi::Call>(),
        codec: codec as u32,
        reserved: 0,
        args: args.as_ptr(),
        args_len: args.len(),
        fds: fds.as_ptr(),
        fds_len: fds.len(),
        reply: sink,
        context: (&raw mut caught).cast(),
        host: host.as_ptr(),
        host_len: host.len(),
    };
    // SAFETY: a task of a loaded module; everything in `call` outlives it.
    let status = unsafe { run(&raw const call) };
    let message = caught.text(abi::channel::MESSAGE);
    let too_large = || Outcome::Rejected(JobError::ResultTooLarge { limit: PAYLOAD_BYTES_MAX });
    let outcome = match status {
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
        abi::UNSUPPORTED_CODEC => Outcome::Rejected(JobError::UnsupportedCodec {
            task: info.name.clone(),
            codec: format!("{codec:?}"),
        }),
        abi::RESULT_TOO_LARGE => too_large(),
        other => Outcome::Failed { message: format!("the task returned status {other}") },
    };
    let value = matches!(outcome, Outcome::Returned | Outcome::Failed { .. });
    let [payload, ..] = caught.channels;
    Completion { outcome, payload: if value { payload } else { Vec::new() } }
}
