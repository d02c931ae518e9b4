//! Tasks: what a worker may run into, by argument.

use serde::{Deserialize, Serialize, Serializer};
use std::fs::File;
use std::hint::black_box;
use std::io;
use std::io::{Read, Seek, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Dies by a signal, given by number.
///
/// # Errors
/// When there is no such signal, or it does not kill.
#[cfg(target_os = "linux")]
#[mp::task]
pub fn crash(signal: i32) -> io::Result<()> {
    use nix::sys::signal::{Signal, raise};
    let signal = Signal::try_from(signal)?;
    // The runtime's own handler for SIGSEGV and SIGBUS lets the first one pass and steps aside.
    for _ in 0..2 {
        raise(signal)?;
    }
    Err(io::Error::other(format!("{signal} did not kill this process")))
}

/// Keeps a processor busy.
#[mp::task]
pub fn spin(ms: u64) {
    let end = Instant::now() + Duration::from_millis(ms);
    while Instant::now() < end {
        std::hint::spin_loop();
    }
}

/// A value that no codec can encode.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Unserialisable;

impl Serialize for Unserialisable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("this value has no encoding"))
    }
}

/// Returns a value that cannot be encoded.
#[mp::task]
pub fn unserialisable() -> Unserialisable {
    Unserialisable
}

/// Returns a text of so many MiB.
#[mp::task]
pub fn huge_result(mib: u64) -> String {
    "x".repeat((mib as usize) << 20)
}

/// Leaks so many MiB, every page of them touched; returns what this process has leaked so far.
#[mp::task]
pub fn leak(mib: u64) -> u64 {
    static LEAKED: AtomicU64 = AtomicU64::new(0);
    black_box(vec![1u8; (mib as usize) << 20].leak());
    LEAKED.fetch_add(mib, Ordering::Relaxed) + mib
}

/// Prints a text as it is, with no newline of its own.
#[mp::task]
pub fn print(text: String) {
    print!("{text}");
}

/// Prints a text to standard error, as it is.
///
/// # Errors
/// When standard error is closed.
#[mp::task]
pub fn print_error(text: String) -> io::Result<()> {
    write!(io::stderr(), "{text}")
}

/// A variable of its environment.
#[mp::task]
pub fn environment(name: String) -> Option<String> {
    std::env::var(name).ok()
}

/// What is in a file.
///
/// # Errors
/// As reading it.
#[mp::task]
pub fn read(path: PathBuf) -> io::Result<String> {
    std::fs::read_to_string(path)
}

/// Logs a text, by the module's own copy of `tracing`.
#[mp::task]
pub fn log(text: &str) {
    let _span = tracing::info_span!("module", copy = true).entered();
    tracing::warn!(length = text.len(), "{text}");
}

/// Sleeps.
#[mp::task]
pub fn sleep_ms(ms: u64) {
    thread::sleep(Duration::from_millis(ms));
}

/// Returns what it is given.
#[mp::task]
pub fn echo(value: String) -> String {
    value
}

/// Exits in the middle of the task.
#[mp::task]
pub fn exit_with(code: i32) {
    std::process::exit(code);
}

/// Panics with this text.
///
/// # Panics
/// Always.
#[mp::task]
pub fn panic_with(text: String) {
    panic!("{text}");
}

/// A file with the same text in capitals.
///
/// # Errors
/// As reading and writing.
#[cfg(unix)]
#[mp::task]
pub fn upper(file: mp::Passed<File>) -> io::Result<mp::Passed<File>> {
    let text = io::read_to_string(&file.0)?.to_uppercase();
    let mut out = file.0;
    out.set_len(0)?;
    out.rewind()?;
    out.write_all(text.as_bytes())?;
    out.rewind()?;
    Ok(mp::Passed(out))
}

/// Closes a pipe, waits for the end of another, then counts what was passed by itself.
///
/// # Errors
/// As reading.
#[cfg(target_os = "linux")]
#[mp::task]
pub fn close_first(
    close: mp::Passed<io::PipeWriter>,
    wait: mp::Passed<io::PipeReader>,
) -> io::Result<usize> {
    drop(close);
    let mut wait = wait.0;
    wait.read_to_end(&mut Vec::new())?;
    Ok(mp::passed_fds().len())
}

