//! The command line of the benchmark.

use std::time::Duration;

pub(crate) const USAGE: &str = "\
Usage: cargo bench -p mpserverd-tests --bench ipc -- [OPTION]...

  --quick        few short rounds, under three minutes in all (the default)
  --full         many longer rounds
  --only NAME    only operations whose name begins so, for example queue or lock; repeatable
  --who TEXT     only columns whose heading contains this, for example ours; repeatable
  --list         the names of all operations
  --help         this text

Where others use the machine, `chrt -r 1 cargo bench ...` keeps them away for the time it takes.";

/// What this process is to do.
#[derive(Debug)]
pub(crate) enum Command {
    Help,
    List,
    Measure(Options),
}

/// What is measured.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// How often every variant has its turn.
    pub(crate) rounds: usize,
    /// About how long a turn takes.
    pub(crate) turn: Duration,
    only: Vec<String>,
    who: Vec<String>,
}

impl Options {
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Command, String> {
        let (mut full, mut only, mut who) = (false, Vec::new(), Vec::new());
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                // Cargo's own.
                "--bench" => {}
                "--quick" => full = false,
                "--full" => full = true,
                "--only" => {
                    only.push(arguments.next().ok_or("--only needs a name, see --list")?);
                }
                "--who" => who.push(arguments.next().ok_or("--who needs a text")?),
                "--list" => return Ok(Command::List),
                "--help" | "-h" => return Ok(Command::Help),
                other => return Err(format!("unknown option {other}")),
            }
        }
        let (rounds, turn) = if full { (31, 100) } else { (9, 15) };
        Ok(Command::Measure(Self { rounds, turn: Duration::from_millis(turn), only, who }))
    }

    /// Whether an operation of that name was asked for.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| name.starts_with(only.as_str()))
    }

    /// Whether a column of that heading was asked for.
    pub(crate) fn wants_column(&self, column: [&str; 2]) -> bool {
        let heading = column.join(" ");
        self.who.is_empty() || self.who.iter().any(|who| heading.contains(who.as_str()))
    }
}
