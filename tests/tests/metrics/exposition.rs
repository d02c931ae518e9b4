//! Reads OpenMetrics text as strictly as its specification (version 1.0) allows, and lets
//! CPython's `prometheus_client` read it too, where that can be had.

use mpserverd_tests::{build, parity, skip};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// Labels of a sample, in their order.
type Labels = Vec<(String, String)>;

/// What a text says.
#[derive(Debug, Default)]
pub(crate) struct Exposition {
    kinds: BTreeMap<String, String>,
    samples: BTreeMap<(String, Labels), f64>,
}

impl Exposition {
    /// Reads a text.
    ///
    /// # Panics
    /// When anything in it is not as it must be.
    pub(crate) fn read(text: &str) -> Self {
        let body = text.strip_suffix("# EOF\n").expect("it has an end");
        assert!(!body.contains("# EOF"), "one end");
        assert!(!body.contains('\r') && !body.contains("\n\n"), "no empty lines");
        let mut this = Self::default();
        let mut family = Family::default();
        for line in body.lines() {
            match line.strip_prefix("# ") {
                Some(comment) => family.describe(comment, &mut this.kinds),
                None => {
                    let (name, labels, value) = sample(line);
                    family.check(&name, &labels, value);
                    let known = this.samples.insert((name, labels), value);
                    assert!(known.is_none(), "twice: {line}");
                }
            }
        }
        this.check_histograms();
        this
    }

    /// Buckets only grow, and the last is the count.
    fn check_histograms(&self) {
        for family in self.kinds.iter().filter(|(_, kind)| *kind == "histogram") {
            let name = format!("{}_bucket", family.0);
            let own = self.samples.iter().filter(|((sample, _), _)| *sample == name);
            let mut buckets: Vec<(f64, f64)> = own
                .map(|((_, labels), count)| (labels.last().unwrap().1.parse().unwrap(), *count))
                .collect();
            buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
            assert!(buckets.is_sorted_by(|a, b| a.1 <= b.1), "{name}: {buckets:?}");
            let last = buckets.last().expect("buckets");
            assert!(last.0.is_infinite(), "{name} has no last bucket");
            assert_eq!(self.value(&format!("{}_count", family.0), &[]), last.1, "{name}");
        }
    }

    /// The value of one sample.
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let labels = labels.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        let found = self.samples.get(&(name.to_owned(), labels));
        *found.unwrap_or_else(|| panic!("no {name}: {:?}", self.samples.keys()))
    }

    /// The sum of all samples of a name that have this label.
    pub(crate) fn sum(&self, name: &str, label: Option<(&str, &str)>) -> f64 {
        let own = self.samples.iter().filter(|((sample, labels), _)| {
            let has = |(a, b): (&str, &str)| labels.contains(&(a.to_owned(), b.to_owned()));
            sample == name && label.is_none_or(has)
        });
        own.map(|(_, value)| value).sum()
    }

    /// Every counter with its value.
    pub(crate) fn counters(&self) -> BTreeMap<(String, Labels), f64> {
        let growing = |name: &str| name.ends_with("_total") || name.ends_with("_count");
        let own = self.samples.iter().filter(|((name, _), _)| growing(name));
        own.map(|(key, value)| (key.clone(), *value)).collect()
    }

    pub(crate) fn families(&self) -> BTreeSet<&str> {
        self.kinds.keys().map(String::as_str).collect()
    }
}

/// The family whose samples are read.
#[derive(Debug, Default)]
struct Family {
    name: String,
    kind: String,
    described: BTreeSet<String>,
}

impl Family {
    fn describe(&mut self, comment: &str, kinds: &mut BTreeMap<String, String>) {
        let mut words = comment.splitn(3, ' ');
        let [Some(what), Some(name), Some(text)] = std::array::from_fn(|_| words.next()) else {
            panic!("{comment}")
        };
        if what == "TYPE" {
            assert!(["counter", "gauge", "histogram", "info"].contains(&text), "{comment}");
            assert!(kinds.insert(name.to_owned(), text.to_owned()).is_none(), "twice: {name}");
            *self = Self { name: name.to_owned(), kind: text.to_owned(), ..Self::default() };
        }
        assert!(["TYPE", "UNIT", "HELP"].contains(&what), "{comment}");
        assert_eq!(name, self.name, "described among others");
        assert!(self.described.insert(what.to_owned()), "twice: {comment}");
        assert!(what != "UNIT" || name.ends_with(&format!("_{text}")), "{comment}");
        assert!(!name.ends_with("_total") && !name.ends_with("_info"), "{name}");
        assert!(what != "HELP" || text.ends_with('.'), "{comment}");
    }

    fn check(&self, name: &str, labels: &Labels, value: f64) {
        assert!(self.described.contains("HELP"), "{name} is not described");
        let suffix = name.strip_prefix(&self.name).unwrap_or_else(|| panic!("{name} astray"));
        let fits = match (self.kind.as_str(), suffix) {
            ("counter", "_total") => value >= 0.0,
            ("gauge", "") => true,
            ("info", "_info") => value == 1.0,
            ("histogram", "_bucket") => labels.last().is_some_and(|(name, _)| name == "le"),
            ("histogram", "_count" | "_sum") => value >= 0.0 && labels.is_empty(),
            _ => false,
        };
        assert!(fits, "{name}{labels:?} {value} in a {}", self.kind);
    }
}