/// So many descriptors of `/dev/null`.
///
/// # Errors
/// As opening it.
#[cfg(target_os = "linux")]
#[mp::task]
pub fn nulls(count: usize) -> io::Result<Vec<mp::SharedFd>> {
    mp::sys::attributes::raise_descriptor_limit()?;
    (0..count).map(|_| File::open("/dev/null").map(mp::SharedFd::from)).collect()
}

/// Ignores `SIGTERM` from now on, then sleeps.
///
/// # Errors
/// As `signal(2)`.
#[cfg(target_os = "linux")]
#[mp::task]
pub fn ignore_sigterm(ms: u64) -> io::Result<()> {
    crate::raw::ignore(nix::sys::signal::Signal::SIGTERM)?;
    thread::sleep(Duration::from_millis(ms));
    Ok(())
}

/// Asks for memory that can be written and run.
///
/// # Errors
/// As `mmap(2)`.
#[cfg(target_os = "linux")]
#[mp::task]
pub fn make_code() -> io::Result<()> {
    crate::raw::make_code()
}

/// Registers exit handlers that write to a file, then returns or exits.
#[mp::task]
pub fn mark_at_exit(path: PathBuf, exit: Option<i32>) {
    for mark in ["first", "last"] {
        let path = path.clone();
        mp::at_exit(move || {
            let file = File::options().append(true).create(true).open(path);
            if let Err(error) = file.and_then(|mut file| writeln!(file, "{mark}")) {
                eprintln!("{mark}: {error}");
            }
        });
    }
    if let Some(code) = exit {
        std::process::exit(code);
    }
}

/// Numbers to be added up.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sum {
    /// All of them.
    pub numbers: Vec<u64>,
}

/// Adds up half of the numbers in a process of its own, for as long as there are two.
#[mp::task]
impl mp::Runnable for Sum {
    type Output = Result<u64, mp::TaskError>;

    fn run(mut self) -> Self::Output {
        let half = Self { numbers: self.numbers.split_off(self.numbers.len() / 2) };
        if self.numbers.is_empty() {
            return Ok(half.numbers.iter().sum());
        }
        let other = mp::get_context(None).process_of(half).name("half").start()?;
        Ok(Self::run(self)? + other.result()??)
    }
}

/// Starts a process that starts a process, so deep: name, pid, parent's pid and template of each.
///
/// # Errors
/// Whatever the start says.
#[mp::task]
pub fn family(depth: u32) -> Result<Vec<(String, u32, u32, u32)>, mp::TaskError> {
    let me = mp::current_process();
    let parent = mp::parent_process().map_or(0, |parent| parent.pid());
    #[cfg(unix)]
    let template = std::os::unix::process::parent_id();
    #[cfg(not(unix))]
    let template = 0;
    let mut family = vec![(me.name().to_owned(), me.pid(), parent, template)];
    if depth > 0 {
        let context = mp::get_context(None).with_fallback(mp::Fallback::Fail);
        let child = context.process::<family>((depth - 1,)).start()?;
        family.extend(child.result()??);
    }
    Ok(family)
}

/// Takes an item, or says why it cannot.
///
/// # Errors
/// What the queue says.
#[cfg(target_os = "linux")]
#[mp::task]
pub fn take_item(queue: mp::Queue<u32>) -> Result<u32, mp::TaskError> {
    Ok(queue.get_timeout(Duration::from_secs(60))?)
}

/// Receives a value on a connection and sends its double, or says why it cannot.
///
/// # Errors
/// What the connection says.
#[mp::task]
pub fn double_on(connection: mp::Connection) -> Result<(), mp::TaskError> {
    let number = connection.recv_timeout::<u32>(Duration::from_secs(60))?;
    Ok(connection.send(&(2 * number))?)
}

/// Adds up two numbers.
///
/// # Errors
/// When there is only one.
#[mp::task]
pub fn add_up(first: u32, second: Option<u32>) -> Result<u64, String> {
    let second = second.ok_or("there is no second one")?;
    Ok(u64::from(first) + u64::from(second))
}
