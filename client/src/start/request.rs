//! The job that says who the worker is to be: everything it sees is the requester's.

use crate::current::{self, Me};
use crate::error::StartError;
use crate::handles::SharedFd;
use crate::parcel::Parcel;
use crate::process::{Options, Stream};
use crate::sandbox;
use crate::sys::{attributes, environ, fd, packet, wait};
use mpserverd_proto::death::short_task;
use mpserverd_proto::job::{self, Codec, Identity, Job, OnParentDeath, Rlimit, Setup, Slots};
use mpserverd_proto::limits::{JOB_FDS_MAX, PAYLOAD_BYTES_MAX};
use mpserverd_proto::packet::Kind;
use mpserverd_proto::trace::TraceId;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

/// What is to be run.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) task: String,
    pub(crate) schema: u64,
    pub(crate) codec: Codec,
    pub(crate) args: Parcel,
}

/// A job ready to be sent, with the descriptors it needs.
#[derive(Debug)]
pub(crate) struct Request {
    head: Vec<u8>,
    /// The same for a worker that does not descend from this process, if that makes a difference.
    head_elsewhere: Option<Vec<u8>>,
    args: Vec<u8>,
    fds: Vec<OwnedFd>,
    /// Those of the arguments, which follow.
    handles: Vec<SharedFd>,
    pub(crate) name: String,
    pub(crate) daemon: bool,
    pub(crate) authkey: Vec<u8>,
    /// The end of the task's name.
    pub(crate) task: String,
    pub(crate) trace: TraceId,
}

impl Request {
    /// Gathers everything.
    pub(crate) fn prepare(
        work: Work,
        mut options: Options,
        method: &str,
        socket: Option<&Path>,
    ) -> Result<Self, StartError> {
        let me = current::me();
        let numbers = current::next_numbers(&me);
        let name = options.name.clone().unwrap_or_else(|| {
            let numbers = numbers.iter().map(ToString::to_string).collect::<Vec<_>>();
            format!("Process-{}", numbers.join(":"))
        });
        let daemon = options.daemon.unwrap_or(me.identity.daemon);
        let on_parent_death = options.on_parent_death.unwrap_or(if daemon {
            OnParentDeath::Kill
        } else {
            OnParentDeath::Finish
        });
        let authkey = options.authkey.clone().unwrap_or_else(|| me.identity.authkey.clone());
        let identity = Identity {
            name: name.clone(),
            numbers,
            daemon,
            authkey: authkey.clone(),
            parent_name: me.identity.name.clone(),
            parent_pid: std::process::id(),
            start_method: method.to_owned(),
            argv: me.identity.argv.clone(),
            socket: socket_bytes(&me, socket),
        };
        let mut setup = setup(&options)?;
        let environment = setup.environment.get_or_insert_default();
        let (named, cleared) = (options.trace, options.env_clear);
        let trace = crate::trace::choose(named, me.trace, environment, cleared);
        let Work { task, schema, codec, args: Parcel { bytes: args, fds: handles } } = work;
        let (log, log_fd) = crate::logging::travel::outgoing();
        let chosen = options.sandbox.take();
        let sandbox = sandbox::asked(chosen.clone(), true)?;
        let (slots, fds) = descriptors(options, log_fd, handles.len())?;
        let short = short_task(&task).to_owned();
        let mut job = Job {
            task,
            schema,
            codec,
            identity,
            setup,
            sandbox,
            on_parent_death,
            log,
            trace,
            slots,
        };
        let encode = |job: &Job| job::head(job).map_err(|e| StartError::Invalid(e.to_string()));
        let head = encode(&job)?;
        let head_elsewhere = if job.sandbox.inherited.is_empty() {
            None
        } else {
            job.sandbox = sandbox::asked(chosen, false)?;
            Some(encode(&job)?)
        };
        if head.len() as u64 + args.len() as u64 > PAYLOAD_BYTES_MAX {
            return Err(StartError::TooLarge { limit: PAYLOAD_BYTES_MAX });
        }
        let task = short;
        Ok(Self { head, head_elsewhere, args, fds, handles, name, daemon, authkey, task, trace })
    }

    /// The worker does not descend from this process: what confines this one does not confine it
    /// yet.
    pub(crate) fn goes_elsewhere(&mut self) {
        if let Some(head) = self.head_elsewhere.take() {
            self.head = head;
        }
    }

    /// Sends it to a worker.
    pub(crate) fn send(&self, job: BorrowedFd<'_>) -> io::Result<()> {
        let own = self.fds.iter().map(AsFd::as_fd);
        let fds = own.chain(self.handles.iter().map(AsFd::as_fd)).collect::<Vec<_>>();
        packet::send(job, Kind::Job, &[&self.head, &self.args], &fds, false)
    }

    /// In a fork: closes its copies. Those that are the worker's come with the job, and the end of
    /// a pipe must not stay open behind its back.
    pub(crate) fn forget_descriptors(&mut self) {
        self.fds.clear();
        self.handles.clear();
    }
}