/// Name, labels and value of a line.
fn sample(line: &str) -> (String, Labels, f64) {
    let end = line.find(['{', ' ']).unwrap_or_else(|| panic!("{line}"));
    let (name, mut rest) = line.split_at(end);
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_';
    assert!(name.chars().all(legal) && name.starts_with(|c: char| c.is_ascii_alphabetic()));
    let mut labels = Labels::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
            assert!(!label.is_empty() && label.chars().all(legal), "{line}");
            assert!(labels.iter().all(|(known, _)| known != label), "{line}");
            let (value, after) = quoted(after);
            labels.push((label.to_owned(), value));
            match after.strip_prefix(',') {
                Some(more) => rest = more,
                None => {
                    rest = after.strip_prefix('}').unwrap_or_else(|| panic!("{line}"));
                    break;
                }
            }
        }
    }
    let value = rest.strip_prefix(' ').unwrap_or_else(|| panic!("{line}"));
    assert!(!value.contains(' '), "{line}");
    (name.to_owned(), labels, value.parse().unwrap_or_else(|_| panic!("{line}")))
}

/// A value up to its closing quote, and what follows that.
fn quoted(text: &str) -> (String, &str) {
    let (mut value, mut characters) = (String::new(), text.char_indices());
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &text[at + 1..]),
            '\\' => match characters.next().expect("something is escaped").1 {
                'n' => value.push('\n'),
                other @ ('"' | '\\') => value.push(other),
                other => panic!("\\{other} is no escape"),
            },
            other => value.push(other),
        }
    }
    panic!("no closing quote: {text}")
}

/// What the reader that everybody uses finds in a text: how many families and samples. `None`,
/// with the reason printed, where it cannot be had.
pub(crate) fn stock(text: &str) -> Option<(usize, usize)> {
    read_by("prometheus_client.openmetrics.parser", text)
}

/// The same for the format before OpenMetrics; there every family must have its kind.
pub(crate) fn stock_older(text: &str) -> Option<(usize, usize)> {
    read_by("prometheus_client.parser", text)
}

#[allow(clippy::disallowed_methods, reason = "the reader is a program of its own")]
fn read_by(parser: &str, text: &str) -> Option<(usize, usize)> {
    static READER: OnceLock<Option<PathBuf>> = OnceLock::new();
    let python = READER.get_or_init(install).as_ref()?;
    let script = format!(
        "import sys\n\
         from {parser} import text_string_to_metric_families\n\
         families = list(text_string_to_metric_families(sys.stdin.read()))\n\
         assert all(family.type != 'unknown' for family in families), families\n\
         print(len(families), sum(len(family.samples) for family in families))\n"
    );
    let output = run(Command::new(python).args(["-c", &script]), text);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (families, samples) = said.trim().split_once(' ').unwrap();
    Some((families.parse().unwrap(), samples.parse().unwrap()))
}

/// Lets Prometheus's own checker look at a text of the format before OpenMetrics, where there is one.
///
/// # Panics
/// When it finds anything to complain of.
#[allow(clippy::disallowed_methods, reason = "the checker is a program of its own")]
pub(crate) fn check_by_promtool(text: &str) {
    if Command::new("promtool").arg("--version").output().is_err() {
        return skip("there is no promtool on the PATH");
    }
    let output = run(Command::new("promtool").args(["check", "metrics"]), text);
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}

#[allow(clippy::disallowed_methods, reason = "the reader is a program of its own")]
fn run(command: &mut Command, input: &str) -> std::process::Output {
    use std::io::Write;
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[allow(clippy::disallowed_methods, reason = "the reader is a program of its own")]
/// An interpreter that has the reader, in an environment of its own that is made once.
fn install() -> Option<PathBuf> {
    let place = build::scratch().join("openmetrics");
    let python = place.join("bin/python");
    let works = || {
        let mut import = Command::new(&python);
        let import = import.args(["-c", "import prometheus_client.openmetrics.parser"]);
        python.exists() && run(import, "").status.success()
    };
    if works() {
        return Some(python);
    }
    // Two tests at once make two of them, of which one is kept.
    let fresh =
        tempfile::Builder::new().prefix("openmetrics-").tempdir_in(build::scratch()).ok()?;
    let made = run(Command::new(parity::python()?).args(["-m", "venv"]).arg(fresh.path()), "");
    let mut pip = Command::new(fresh.path().join("bin/python"));
    pip.args(["-m", "pip", "install", "-q", "--retries", "0", "--timeout", "10"]);
    let got = made.status.success().then(|| run(pip.arg("prometheus_client"), ""));
    if !got.is_some_and(|got| got.status.success()) {
        skip("prometheus_client cannot be installed here; only the strict reader has looked");
        return None;
    }
    let _ = std::fs::rename(fresh.path(), &place);
    works().then_some(python)
}
