//! The table `[limits]` and those below it: limits of workers, of users and of modules.
//!
//! What must never be in here: whether this machine can hold a limit, and which one counts.

use super::file::unknown;
use super::toml_value::{Misfit, TomlValue};
use super::values;
use crate::core::{Limits, Rule};
use mpserverd_proto::bounds::Bound;
use mpserverd_proto::limits::NAME_BYTES_MAX;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// How often memory may be looked at: more often is a busy loop, more seldom is no limit.
const SAMPLE_EVERY: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(10)..=Duration::from_secs(3600);
/// Sections of users and modules: beyond, somebody generates the file.
const SECTIONS_MAX: usize = 4096;

/// Whom a section is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum For {
    /// Everybody, and all together.
    Host,
    /// One user, or each that has no own section.
    Uid(Option<u32>),
    /// One module, or each that has no own section.
    Module(Option<String>),
}

impl For {
    /// The head of the section.
    fn title(&self) -> String {
        let quoted = |name: &str| toml::Value::String(name.to_owned()).to_string();
        match self {
            Self::Host => "limits".to_owned(),
            Self::Uid(Some(uid)) => format!("limits.uid.{uid}"),
            Self::Uid(None) => "limits.uid.\"*\"".to_owned(),
            Self::Module(Some(name)) => format!("limits.module.{}", quoted(name)),
            Self::Module(None) => "limits.module.\"*\"".to_owned(),
        }
    }
}

/// One limit, as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    section: For,
    bound: Bound,
    value: i64,
    /// Its byte in the file, then its line; `None` for the command line.
    place: Option<usize>,
}

/// Where control groups for workers are made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Cgroup {
    /// In the daemon's own group, if that was delegated to it.
    #[default]
    Auto,
    /// Nowhere.
    Off,
    /// In this one.
    Path(PathBuf),
}

/// All limits of a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitsTable {
    entries: Vec<Entry>,
    sample_every: Option<Duration>,
    cgroup: Option<Cgroup>,
}

impl LimitsTable {
    /// Takes one of the command line, which has the last word.
    pub(crate) fn overlay(&mut self, option: &LimitOption) {
        match option {
            LimitOption::Bound(bound, value) => {
                let (section, bound, value) = (For::Host, *bound, *value);
                self.entries.retain(|e| (&e.section, e.bound) != (&section, bound));
                self.entries.push(Entry { section, bound, value, place: None });
            }
            LimitOption::SampleEvery(time) => self.sample_every = Some(*time),
            LimitOption::Cgroup(cgroup) => self.cgroup = Some(cgroup.clone()),
        }
    }

    /// Where control groups are made.
    pub(crate) fn cgroup(&self) -> Cgroup {
        self.cgroup.clone().unwrap_or_default()
    }

    /// As the core works by them.
    pub(crate) fn to_core(&self, file: Option<&Path>) -> Limits {
        let mut limits = Limits::default();
        if let Some(time) = self.sample_every {
            limits.sample_every = time;
        }
        for Entry { section, bound, value, place } in &self.entries {
            let set_in = match (place, file) {
                (None, _) => "--limits".to_owned(),
                (Some(line), Some(file)) => {
                    format!("[{}] ({}:{line})", section.title(), file.display())
                }
                (Some(line), None) => format!("[{}] (line {line})", section.title()),
            };
            let rules = match section {
                For::Host => &mut limits.host,
                For::Uid(uid) => limits.uids.entry(*uid).or_default(),
                For::Module(name) => limits.modules.entry(name.clone()).or_default(),
            };
            rules.insert(*bound, Rule { value: *value, set_in: set_in.into() });
        }
        limits
    }
}

/// A limit on the command line: `KEY=VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LimitOption {
    /// One of `[limits]`.
    Bound(Bound, i64),
    /// `sample_every`.
    SampleEvery(Duration),
    /// `cgroup`.
    Cgroup(Cgroup),
}

impl FromStr for LimitOption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((key, value)) = text.split_once('=') else {
            return Err(format!("`{text}` is not KEY=VALUE, for example memory=512M"));
        };
        let key = key.replace('-', "_");
        match bound_of(&key) {
            Some(bound) => Ok(Self::Bound(bound, parse(bound, value)?)),
            None if key == "sample_every" => sample_every(value).map(Self::SampleEvery),
            None if key == "cgroup" => cgroup(value).map(Self::Cgroup),
            None => Err(format!("`{key}`: {}", unknown(&key, &keys(true)))),
        }
    }
}