fn socket_bytes(me: &Me, socket: Option<&Path>) -> Option<Vec<u8>> {
    let given = socket.map(|path| path.as_os_str().as_bytes().to_vec());
    given.or_else(|| me.identity.socket.clone())
}

fn setup(options: &Options) -> Result<Setup, StartError> {
    let mut rlimits = attributes::rlimits();
    for (resource, soft, hard) in &options.rlimits {
        let wanted = Rlimit { resource: *resource as u32, soft: *soft, hard: *hard, strict: true };
        rlimits.retain(|limit| limit.resource != wanted.resource);
        rlimits.push(wanted);
    }
    Ok(Setup {
        environment: Some(environment(options)?),
        umask: options.umask.or_else(attributes::umask),
        nice: Some(options.nice.unwrap_or_else(attributes::nice)),
        nice_strict: options.nice.is_some(),
        affinity: options.affinity.clone().or_else(attributes::affinity),
        affinity_strict: options.affinity.is_some(),
        rlimits,
        deadline_ms: options.deadline.map(milliseconds),
        grace_ms: milliseconds(options.grace),
    })
}

/// Rounded up: a time below a millisecond is still one. One without end is so long that nobody sees
/// it pass, and short enough to be added to any moment.
fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX).min(u64::MAX >> 8)
}

fn environment(options: &Options) -> Result<Vec<u8>, StartError> {
    let mut bytes = Vec::new();
    let changed = |key: &OsStr| options.env.iter().any(|(changed, _)| changed == key);
    if options.env.is_empty() && !options.env_clear {
        return Ok(environ::snapshot());
    }
    if !options.env_clear {
        for (key, value) in std::env::vars_os().filter(|(key, _)| !changed(key)) {
            environ::append(&mut bytes, key.as_bytes(), value.as_bytes());
        }
    }
    for (at, (key, value)) in options.env.iter().enumerate() {
        let overridden = options.env[at + 1..].iter().any(|(later, _)| later == key);
        let Some(value) = value.as_ref().filter(|_| !overridden) else { continue };
        let key = key.as_bytes();
        if key.is_empty()
            || key.contains(&b'=')
            || key.contains(&0)
            || value.as_bytes().contains(&0)
        {
            let key = String::from_utf8_lossy(key);
            return Err(StartError::Invalid(format!("environment variable `{key}`")));
        }
        environ::append(&mut bytes, key, value.as_bytes());
    }
    Ok(bytes)
}

/// Collects descriptors in slot order.
#[derive(Default)]
struct Collector {
    fds: Vec<OwnedFd>,
}

impl Collector {
    fn add(&mut self, fd: OwnedFd) -> u16 {
        self.fds.push(fd);
        (self.fds.len() - 1) as u16
    }

    fn stream(&mut self, stream: Stream, number: i32) -> Result<Option<u16>, StartError> {
        let fd = match stream {
            Stream::Null => return Ok(None),
            Stream::Fd(fd) => fd,
            Stream::Inherit => match fd::standard(number) {
                // A closed stream is /dev/null in the worker.
                None => return Ok(None),
                Some(own) => fd::duplicate_from(own, 3).map_err(StartError::system("dup"))?,
            },
        };
        Ok(Some(self.add(fd)))
    }
}

/// Everything but the handles of the arguments, and what each descriptor is.
fn descriptors(
    options: Options,
    log: Option<OwnedFd>,
    handles: usize,
) -> Result<(Slots, Vec<OwnedFd>), StartError> {
    let mut all = Collector::default();
    let directory = match &options.current_dir {
        Some(path) => fd::directory(path).map_err(StartError::system("working directory"))?,
        None => fd::current_directory().map_err(StartError::system("working directory"))?,
    };
    let mut slots = Slots { cwd: Some(all.add(directory)), ..Slots::default() };
    slots.stdin = all.stream(options.stdin, 0)?;
    slots.stdout = all.stream(options.stdout, 1)?;
    slots.inherits_stderr = matches!(options.stderr, Stream::Inherit);
    slots.stderr = all.stream(options.stderr, 2)?;
    slots.parent = own_pidfd().map(|fd| all.add(fd));
    slots.log = log.map(|fd| all.add(fd));
    slots.first_user = all.fds.len() as u16;
    let count = all.fds.len() + options.fds.len() + handles;
    if count > JOB_FDS_MAX {
        let (count, limit) = (options.fds.len() + handles, JOB_FDS_MAX - all.fds.len());
        return Err(StartError::TooManyFds { count, limit });
    }
    all.fds.extend(options.fds);
    slots.handles = handles as u16;
    slots.total = count as u16;
    Ok((slots, all.fds))
}

/// A pidfd of this process, kept open between starts.
fn own_pidfd() -> Option<OwnedFd> {
    static OWN: Mutex<Option<(u32, OwnedFd)>> = Mutex::new(None);
    let mut own = OWN.lock().ok()?;
    let pid = std::process::id();
    if own.as_ref().is_none_or(|(of, _)| *of != pid) {
        *own = Some((pid, wait::pidfd_open(pid).ok()?));
    }
    let (_, fd) = own.as_ref()?;
    debug_assert!(fd.as_raw_fd() > 2);
    fd.try_clone().ok()
}
