//! What the help of `mpctl` says below the options. Tests run the examples.

pub(super) const EXAMPLES: &str = "\
Examples:
  mpctl status
      How many templates, spares and workers there are.
  mpctl run thumbs::resize photo.jpg 640
      Run one task; its result is printed, its exit code is that of mpctl.
  ls *.jpg | mpctl map thumbs::shrink --jobs 4
      Run a task for every line of standard input.
  mpctl top
      Watch all that on a live screen.
  mpctl explain w17
      What a worker does, why it died, or why a client waits.
  mpctl kill w17 --signal INT
      Interrupt a worker.
  mpctl stop --policy term --grace 5s
      Stop the daemon, and its workers politely.

Environment:
  MPSERVERD_SOCKET  Where the daemon is; --socket has the last word
  XDG_RUNTIME_DIR   Holds the socket if nothing else names it

Exit codes:
  0      Done
  1      A task failed or panicked
  100    Wrong usage: no such task, or arguments that do not fit it
  111    The daemon or the system refused something, or there is no daemon
  124    `run`: the time was up
  128+N  Signal N ended mpctl or, with `run`, the worker
  `run` passes on any other code that its worker exits with.";

pub(super) const RUN_EXAMPLES: &str = "\
Examples:
  mpctl run thumbs::resize photo.jpg 640
  mpctl run --timeout 30s --name nightly reports::build '{\"year\": 2024}'
  mpctl run maths::add -- -3 5

Each argument that is JSON is passed as that value, any other as a string: 640 is a number, photo.jpg \
and \"640\" (with its quotes) are strings. The result is printed as JSON, with --json in an object that \
says how it came about. What the task itself prints goes to standard error.";

pub(super) const MAP_EXAMPLES: &str = "\
Examples:
  mpctl map thumbs::shrink a.jpg b.jpg c.jpg
  ls *.jpg | mpctl map thumbs::shrink --jobs 4 --unordered
  seq 1000 | mpctl --json map maths::square --timeout 2s --retries 1

Each input is the one argument of one task: the value if it is JSON, a string if not. Standard input \
is read as it comes, a line at a time.

Each result is printed as JSON on a line of its own, and failures go to standard error; with --json \
every input has a line: {\"index\", \"input\", \"ok\", \"result\" or \"error\", \"attempts\", \"ms\", \"pid\"}. \
What the tasks themselves print goes to standard error.";

pub(super) const TOP_EXAMPLES: &str = "\
Examples:
  mpctl top
  mpctl top --interval 500ms --sort memory
  mpctl top --once --filter thumbs
  mpctl --json top

Keys: `?` lists them. Rates are those of the time between the last two looks. PRIVATE is memory that \
nobody else has, SHARED what is shared with the template or others; both are measured a few workers at \
a time, those on the screen first, and `-` where this user may not look. NO_COLOR does without colours.";

pub(super) const EXPLAIN_EXAMPLES: &str = "\
Examples:
  mpctl explain w17
  mpctl explain t3
  mpctl explain 4711

A pid may be that of a worker, of a template, or of a client: then all that the client waits for is \
told, and why it has to wait. That of the daemon tells of reloads and upgrades.";

pub(super) const LOGS_EXAMPLES: &str = "\
Examples:
  mpctl logs -n 20
  mpctl logs -f --level warn
  mpctl --json logs -f

The daemon remembers its last records, at most 1024 of them and 512 KiB. It records what its own \
log_level admits, so a level beyond that shows nothing more. Who reads too slowly misses records, and \
is told how many. With --json every record is an object on a line of its own.";

pub(super) const STATUS_EXAMPLES: &str = "\
Below the headline stand reloads and upgrades, what earlier generations left, who holds the configured \
limits (control groups, sampling, rlimits), and users who are penalised; then templates (SPARES: there \
and aimed at), and what is used of limits for workers together.";

pub(super) const KILL_EXAMPLES: &str = "\
Examples:
  mpctl kill w17
      Ask a worker to end.
  mpctl kill 4711 --signal KILL
      End it.

`mpctl deaths` names who sent the signal as the cause.";

pub(super) const RELOAD_EXAMPLES: &str = "\
Returns once new templates serve, or says why all is as it was. Workers go on as they are; \
`mpctl status` shows what is left of earlier generations.";

pub(super) const METRICS_EXAMPLES: &str = "\
The same is at /metrics over HTTP where `metrics_address` says so. What each metric is stands in \
`daemon/src/metrics/metrics.md`.";

pub(super) const DEATHS_EXAMPLES: &str = "\
Examples:
  mpctl deaths --cause oom
      Workers that the kernel killed for want of memory.
  mpctl deaths --worker w17
      All that is known of one end: cause, task, trace, what it used.
  mpctl --json deaths --follow
      A line of JSON for each death as it comes.

Causes: itself, limit (or limit-memory, limit-cpu-time, limit-wall-time, limit-file-size, \
limit-pids), oom, operator, client, client-gone, daemon-stop, deadline, unknown.";

pub(super) const INSTALL_EXAMPLES: &str = "\
Examples:
  mpctl install-units --user
      A daemon of this user's own, started by the first client.
  mpctl install-units --system --profile jit --dry-run
      Shows what would be written for the whole machine.
  mpctl install-units --system --instance images --profile multi-user
      One of several hosts: mpserverd@images.

Files that somebody changed are not overwritten without --force; a configuration never is. What to run \
next is printed, and nothing is started.";

pub(super) const DOCTOR_EXAMPLES: &str = "\
Examples:
  mpctl doctor
      Everything, the running daemon included.
  mpctl doctor --host-only
      Before one is installed: would it run well here?

Exit codes: 0 usable, perhaps at a price; 1 something needed is missing. With --json, findings have \
an `id` and a `state` (ok, note, warn, fail) for programs; both are stable.";

pub(super) const UPGRADE_EXAMPLES: &str = "\
Examples:
  mpctl upgrade
      The file that the daemon was started from was replaced: go on as what it is now.
  mpctl upgrade --binary /opt/mpserverd/2.1/mpserverd
      Go on as that program.

The new program first reads the configuration, then a copy of the state, while the daemon serves. Then \
it takes the daemon's place in the same process: workers run on, clients wait a moment. Templates stay \
what they are; `mpctl reload` builds them anew.";