fn bound_of(key: &str) -> Option<Bound> {
    Bound::ALL.into_iter().find(|bound| bound.key() == key)
}

/// Keys of a section.
fn keys(host: bool) -> Vec<&'static str> {
    let more: &[&str] = if host { &["sample_every", "cgroup", "uid", "module"] } else { &[] };
    Bound::ALL.iter().map(|bound| bound.key()).chain(more.iter().copied()).collect()
}

/// Reads a value as people write it.
fn parse(bound: Bound, text: &str) -> Result<i64, String> {
    let value = match bound {
        Bound::Memory | Bound::MemoryHigh | Bound::FileSize => size(text)?,
        Bound::WallTime | Bound::CpuTime | Bound::KillGrace => {
            i64::try_from(values::duration(text)?.as_millis()).unwrap_or(i64::MAX)
        }
        Bound::CpuQuota => {
            let digits = text.strip_suffix('%').map(str::trim);
            digits.and_then(|digits| digits.parse().ok()).ok_or_else(|| {
                format!("`{text}` is not a share like 150%, where 100% is one CPU")
            })?
        }
        Bound::CpuWeight
        | Bound::Pids
        | Bound::Fds
        | Bound::Nice
        | Bound::Workers
        | Bound::Starts
        | Bound::Queue => text.parse().map_err(|_| format!("`{text}` is not a whole number"))?,
    };
    in_range(bound, value)
}

fn in_range(bound: Bound, value: i64) -> Result<i64, String> {
    let range = bound.range();
    if range.contains(&value) {
        return Ok(value);
    }
    let [value, low, high] = [value, *range.start(), *range.end()].map(|v| bound.spell(v));
    Err(format!("{value} is not within {low} and {high}"))
}

fn size(text: &str) -> Result<i64, String> {
    let wrong = || format!("`{text}` is not a size in bytes like 65536, 512M or 2G");
    let text = text.trim();
    let number = text.strip_suffix("iB").or(text.strip_suffix('B')).unwrap_or(text);
    let shift = match number.bytes().last() {
        Some(b'K') => 10,
        Some(b'M') => 20,
        Some(b'G') => 30,
        Some(b'T') => 40,
        _ => 0,
    };
    let digits = if shift == 0 { number } else { &number[..number.len() - 1] };
    let number: i64 = digits.trim().parse().map_err(|_| wrong())?;
    number.checked_mul(1 << shift).ok_or_else(wrong)
}

fn sample_every(text: &str) -> Result<Duration, String> {
    let time = values::duration(text)?;
    if SAMPLE_EVERY.contains(&time) {
        return Ok(time);
    }
    let [time, low, high] = [time, *SAMPLE_EVERY.start(), *SAMPLE_EVERY.end()].map(values::spell);
    Err(format!("{time} is not within {low} and {high}"))
}

fn cgroup(text: &str) -> Result<Cgroup, String> {
    match text {
        "auto" => Ok(Cgroup::Auto),
        "off" => Ok(Cgroup::Off),
        path if Path::new(path).is_absolute() => Ok(Cgroup::Path(path.into())),
        other => Err(format!("`{other}` is none of auto, off, and no absolute path")),
    }
}

