//! The command line of the daemon.

use super::options::{Background, Options};
use clap::{Parser, Subcommand, ValueHint};
use clap_complete::Shell;
use std::ffi::OsString;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  mpserverd --preload ./libthumbs.so --spares 4..64
      Serve this user in the foreground, with a module loaded and four workers waiting.
  mpserverd --config /etc/mpserverd/mpserverd.toml --check
      Say what is wrong with a configuration, or what is in force and why.
  mpserverd --daemonize --pid-file /tmp/mpserverd.pid --log-file /tmp/mpserverd.log
      Go into the background once everything is ready.
  mpserverd run --preload ./libthumbs.so -- make thumbnails
      Give a command a daemon of its own, and end both together.

Environment:
  MPSERVERD_SOCKET       Where clients connect; --socket has the last word
  MPSERVERD_MODULE_PATH  Folders of modules, separated by colons
  XDG_RUNTIME_DIR        Holds the socket if nothing else names it

Exit codes:
  0    Stopped as asked
  100  Wrong usage or configuration: trying again will not help
  111  The system refused something: trying again may help

Every option is also a key of the configuration file, with _ for -. See mpctl for talking to a
daemon that runs.";

const RUN_EXAMPLES: &str = "\
Examples:
  mpserverd run -- ./render --frames 1..200
  mpserverd run --preload ./libthumbs.so --spares 8 -- make -j8 thumbnails

The command finds its daemon through MPSERVERD_SOCKET. Its exit code becomes that of mpserverd;
128 and more is a signal, 100 and 111 as in `mpserverd --help`.";

/// Keep warmed template processes and fork workers ahead of demand.
///
/// Programs that use it start a worker with a single message to a process that already waits,
/// modules loaded. Without the daemon they behave the same, only slower.
#[derive(Parser, Clone, Debug, PartialEq, Eq)]
#[command(name = "mpserverd", version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct Mpserverd {
    /// What the daemon is to do.
    #[command(flatten)]
    pub options: Options,

    /// How it goes into the background.
    #[command(flatten)]
    pub background: Background,

    /// What to do instead of serving everybody.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to do instead of serving everybody.
#[derive(Subcommand, Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Run a command with a daemon of its own, which ends with it
    #[command(after_help = RUN_EXAMPLES,
              override_usage = "mpserverd run [OPTIONS] [--] COMMAND [ARG]...")]
    Run {
        /// What the daemon is to do.
        #[command(flatten)]
        options: Box<Options>,

        /// The command and its arguments
        #[arg(required = true, trailing_var_arg = true, value_hint = ValueHint::CommandWithArguments)]
        command: Vec<OsString>,
    },
    /// Print completions for a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Print the man page, or write all of them into a folder
    Man {
        /// Write one page a command into this folder
        #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
        out: Option<PathBuf>,
    },
}

impl Mpserverd {
    /// The options of a service: those of the background belong to them.
    pub fn service_options(self) -> Options {
        Options { background: self.background, ..self.options }
    }
}

#[cfg(test)]
#[path = "mpserverd_tests.rs"]
mod tests;
