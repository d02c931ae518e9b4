//! Native entries for systemd's journal: one datagram an event, each field by name.
//!
//! | field | is |
//! |---|---|
//! | `MESSAGE`, `PRIORITY`, `SYSLOG_IDENTIFIER` | as everywhere |
//! | `CODE_FILE`, `CODE_LINE`, `TARGET` | where in the daemon it was written |
//! | `WORKER`, `WORKER_PID` | the worker that it is about: `w17`, its pid |
//! | `TEMPLATE`, `TEMPLATE_PID` | its template: `t3`, its pid |
//! | `UID` | the user that it is about |
//! | `MODULE` | the module |
//! | `TASK`, `TRACE` | the task, and the trace that it belongs to |
//! | `GENERATION` | the generation of the configuration |
//! | `CAUSE` | who caused a death |
//! | `ENTRIES_DROPPED` | how many entries before this one the journal did not take |
//! | any other | a field of the event, in capitals |
//!
//! A `pid` beside a worker is that worker's, beside a template the template's. Names that mean
//! something else to the journal get an `F_` in front.
//!
//! Writing never blocks. An entry that is too large for a datagram goes in a sealed memfd. While
//! the journal takes nothing, entries are dropped and counted, and the next one says how many;
//! where its socket is gone, standard error gets a line instead, which the journal also reads.

use super::fields::Fields;
use super::priority;
use mp::sys::{fd, scm};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

/// Where the journal listens.
pub(super) const SOCKET: &str = "/run/systemd/journal/socket";

/// Bytes of an event that are passed on.
const BYTES_MAX: usize = 256 << 10;

/// Names that the journal gives a meaning of its own.
const TAKEN: [&str; 14] = [
    "MESSAGE",
    "MESSAGE_ID",
    "PRIORITY",
    "CODE_FILE",
    "CODE_LINE",
    "CODE_FUNC",
    "TARGET",
    "ERRNO",
    "INVOCATION_ID",
    "USER_INVOCATION_ID",
    "DOCUMENTATION",
    "TID",
    "UNIT",
    "USER_UNIT",
];

/// The way to the journal.
#[derive(Debug)]
pub(super) struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
    /// Entries that it did not take.
    dropped: AtomicU64,
}

impl Journal {
    /// A journal that listens there.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        // Nothing is sent that nobody can read, so that the first entry is not the one to fail.
        UnixDatagram::unbound()?.connect(path)?;
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, path: path.to_owned(), dropped: AtomicU64::new(0) })
    }

    fn write(&self, entry: &[u8]) -> io::Result<()> {
        match self.socket.send_to(entry, &self.path) {
            Ok(_) => Ok(()),
            Err(error) if is_too_large(&error) => self.write_large(entry),
            Err(error) => Err(error),
        }
    }

    fn write_large(&self, entry: &[u8]) -> io::Result<()> {
        let memory = fd::sealed_memfd(&[entry])?;
        let socket = UnixDatagram::unbound()?;
        socket.connect(&self.path)?;
        scm::send(socket.as_fd(), &[], &[memory.as_fd()], true).map(drop)
    }

    fn give_up(&self, error: &io::Error, priority: u8, fields: &Fields) {
        if error.kind() == io::ErrorKind::WouldBlock {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let mut line = format!("<{priority}>{}", fields.message.replace('\n', " | "));
        for (name, value) in &fields.fields {
            line += &format!(" {name}={}", value.replace('\n', " | "));
        }
        line.push('\n');
        // Standard error is a socket here, so that even this does not block; who does not take it
        // has lost it.
        let _ = scm::send(io::stderr().as_fd(), &[line.as_bytes()], &[], true);
    }
}

/// Larger than a datagram may be, or than there is room for now.
fn is_too_large(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMSGSIZE | libc::ENOBUFS))
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let fields = Fields::of(event, BYTES_MAX);
        let priority = priority(*metadata.level());
        let dropped = self.dropped.load(Ordering::Relaxed);
        let mut entry = entry(&fields, priority);
        put(&mut entry, "TARGET", metadata.target());
        if let Some(file) = metadata.file() {
            put(&mut entry, "CODE_FILE", file);
        }
        if let Some(line) = metadata.line() {
            put(&mut entry, "CODE_LINE", &line.to_string());
        }
        if dropped > 0 {
            put(&mut entry, "ENTRIES_DROPPED", &dropped.to_string());
        }
        match self.write(&entry) {
            Ok(()) => {
                self.dropped.fetch_sub(dropped, Ordering::Relaxed);
            }
            Err(error) => self.give_up(&error, priority, &fields),
        }
    }
}

fn entry(fields: &Fields, priority: u8) -> Vec<u8> {
    let mut entry = Vec::with_capacity(512);
    put(&mut entry, "MESSAGE", &fields.message);
    put(&mut entry, "PRIORITY", &priority.to_string());
    put(&mut entry, "SYSLOG_IDENTIFIER", "mpserverd");
    let has = |wanted: &str| fields.fields.iter().any(|(name, _)| *name == wanted);
    let whose = if has("worker") {
        Some("WORKER_PID")
    } else if has("template") {
        Some("TEMPLATE_PID")
    } else {
        None
    };
    for (name, value) in &fields.fields {
        match whose {
            Some(whose) if *name == "pid" => put(&mut entry, whose, value),
            _ => put(&mut entry, &journal_name(name), value),
        }
    }
    entry
}

/// A field's name as the journal allows it: capitals, digits and `_`, beginning with a capital.
fn journal_name(name: &str) -> String {
    let mut capitals: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' })
        .take(60)
        .collect();
    let begins_well = capitals.starts_with(|c: char| c.is_ascii_uppercase());
    let taken = TAKEN.contains(&capitals.as_str()) || capitals.starts_with("SYSLOG_");
    if !begins_well || taken {
        capitals.insert_str(0, "F_");
    }
    capitals
}

/// Appends a field. Only a value of one line can stand behind a `=`; any other has its length in
/// front.
fn put(entry: &mut Vec<u8>, name: &str, value: &str) {
    entry.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        entry.push(b'\n');
        entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        entry.push(b'=');
    }
    entry.extend_from_slice(value.as_bytes());
    entry.push(b'\n');
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
