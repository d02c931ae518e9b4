//! The command line of the benchmark.

use super::driver::Role;
use std::time::Duration;

pub(crate) const USAGE: &str = "\
Usage: cargo bench -p mpserverd-tests --bench start -- [OPTION]...

  --sizes LIST   memory of the template, for example 10M,1G,4G (the default)
  --starts N     measured starts of each fast variant (default 400); slow ones get fewer
  --quick        small sizes and few starts: under a minute, to see that all works";

const MIB: u64 = 1 << 20;

/// What this process is to do.
#[derive(Debug)]
pub(crate) enum Command {
    /// Be one of the measured processes.
    Drive(Role),
    Measure(Options),
}

/// What is measured.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Bytes of the template's state, ascending.
    pub(crate) sizes: Vec<u64>,
    /// Starts of each fast variant.
    pub(crate) starts: usize,
    /// How long each measurement of a rate takes, and how often it is repeated.
    pub(crate) rate: (Duration, usize),
}

impl Options {
    /// Reads the command line; `None` is the wish for help.
    pub(crate) fn parse(
        arguments: impl Iterator<Item = String>,
    ) -> Result<Option<Command>, String> {
        let mut arguments = arguments.peekable();
        let (mut sizes, mut starts, mut quick) = (None, None, false);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
            match argument.as_str() {
                // Cargo's own.
                "--bench" => {}
                "--quick" => quick = true,
                "--sizes" => sizes = Some(parse_sizes(&value()?)?),
                "--starts" => {
                    let text = value()?;
                    let number = text.parse().ok().filter(|number| *number > 0);
                    starts = Some(number.ok_or_else(|| format!("`{text}` is no number"))?);
                }
                "--drive" => return Ok(Some(Command::Drive(value()?.parse()?))),
                "--help" | "-h" => return Ok(None),
                other => return Err(format!("unknown option {other}")),
            }
        }
        let few = [10 * MIB, 256 * MIB];
        let all = [10 * MIB, 1024 * MIB, 4096 * MIB];
        Ok(Some(Command::Measure(Self {
            sizes: sizes.unwrap_or_else(|| if quick { few.to_vec() } else { all.to_vec() }),
            starts: starts.unwrap_or(if quick { 60 } else { 400 }),
            rate: if quick { (Duration::from_millis(500), 1) } else { (Duration::from_secs(2), 3) },
        })))
    }
}

fn parse_sizes(text: &str) -> Result<Vec<u64>, String> {
    let size = |text: &str| {
        let (number, unit) = match text.strip_suffix('G') {
            Some(number) => (number, 1024 * MIB),
            None => (text.strip_suffix('M').unwrap_or(text), MIB),
        };
        let number = number.parse::<u64>().ok().filter(|number| (1..1 << 20).contains(number));
        number.map(|number| number * unit).ok_or_else(|| format!("`{text}` is no size like 10M"))
    };
    let mut sizes = text.split(',').map(size).collect::<Result<Vec<_>, _>>()?;
    sizes.sort_unstable();
    sizes.dedup();
    Ok(sizes)
}
