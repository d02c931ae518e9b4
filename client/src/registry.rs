//! The tasks that this process can run: those of the program and those of its modules.

use crate::codec::{self, Codec, CodecError};
use crate::handles::{SharedFd, provide};
use crate::parcel::Parcel;
use crate::task::Task;
use linkme::distributed_slice;
#[cfg(target_os = "linux")]
use mpserverd_proto::abi;
use mpserverd_proto::error::JobError;
use mpserverd_proto::job::Outcome;
use mpserverd_proto::limits::{JOB_FDS_MAX, PAYLOAD_BYTES_MAX};
use mpserverd_proto::report::TaskInfo;
use mpserverd_proto::schema;

#[cfg(target_os = "linux")]
pub(crate) mod batch;

/// The tasks of this program (or shared object), collected by the linker.
#[distributed_slice]
pub static TASKS: [TaskEntry];

/// One task, as the linker collects it.
#[derive(Debug)]
pub struct TaskEntry {
    pub(crate) name: &'static str,
    pub(crate) signature: &'static str,
    pub(crate) doc: &'static str,
    pub(crate) schema: u64,
    run: fn(Codec, &[u8], Vec<SharedFd>) -> Completion,
    #[cfg(target_os = "linux")]
    run_many: fn(&mut batch::Batch<'_>),
    #[cfg(target_os = "linux")]
    pub(crate) foreign: abi::Run,
}

/// How a call ended, with the encoded value if there is one.
#[derive(Debug)]
pub struct Completion {
    pub(crate) outcome: Outcome,
    pub(crate) payload: Parcel,
}

impl Completion {
    pub(crate) fn panicked(panic: mpserverd_proto::job::Panic) -> Self {
        Self { outcome: Outcome::Panicked(panic), payload: Parcel::default() }
    }

    pub(crate) fn rejected(error: JobError) -> Self {
        Self { outcome: Outcome::Rejected(error), payload: Parcel::default() }
    }

    /// Itself, or a rejection if it has more descriptors than may travel.
    pub(crate) fn limited(self) -> Self {
        match self.payload.fds.len() {
            0..=JOB_FDS_MAX => self,
            count => Self::rejected(too_many_fds(count)),
        }
    }
}

/// A result has so many descriptors.
pub(crate) fn too_many_fds(count: usize) -> JobError {
    JobError::TooManyFds { count: count as u64, limit: JOB_FDS_MAX as u64 }
}

impl TaskEntry {
    /// The entry of a task.
    #[must_use]
    pub const fn of<T: Task>() -> Self {
        Self {
            name: T::NAME,
            signature: T::SIGNATURE,
            doc: T::DOC,
            schema: T::SCHEMA,
            run: invoke::<T>,
            #[cfg(target_os = "linux")]
            run_many: batch::run_many::<T>,
            #[cfg(target_os = "linux")]
            foreign: crate::sys::export::exported::<T>,
        }
    }

    /// Decodes the arguments, calls the task, encodes what it returned; catches its panic.
    pub(crate) fn invoke(&self, codec: Codec, args: &[u8], handles: Vec<SharedFd>) -> Completion {
        (self.run)(codec, args, handles)
    }

