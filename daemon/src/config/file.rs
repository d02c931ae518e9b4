//! Reads the configuration file into a draft: as many findings as there are, not only the first.

use super::draft::{Draft, Setting, Visitor};
use super::finding::{Finding, Origin, locate};
use super::toml_value::TomlValue;
use std::io::Read;
use std::path::Path;
use toml::de::DeTable;

/// Bytes of a configuration file. Ours has some sixty lines; a device or a log is refused early.
const FILE_BYTES_MAX: u64 = 1 << 20;

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
    let opened =
        std::fs::File::open(file).map_err(|error| whole(format!("cannot open: {error}")))?;
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
        return errors.iter().map(|e| at(place(e), "", e.message().to_owned())).collect();
    }
    let table = table.get_ref();
    let mut reader = Reader { text, table, keys: Vec::new(), misfits: Vec::new() };
    draft.visit(&mut reader);
    let Reader { keys, misfits, .. } = reader;
    let mut findings: Vec<_> = misfits
        .into_iter()
        .map(|(offset, key, reason)| (offset, at(offset, key, reason)))
        .collect();
    for key in table.keys() {
        let name = key.get_ref().as_ref();
        if !keys.contains(&name) {
            let start = key.span().start;
            findings.push((start, at(start, name, unknown(name, &keys))));
        }
    }
    findings.sort_by_key(|(offset, _)| *offset);
    findings.into_iter().map(|(_, finding)| finding).collect()
}

/// What to say of a key that does not exist.
pub(super) fn unknown(name: &str, keys: &[&str]) -> String {
    let dashes = name.replace('-', "_");
    let near = keys
        .iter()
        .map(|key| (strsim::jaro_winkler(&dashes, key), key))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|(a, _), (b, _)| a.total_cmp(b));
    match near {
        Some((_, key)) => format!("unknown key; did you mean `{key}`?"),
        None => format!("unknown key; there are {}", keys.join(", ")),
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
