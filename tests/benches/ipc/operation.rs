//! An operation, and who does it in which way.

use super::remote::{Ours, Python, Remote};
use super::worker::Part;
pub(crate) use mpserverd_tests::bench::measure::Pace;
pub(crate) use mpserverd_tests::bench::report::Unit;
use std::fmt;

/// What a process's span means for the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It does the operation, from its begin to its end.
    Does,
    /// The whole begins with it.
    Begins,
    /// The whole ends with it.
    Ends,
    /// It answers somebody else.
    Answers,
}

/// One of the processes of a variant.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) role: Role,
    pub(crate) remote: Remote,
}

/// A process of ours in a role.
pub(crate) fn member(role: Role, part: Part) -> Result<Member, String> {
    Ok(Member { role, remote: Ours::start(part)?.ready()? })
}

/// One that does all alone.
pub(crate) fn alone(part: Part) -> Result<Vec<Member>, String> {
    Ok(vec![member(Role::Does, part)?])
}

/// So many that do the same with one object.
pub(crate) fn several<T>(
    count: usize,
    object: Result<T, String>,
    share: impl Fn(&T) -> Part,
) -> Result<Vec<Member>, String> {
    let object = object?;
    (0..count).map(|_| member(Role::Does, share(&object))).collect()
}

/// Starts the processes of a variant.
type Start = Box<dyn Fn() -> Result<Vec<Member>, String>>;

/// Whose way it is.
pub(crate) enum Way {
    /// In processes of this program: ours, or a peer's.
    Rust(Start),
    /// What `peer.py` is told.
    Python(Vec<String>),
}

/// A way to do an operation: a column of its table.
pub(crate) struct Variant {
    /// Who and what.
    pub(crate) column: [&'static str; 2],
    pub(crate) way: Way,
}

impl fmt::Debug for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.column.join(" "))
    }
}

impl Variant {
    /// Starts it; `None` where there is no interpreter for it.
    pub(crate) fn start(&self, python: Option<&str>) -> Result<Option<Vec<Member>>, String> {
        match &self.way {
            Way::Rust(start) => start().map(Some),
            Way::Python(arguments) => {
                let Some(python) = python else { return Ok(None) };
                let remote = Python::start(python, arguments)?.ready();
                Ok(Some(vec![Member { role: Role::Does, remote }]))
            }
        }
    }
}

pub(crate) fn ours(
    what: &'static str,
    start: impl Fn() -> Result<Vec<Member>, String> + 'static,
) -> Variant {
    Variant { column: ["ours", what], way: Way::Rust(Box::new(start)) }
}

pub(crate) fn peer(
    who: &'static str,
    what: &'static str,
    start: impl Fn() -> Result<Vec<Member>, String> + 'static,
) -> Variant {
    Variant { column: [who, what], way: Way::Rust(Box::new(start)) }
}

pub(crate) fn python(what: &'static str, arguments: &[&dyn fmt::Display]) -> Variant {
    let arguments = arguments.iter().map(ToString::to_string).collect();
    Variant { column: ["CPython", what], way: Way::Python(arguments) }
}

/// What is measured: a row of a table.
#[derive(Debug)]
pub(crate) struct Operation {
    /// By which it is chosen.
    pub(crate) id: String,
    /// The heading of its table.
    pub(crate) table: &'static str,
    /// What must be known to read that.
    pub(crate) note: &'static str,
    /// The heading of its row.
    pub(crate) row: String,
    pub(crate) unit: Unit,
    pub(crate) pace: Pace,
    pub(crate) variants: Vec<Variant>,
}

/// For people.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..0x10_0000 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}