    fn info(&self) -> TaskInfo {
        TaskInfo {
            name: self.name.to_owned(),
            signature: self.signature.to_owned(),
            doc: self.doc.to_owned(),
            schema: self.schema,
        }
    }
}

fn invoke<T: Task>(codec: Codec, bytes: &[u8], handles: Vec<SharedFd>) -> Completion {
    // The task runs outside: what it deserialises by itself has no descriptors to refer to, and
    // those of arguments that it drops are closed then.
    let args = match provide(handles, || decode_arguments::<T>(codec, bytes)) {
        Ok(args) => args,
        Err(reason) => return Completion::rejected(bad_arguments::<T>(reason)),
    };
    match crate::runtime::panics::catch(|| T::encode(codec, T::call(args))) {
        Ok(encoded) => completion(encoded),
        Err(panic) => Completion::panicked(panic),
    }
}

/// What a task returned, as it goes to the client.
pub(crate) fn completion(encoded: crate::task::Encoded) -> Completion {
    match encoded.payload {
        Ok(payload) => Completion {
            outcome: match encoded.failed {
                None => Outcome::Returned,
                Some(message) => Outcome::Failed { message },
            },
            payload,
        },
        Err(error) => Completion::rejected(unencodable(error)),
    }
}

fn bad_arguments<T: Task>(reason: String) -> JobError {
    JobError::BadArguments { signature: format!("{}{}", T::NAME, T::SIGNATURE), reason }
}

fn unencodable(error: CodecError) -> JobError {
    match error {
        CodecError::TooLarge { .. } => JobError::ResultTooLarge { limit: PAYLOAD_BYTES_MAX },
        other => JobError::Unserializable(other.to_string()),
    }
}

fn decode_arguments<T: Task>(codec: Codec, bytes: &[u8]) -> Result<T::Args, String> {
    if codec == Codec::Bincode {
        return codec::decode(codec, bytes).map_err(|e| e.to_string());
    }
    let values = serde_json::from_slice::<Vec<serde_json::Value>>(bytes)
        .map_err(|e| format!("not a JSON array of arguments: {e}"))?;
    if values.len() != T::ARITY {
        return Err(format!("takes {} argument(s), got {}", T::ARITY, values.len()));
    }
    // serde reads the empty tuple from null, not from [].
    let value = if T::ARITY == 0 { serde_json::Value::Null } else { values.into() };
    serde_json::from_value(value).map_err(|e| e.to_string())
}

/// How a task is called.
#[derive(Debug)]
enum Run {
    /// It is part of this program.
    Native(&'static TaskEntry),
    /// It is part of a loaded module.
    #[cfg(target_os = "linux")]
    Foreign(abi::Run),
}

/// A task that can be called here.
#[derive(Debug)]
pub(crate) struct Callable {
    pub(crate) info: TaskInfo,
    /// Name of the module, or empty for the program's own.
    title: String,
    run: Run,
}

impl Callable {
    /// Calls it with these arguments; `passed` are descriptors that came by themselves.
    #[cfg(target_os = "linux")]
    pub(crate) fn call(&self, codec: Codec, args: Parcel, passed: &[i32]) -> Completion {
        match &self.run {
            Run::Native(entry) => entry.invoke(codec, &args.bytes, args.fds),
            Run::Foreign(run) => crate::sys::object::run(&self.info, *run, codec, args, passed),
        }
    }
}

/// All tasks of this process.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    tasks: Vec<Callable>,
}

impl Registry {
    /// The program's own tasks.
    pub(crate) fn of_program() -> Self {
        Self::of_entries(&TASKS)
    }

    /// Tasks of the program, and no others.
    pub(crate) fn of_entries(entries: &'static [TaskEntry]) -> Self {
        let own = |entry| Callable {
            info: TaskEntry::info(entry),
            title: String::new(),
            run: Run::Native(entry),
        };
        Self { tasks: entries.iter().map(own).collect() }
    }

    /// The same, called as tasks of a module are.
    #[cfg(all(test, target_os = "linux"))]
    pub(crate) fn of_exports(entries: &'static [TaskEntry]) -> Self {
        let Self { tasks } = Self::of_entries(entries);
        let foreign = |(task, entry): (Callable, &TaskEntry)| Callable {
            run: Run::Foreign(entry.foreign),
            ..task
        };
        Self { tasks: tasks.into_iter().zip(entries).map(foreign).collect() }
    }

    /// Adds the tasks of a module.
    #[cfg(target_os = "linux")]
    pub(crate) fn add_module(&mut self, module: &crate::sys::object::Module) {
        self.tasks.extend(module.tasks.iter().map(|(info, run)| Callable {
            info: info.clone(),
            title: module.title.clone(),
            run: Run::Foreign(*run),
        }));
    }

    /// Descriptions of the tasks of one module (or of the program: empty title).
    pub(crate) fn infos(&self, title: &str) -> Vec<TaskInfo> {
        self.tasks.iter().filter(|t| t.title == title).map(|t| t.info.clone()).collect()
    }

