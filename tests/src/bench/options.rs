//! The command line of benchmarks that measure in rounds.

use std::time::Duration;

/// Their options, for people.
#[must_use]
pub fn usage(bench: &str, examples: &str) -> String {
    format!(
        "\
Usage: cargo bench -p mpserverd-tests --bench {bench} -- [OPTION]...

  --quick        few short rounds, a few minutes in all (the default)
  --full         many longer rounds
  --only NAME    only operations whose name begins so, for example {examples}; repeatable
  --who TEXT     only columns whose heading contains this, for example ours; repeatable
  --list         the names of all operations
  --help         this text

Where others use the machine, `chrt -r 1 cargo bench ...` keeps them away for the time it takes."
    )
}

/// What this process is to do.
#[derive(Debug)]
pub enum Command {
    /// Name all operations.
    List,
    /// Measure some.
    Measure(Options),
}

/// How often, and for about how many milliseconds.
pub type Rounds = (usize, u64);

/// What is measured.
#[derive(Clone, Debug)]
pub struct Options {
    /// How often everybody has a turn.
    pub rounds: usize,
    /// About how long a turn takes.
    pub turn: Duration,
    only: Vec<String>,
    who: Vec<String>,
}

impl Options {
    /// Reads the command line; `None` is the wish for help.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(
        mut arguments: impl Iterator<Item = String>,
        quick: Rounds,
        full: Rounds,
    ) -> Result<Option<Command>, String> {
        let (mut rounds, mut only, mut who) = (quick, Vec::new(), Vec::new());
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                // Cargo's own.
                "--bench" => {}
                "--quick" => rounds = quick,
                "--full" => rounds = full,
                "--only" => {
                    only.push(arguments.next().ok_or("--only needs a name, see --list")?);
                }
                "--who" => who.push(arguments.next().ok_or("--who needs a text")?),
                "--list" => return Ok(Some(Command::List)),
                "--help" | "-h" => return Ok(None),
                other => return Err(format!("unknown option {other}")),
            }
        }
        let (rounds, turn) = (rounds.0, Duration::from_millis(rounds.1));
        Ok(Some(Command::Measure(Self { rounds, turn, only, who })))
    }

    /// Whether an operation of that name was asked for.
    #[must_use]
    pub fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| name.starts_with(only.as_str()))
    }

    /// Whether a column of that heading was asked for.
    #[must_use]
    pub fn wants_column(&self, column: [&str; 2]) -> bool {
        let heading = column.join(" ");
        self.who.is_empty() || self.who.iter().any(|who| heading.contains(who.as_str()))
    }
}