/// What a TOML value is called in messages, and its text or number.
fn read_bound(bound: Bound, value: &DeValue<'_>) -> Result<i64, String> {
    if let Some(text) = value.as_str() {
        return parse(bound, text);
    }
    let example = match bound {
        Bound::Memory | Bound::MemoryHigh | Bound::FileSize => "a size like \"512M\"",
        Bound::WallTime | Bound::CpuTime | Bound::KillGrace => "a duration like \"10m\"",
        Bound::CpuQuota => "a share like \"150%\"",
        _ => "a whole number",
    };
    let is_number =
        !matches!(bound, Bound::WallTime | Bound::CpuTime | Bound::KillGrace | Bound::CpuQuota);
    match value.as_integer().filter(|_| is_number) {
        Some(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_err(|error| format!("takes {example}: {error}"))
            .and_then(|value| in_range(bound, value)),
        None => Err(format!("takes {example}, this is a TOML {}", value.type_str())),
    }
}

fn text_of<'v>(value: &'v DeValue<'_>) -> Result<&'v str, String> {
    let wrong = || format!("takes a text in quotes, this is a TOML {}", value.type_str());
    value.as_str().ok_or_else(wrong)
}

/// Gathers what the tables say, and what is wrong with them.
#[derive(Default)]
struct Reader {
    table: LimitsTable,
    misfits: Vec<Misfit>,
}

impl Reader {
    fn misfit(&mut self, span: std::ops::Range<usize>, section: &For, key: &str, why: &str) {
        let text = match key {
            "" => format!("[{}]: {why}", section.title()),
            key => format!("`{key}` in [{}]: {why}", section.title()),
        };
        self.misfits.push((span, text));
    }

    fn section(&mut self, section: &For, table: &DeTable<'_>) {
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            let host = *section == For::Host;
            let read = match (bound_of(name), name) {
                (Some(bound), _) => read_bound(bound, value.get_ref()).map(|number| {
                    let place = Some(value.span().start);
                    let section = section.clone();
                    self.table.entries.push(Entry { section, bound, value: number, place });
                }),
                (None, "sample_every") if host => text_of(value.get_ref())
                    .and_then(sample_every)
                    .map(|time| self.table.sample_every = Some(time)),
                (None, "cgroup") if host => text_of(value.get_ref())
                    .and_then(cgroup)
                    .map(|cgroup| self.table.cgroup = Some(cgroup)),
                (None, "uid" | "module") if host => {
                    self.sections(name == "uid", value);
                    Ok(())
                }
                (None, _) => {
                    self.misfit(key.span(), section, name, &unknown(name, &keys(host)));
                    Ok(())
                }
            };
            if let Err(why) = read {
                self.misfit(value.span(), section, name, &why);
            }
        }
        self.high_below_max(section);
    }

    /// A mark above the limit would never be reached.
    fn high_below_max(&mut self, section: &For) {
        let of = |bound| {
            self.table.entries.iter().find(|e| e.section == *section && e.bound == bound).cloned()
        };
        if let (Some(high), Some(max)) = (of(Bound::MemoryHigh), of(Bound::Memory))
            && high.value > max.value
        {
            let at = high.place.unwrap_or_default();
            let [high, max] = [high.value, max.value].map(|value| Bound::Memory.spell(value));
            let why = format!("{high} is more than `memory`, {max}");
            self.misfit(at..at, section, "memory_high", &why);
        }
    }

    fn sections(&mut self, uids: bool, value: &Spanned<DeValue<'_>>) {
        let of = if uids { "uid" } else { "module" };
        let Some(tables) = value.get_ref().as_table() else {
            let why = format!("takes tables like [limits.{of}.NAME]");
            return self.misfit(value.span(), &For::Host, of, &why);
        };
        if tables.len() > SECTIONS_MAX {
            let why = format!("{} tables, {SECTIONS_MAX} are read at most", tables.len());
            return self.misfit(value.span(), &For::Host, of, &why);
        }
        for (key, value) in tables {
            let name = key.get_ref().as_ref();
            let section = match (uids, name) {
                (true, "*") => For::Uid(None),
                (false, "*") => For::Module(None),
                (true, number) => match number.parse() {
                    Ok(uid) => For::Uid(Some(uid)),
                    Err(_) => {
                        let why = format!("`{number}` is not a user's number, nor \"*\"");
                        self.misfit(key.span(), &For::Host, of, &why);
                        continue;
                    }
                },
                (false, name) if name.is_empty() || name.len() > NAME_BYTES_MAX => {
                    let why = format!("a module's name has 1 to {NAME_BYTES_MAX} bytes");
                    self.misfit(key.span(), &For::Host, of, &why);
                    continue;
                }
                (false, name) => For::Module(Some(name.to_owned())),
            };
            match value.get_ref().as_table() {
                Some(table) => self.section(&section, table),
                None => self.misfit(value.span(), &section, "", "takes a table"),
            }
        }
    }
}

impl TomlValue for LimitsTable {
    fn read(value: &Spanned<DeValue<'_>>) -> Result<Self, Misfit> {
        Self::read_all(value).map_err(|mut misfits| misfits.swap_remove(0))
    }

    fn read_all(value: &Spanned<DeValue<'_>>) -> Result<Self, Vec<Misfit>> {
        let Some(table) = value.get_ref().as_table() else {
            let found = value.get_ref().type_str();
            return Err(vec![(value.span(), format!("takes a table, this is a TOML {found}"))]);
        };
        let mut reader = Reader::default();
        reader.section(&For::Host, table);
        if reader.misfits.is_empty() { Ok(reader.table) } else { Err(reader.misfits) }
    }

