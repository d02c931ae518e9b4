//! Reads the configuration file into a draft: as many findings as there are, not only the first.

use super::draft::{Draft, Setting, Visitor};
use super::finding::{Finding, Origin, locate};
use super::toml_value::TomlValue;
use std::borrow::Cow;
use std::io::Read;
use std::path::Path;
use toml::de::DeTable;

/// Bytes of a configuration file. Ours has some sixty lines; a device or a log is refused early.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Faults of a kind that are told: whoever mends so many looks again anyway.
const FAULTS_MAX: usize = 50;

/// Reads the file into the draft.
///
/// # Errors
///
/// Why it cannot be read at all.
pub(super) fn load(file: &Path, draft: &mut Draft) -> Result<Vec<Finding>, Finding> {
    let whole = |reason: String| Finding {
        file: Some(file.to_owned()),
        origin: Origin::Default,
        key: String::new(),
        reason,
    };
    let opened = open(file).map_err(whole)?;
    let mut bytes = Vec::new();
    opened
        .take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| whole(format!("cannot read: {error}")))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(whole(format!("is larger than {FILE_BYTES_MAX} bytes")));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(read(file, &text, draft)),
        Err(error) => {
            let good =
                String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]);
            let origin = locate(&good, good.len());
            Err(Finding { origin, ..whole("is not UTF-8 from here on".to_owned()) })
        }
    }
}

/// Opens the file, and nothing that could let a daemon wait for somebody else: a pipe, a terminal.
fn open(file: &Path) -> Result<std::fs::File, String> {
    let mut options = std::fs::File::options();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits());
    }
    let opened = options.open(file).map_err(|error| format!("cannot open: {error}"))?;
    let metadata = opened.metadata().map_err(|error| format!("cannot open: {error}"))?;
    if metadata.is_dir() {
        return Err("is a directory; name a file in it".to_owned());
    }
    if !metadata.is_file() {
        return Err("is not a regular file, which a reload could not read again".to_owned());
    }
    Ok(opened)
}

/// Reads a text into the draft, and says what is wrong with it.
pub(super) fn read(file: &Path, text: &str, draft: &mut Draft) -> Vec<Finding> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let at = |offset, key: &str, reason: String| Finding {
        file: Some(file.to_owned()),
        origin: locate(text, offset),
        key: key.to_owned(),
        reason,
    };
    if !errors.is_empty() {
        // What a broken document says is guesswork: report its syntax only.
        let place = |error: &toml::de::Error| error.span().map_or(text.len(), |span| span.start);
        let mut errors: Vec<_> = errors.iter().map(|error| (place(error), error)).collect();
        errors.sort_by_key(|(place, _)| *place);
        errors.truncate(FAULTS_MAX);
        let told = errors.into_iter().map(|(place, error)| at(place, "", syntax(text, error)));
        let mut findings: Vec<_> = told.collect();
        // The first one of a line is the fault, the others are its consequences.
        findings.dedup_by_key(|finding| match finding.origin {
            Origin::File { line, .. } => line,
            _ => 0,
        });
        return findings;
    }
    let table = table.get_ref();
    let mut reader = Reader { text, table, keys: Vec::new(), misfits: Vec::new() };
    draft.visit(&mut reader);
    let Reader { keys, misfits, .. } = reader;
    let mut findings: Vec<_> = misfits
        .into_iter()
        .map(|(offset, key, reason)| (offset, at(offset, key, reason)))
        .collect();
    let strange = |key: &&toml::Spanned<_>| !keys.contains(&Cow::as_ref(key.get_ref()));
    let mut strangers: Vec<_> = table.keys().filter(strange).collect();
    strangers.sort_by_key(|key| key.span().start);
    // Each is looked for in the text: who gives another file by mistake need not wait for all.
    for key in strangers.iter().take(FAULTS_MAX) {
        let (name, start) = (key.get_ref().as_ref(), key.span().start);
        findings.push((start, at(start, name, unknown(name, &keys))));
    }
    if let Some(next) = strangers.get(FAULTS_MAX) {
        let (start, more) = (next.span().start, strangers.len() - FAULTS_MAX);
        findings.push((start, at(start, "", format!("and {more} more unknown keys"))));
    }
    findings.sort_by_key(|(offset, _)| *offset);
    findings.into_iter().map(|(_, finding)| finding).collect()
}

/// What is wrong with the text, and with which of its words, where the parser does not say so.
fn syntax(text: &str, error: &toml::de::Error) -> String {
    let word = error.span().and_then(|span| text.get(span)).unwrap_or_default();
    match error.message() {
        "duplicate key" => format!("duplicate key `{word}`"),
        message => message.to_owned(),
    }
}

/// What to say of a key that does not exist.
pub(super) fn unknown(name: &str, keys: &[&str]) -> String {
    let dashes = name.replace('-', "_").to_lowercase();
    // `workers_max` is `max_workers` with its words in another order.
    let sorted = |key: &str| {
        let mut words: Vec<&str> = key.split('_').collect();
        words.sort_unstable();
        words.join("_")
    };
    let likeness = |key: &str| {
        strsim::jaro_winkler(&dashes, key).max(strsim::jaro_winkler(&sorted(&dashes), &sorted(key)))
    };
    let near = keys
        .iter()
        .map(|key| (likeness(key), key))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|(a, _), (b, _)| a.total_cmp(b));
    match near {
        Some((_, key)) => format!("unknown key; did you mean `{key}`?"),
        None => "unknown key; `mpserverd --check` without a file shows all there are".to_owned(),
    }
}

struct Reader<'t> {
    text: &'t str,
    table: &'t DeTable<'t>,
    keys: Vec<&'static str>,
    misfits: Vec<(usize, &'static str, String)>,
}

impl Visitor for Reader<'_> {
    fn visit<T: TomlValue>(&mut self, setting: &mut Setting<T>) {
        self.keys.push(setting.key);
        let Some(value) = self.table.get(setting.key) else { return };
        match T::read_all(value) {
            Ok(mut read) => {
                read.place(&|offset| match locate(self.text, offset) {
                    Origin::File { line, .. } => line,
                    _ => 0,
                });
                setting.overlay(Some(read), locate(self.text, value.span().start));
            }
            Err(misfits) => {
                let found = misfits.into_iter().map(|(span, why)| (span.start, setting.key, why));
                self.misfits.extend(found);
            }
        }
    }
}