    /// Finds a task by name and checks its signature.
    pub(crate) fn find(&self, name: &str, caller: u64) -> Result<&Callable, JobError> {
        let exact = self.tasks.iter().find(|task| task.info.name == name);
        let task = match exact {
            Some(task) => task,
            None => self.find_loosely(name)?,
        };
        if !schema::compatible(caller, task.info.schema) {
            return Err(JobError::SchemaMismatch {
                task: task.info.name.clone(),
                signature: task.info.signature.clone(),
            });
        }
        Ok(task)
    }

    fn find_loosely(&self, name: &str) -> Result<&Callable, JobError> {
        let found = self
            .tasks
            .iter()
            .filter(|task| names::matches(name, &task.info.name, &task.title))
            .collect::<Vec<_>>();
        match found[..] {
            [task] => Ok(task),
            [] => Err(JobError::UnknownTask {
                name: name.to_owned(),
                near: names::near(name, self.tasks.iter().map(|task| task.info.name.as_str())),
            }),
            _ => Err(JobError::AmbiguousTask {
                name: name.to_owned(),
                candidates: found.iter().map(|task| task.info.name.clone()).collect(),
            }),
        }
    }
}

/// How people name tasks.
pub mod names {
    /// Last part of a full name.
    #[must_use]
    pub fn short(full: &str) -> &str {
        full.rsplit("::").next().unwrap_or(full)
    }

    /// Whether `asked` means the task `full` of the module `title`: its last part, any number of
    /// parts before it (`::` or `.` between them), or the module's name before the last part.
    #[must_use]
    pub fn matches(asked: &str, full: &str, title: &str) -> bool {
        let asked = asked.replace('.', "::");
        full == asked
            || full.strip_suffix(&asked).is_some_and(|rest| rest.ends_with("::"))
            || asked.strip_prefix(title).and_then(|rest| rest.strip_prefix("::"))
                == Some(short(full))
    }

    /// Names that look like `asked`, the nearest first.
    #[must_use]
    pub fn near<'a>(asked: &str, all: impl Iterator<Item = &'a str>) -> Vec<String> {
        let asked_short = short(&asked.replace('.', "::")).to_lowercase();
        let mut close = all
            .filter_map(|full| {
                let candidate = short(full).to_lowercase();
                let distance = distance(&asked_short, &candidate);
                let contained = candidate.contains(&asked_short) && !asked_short.is_empty();
                let limit = asked_short.chars().count() / 3 + 1;
                (distance <= limit || contained).then_some((distance, full))
            })
            .collect::<Vec<_>>();
        close.sort_unstable();
        close.into_iter().take(3).map(|(_, full)| full.to_owned()).collect()
    }

    /// Levenshtein distance.
    fn distance(a: &str, b: &str) -> usize {
        let b = b.chars().collect::<Vec<_>>();
        let mut row = (0..=b.len()).collect::<Vec<_>>();
        for (i, from) in a.chars().enumerate() {
            let mut diagonal = row[0];
            row[0] = i + 1;
            for (j, to) in b.iter().enumerate() {
                let replace = diagonal + usize::from(from != *to);
                diagonal = row[j + 1];
                row[j + 1] = replace.min(row[j] + 1).min(diagonal + 1);
            }
        }
        row[b.len()]
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_task_has_many_names() {
            let full = "sample_highlight::render::html";
            for asked in ["html", "render::html", "render.html", full, "highlight.html"] {
                assert!(matches(asked, full, "highlight"), "{asked}");
            }
            for asked in ["ml", "l.html", "highlight", "", "other.html"] {
                assert!(!matches(asked, full, "highlight"), "{asked}");
            }
        }

        #[test]
        fn near_names_come_first() {
            let all = ["a::render", "a::resize", "a::rewind"];
            assert_eq!(near("resise", all.into_iter())[0], "a::resize");
            assert!(near("zzzzzz", all.into_iter()).is_empty());
        }
    }
}
