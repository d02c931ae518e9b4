//! The journal, played by a socket of the test's own.

use super::*;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::time::Duration;
use tracing_subscriber::layer::SubscriberExt;

/// A journal that listens in a folder of its own.
struct Played {
    socket: UnixDatagram,
    path: PathBuf,
    _folder: tempfile::TempDir,
}

impl Played {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("socket");
        let socket = UnixDatagram::bind(&path).expect("socket");
        socket.set_read_timeout(Some(Duration::from_secs(30))).expect("timeout");
        Self { socket, path, _folder: folder }
    }

    /// The fields of the next entry.
    fn hear(&self) -> BTreeMap<String, String> {
        let (mut bytes, mut fds) = (vec![0; 1 << 20], Vec::<OwnedFd>::new());
        let got = scm::receive(self.socket.as_fd(), &mut bytes, &mut fds, false).expect("entry");
        bytes.truncate(got);
        if let [memory] = fds.as_slice() {
            assert_eq!(got, 0, "an entry is in the datagram or in the memfd");
            let length = std::fs::File::from(memory.try_clone().expect("fd"));
            let length = length.metadata().expect("memfd").len();
            bytes = fd::read_memfd(memory, length).expect("memfd");
        }
        parse(&bytes)
    }
}

/// Reads an entry as the journal does.
fn parse(mut bytes: &[u8]) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    while !bytes.is_empty() {
        let end = bytes.iter().position(|byte| *byte == b'\n').expect("a whole field");
        let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
        if let Some(at) = line.iter().position(|byte| *byte == b'=') {
            fields.insert(text(&line[..at]), text(&line[at + 1..]));
            bytes = rest;
        } else {
            let (length, rest) = rest.split_first_chunk::<8>().expect("a length");
            let length = usize::try_from(u64::from_le_bytes(*length)).expect("a length");
            fields.insert(text(line), text(&rest[..length]));
            assert_eq!(rest[length], b'\n');
            bytes = &rest[length + 1..];
        }
    }
    fields
}

fn with(journal: Journal, log: impl FnOnce()) {
    tracing::subscriber::with_default(tracing_subscriber::registry().with(journal), log);
}

#[test]
fn fields_have_the_names_of_the_table() {
    let played = Played::new();
    with(Journal::open(&played.path).expect("journal"), || {
        tracing::warn!(
            worker = "w7",
            pid = 70,
            uid = 1000,
            module = "thumbs",
            task = "thumbs::resize",
            trace = "4bf92f3577b34da6a3ce929d0e0e4736",
            generation = 2,
            cause = "limit: memory",
            "worker ended"
        );
        tracing::error!(template = "t3", pid = 30, priority = 1, "two\nlines");
        tracing::info!(pid = 9, "a client");
    });
    let entry = played.hear();
    for (name, value) in [
        ("MESSAGE", "worker ended"),
        ("PRIORITY", "4"),
        ("SYSLOG_IDENTIFIER", "mpserverd"),
        ("WORKER", "w7"),
        ("WORKER_PID", "70"),
        ("UID", "1000"),
        ("MODULE", "thumbs"),
        ("TASK", "thumbs::resize"),
        ("TRACE", "4bf92f3577b34da6a3ce929d0e0e4736"),
        ("GENERATION", "2"),
        ("CAUSE", "limit: memory"),
        ("TARGET", "mpserverd::logging::journal::tests"),
    ] {
        assert_eq!(entry.get(name).map(String::as_str), Some(value), "{name}: {entry:?}");
    }
    assert!(entry["CODE_FILE"].ends_with("journal_tests.rs"), "{entry:?}");
    assert!(entry["CODE_LINE"].parse::<u32>().is_ok(), "{entry:?}");
    let entry = played.hear();
    assert_eq!((entry["MESSAGE"].as_str(), entry["PRIORITY"].as_str()), ("two\nlines", "3"));
    assert_eq!((entry["TEMPLATE_PID"].as_str(), entry["F_PRIORITY"].as_str()), ("30", "1"));
    assert_eq!(played.hear()["PID"], "9");
}

#[test]
fn a_large_entry_goes_in_a_memfd() {
    let played = Played::new();
    // Beyond what a datagram may have by default (`net.core.wmem_default`), and beyond our bound.
    let large = "x".repeat(BYTES_MAX - 100);
    with(Journal::open(&played.path).expect("journal"), || {
        tracing::info!(large, "large");
        tracing::info!(huge = "y".repeat(2 * BYTES_MAX), "huge");
    });
    let entry = played.hear();
    assert_eq!((entry["MESSAGE"].as_str(), entry["LARGE"].len()), ("large", BYTES_MAX - 100));
    let entry = played.hear();
    assert!(entry["HUGE"].ends_with('…') && entry["HUGE"].len() <= BYTES_MAX + 3);
}

#[test]
fn a_journal_that_takes_nothing_delays_nobody() {
    let played = Played::new();
    with(Journal::open(&played.path).expect("journal"), || {
        // The queue of a datagram socket holds some (`net.unix.max_dgram_qlen`), never so many.
        for number in 0..5000 {
            tracing::info!(number, "flood");
        }
        let mut heard = 0;
        played.socket.set_nonblocking(true).expect("nonblocking");
        let mut byte = [0; 1];
        while played.socket.recv(&mut byte).is_ok() {
            heard += 1;
        }
        played.socket.set_nonblocking(false).expect("blocking");
        tracing::info!("after the flood");
        assert_eq!(played.hear()["ENTRIES_DROPPED"], (5000 - heard).to_string());
        tracing::info!("calm");
        assert_eq!(played.hear().get("ENTRIES_DROPPED"), None);
    });
}

#[test]
fn a_journal_that_is_gone_is_no_reason_to_fail_and_one_that_returns_is_found() {
    let mut played = Played::new();
    with(Journal::open(&played.path).expect("journal"), || {
        std::fs::remove_file(&played.path).expect("remove");
        tracing::warn!("nobody hears this but standard error");
        played.socket = UnixDatagram::bind(&played.path).expect("socket");
        tracing::warn!("again");
        assert_eq!(played.hear()["MESSAGE"], "again");
    });
    assert!(Journal::open(Path::new("/no/such/socket")).is_err());
}

proptest::proptest! {
    #[test]
    fn every_field_is_read_as_it_was_written(name in "[A-Z][A-Z_]{0,9}", value: String) {
        let mut bytes = Vec::new();
        put(&mut bytes, &name, &value);
        put(&mut bytes, "LAST", "1");
        let fields = parse(&bytes);
        assert_eq!(fields.get("LAST").map(String::as_str), Some("1"));
        assert!(name == "LAST" || fields[&name] == value);
    }

    #[test]
    fn every_name_is_one_that_the_journal_takes(name: String) {
        let name = journal_name(&name);
        assert!(name.starts_with(|c: char| c.is_ascii_uppercase()), "{name}");
        assert!(name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'));
        assert!(name.len() <= 64 && !TAKEN.contains(&name.as_str()), "{name}");
    }
}