    fn place(&mut self, line_of: &dyn Fn(usize) -> usize) {
        for place in self.entries.iter_mut().filter_map(|entry| entry.place.as_mut()) {
            *place = line_of(*place);
        }
    }

    fn write(&self) -> Option<String> {
        let mut host = Vec::new();
        let mut uids: Vec<(String, Vec<String>)> = Vec::new();
        let mut modules: Vec<(String, Vec<String>)> = Vec::new();
        let mut entries: Vec<_> = self.entries.iter().collect();
        entries.sort_by_key(|entry| (entry.section.clone(), entry.bound));
        for Entry { section, bound, value, .. } in entries {
            let line = format!("{bound} = {}", quoted(*bound, *value));
            let (lists, name) = match section {
                For::Host => {
                    host.push(line);
                    continue;
                }
                For::Uid(uid) => (&mut uids, uid.map(|uid| uid.to_string())),
                For::Module(name) => (&mut modules, name.clone()),
            };
            let name = toml::Value::String(name.unwrap_or_else(|| "*".to_owned())).to_string();
            match lists.last_mut().filter(|(last, _)| *last == name) {
                Some((_, lines)) => lines.push(line),
                None => lists.push((name, vec![line])),
            }
        }
        if let Some(time) = self.sample_every {
            host.push(format!("sample_every = \"{}\"", values::spell(time)));
        }
        if let Some(cgroup) = &self.cgroup {
            let word = match cgroup {
                Cgroup::Auto => "auto".to_owned(),
                Cgroup::Off => "off".to_owned(),
                Cgroup::Path(path) => path.to_string_lossy().into_owned(),
            };
            host.push(format!("cgroup = {}", toml::Value::String(word)));
        }
        for (key, lists) in [("uid", uids), ("module", modules)] {
            if !lists.is_empty() {
                let lists = lists
                    .iter()
                    .map(|(name, lines)| format!("{name} = {{ {} }}", lines.join(", ")));
                host.push(format!("{key} = {{ {} }}", lists.collect::<Vec<_>>().join(", ")));
            }
        }
        let mut text = String::from("{");
        for (at, part) in host.iter().enumerate() {
            // Writing to a String cannot fail.
            let _ = write!(text, "{} {part}", if at == 0 { "" } else { "," });
        }
        text.push_str(" }");
        Some(text)
    }
}

fn quoted(bound: Bound, value: i64) -> String {
    let text = bound.spell(value);
    let is_number = text.parse::<i64>().is_ok();
    if is_number { text } else { format!("\"{text}\"") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_as_people_write_them() {
        for (bound, text, value) in [
            (Bound::Memory, "512M", 512 << 20),
            (Bound::Memory, "2GiB", 2 << 30),
            (Bound::FileSize, "65536", 65536),
            (Bound::CpuQuota, "150%", 150),
            (Bound::WallTime, "1m 30s", 90_000),
            (Bound::Nice, "-5", -5),
        ] {
            assert_eq!(parse(bound, text), Ok(value), "{text}");
            assert_eq!(parse(bound, &bound.spell(value)), Ok(value), "{text}");
        }
        for (bound, text) in [
            (Bound::Memory, "lots"),
            (Bound::Memory, "M"),
            (Bound::Memory, "99999999999G"),
            (Bound::Memory, "1K"),
            (Bound::CpuQuota, "150"),
            (Bound::WallTime, "0s"),
            (Bound::Pids, "1.5"),
            (Bound::Nice, "20"),
        ] {
            assert!(parse(bound, text).is_err(), "{bound} = {text}");
        }
    }

    #[test]
    fn options_are_keys_with_values() {
        let read = |text: &str| text.parse::<LimitOption>();
        assert_eq!(read("memory=1M"), Ok(LimitOption::Bound(Bound::Memory, 1 << 20)));
        assert_eq!(read("wall-time=1s"), Ok(LimitOption::Bound(Bound::WallTime, 1000)));
        assert_eq!(read("cgroup=off"), Ok(LimitOption::Cgroup(Cgroup::Off)));
        for (text, part) in [
            ("memory", "KEY=VALUE"),
            ("memroy=1M", "did you mean `memory`?"),
            ("sample-every=1us", "not within"),
            ("cgroup=here", "no absolute path"),
        ] {
            let why = read(text).expect_err(text);
            assert!(why.contains(part), "{why}");
        }
    }
}
