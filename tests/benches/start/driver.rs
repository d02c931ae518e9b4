//! A process that is measured: it starts processes when told, and says how long that took.
//!
//! It reads one command a line and answers with lines, the last of them `end`:
//!
//! | command | answer |
//! |---|---|
//! | `steady N` | N lines `FIRST TOTAL` in nanoseconds, of starts in quick succession |
//! | `single N` | the same, of starts that come after a pause |
//! | `rate MS` | `COUNT NS`: starts and joins, one after the other, for so long |
//! | `hold` | the pid of a worker that runs until the next command |

use super::raw::{self, SharedWord};
use mpserverd_tests::bench::now;
use std::io::{BufRead, Write};
use std::str::FromStr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Environment variable: how much memory the process that is forked holds.
pub(crate) const BYTES: &str = "START_BENCH_BYTES";

/// Pieces of the state: small enough to come from the ordinary heap.
const PIECE: usize = 64 << 10;
/// Starts that warm up before those that count.
const WARM_UP: usize = 3;
/// Pause before a single start: the library holds no lease in advance for so long.
const PAUSE: Duration = Duration::from_millis(1100);

/// One start, in nanoseconds from just before it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// To the first instruction of the task.
    pub(crate) first: u64,
    /// To the end of the join.
    pub(crate) total: u64,
}

/// The state of a template: touched memory of the ordinary heap. In a process that asks for
/// workers it is never called.
pub(crate) fn allocate_state() {
    static STATE: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    let bytes = std::env::var(BYTES).ok().and_then(|text| text.parse::<usize>().ok()).unwrap_or(0);
    STATE.get_or_init(|| (0..bytes / PIECE).map(|at| vec![at as u8 | 1; PIECE]).collect());
}

#[mp::task]
fn first_instruction() -> u64 {
    now()
}

#[mp::task]
fn hold_still() {
    std::thread::sleep(Duration::from_secs(600));
}

/// Which kind of processes a driver starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Plain forks.
    Raw,
    /// Ours, by this method.
    Ours(mp::StartMethod),
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "raw" => Ok(Self::Raw),
            method => method.parse().map(Self::Ours).map_err(|error| format!("{error}")),
        }
    }
}

/// Starts one process and joins it.
type Starter = Box<dyn FnMut() -> Result<Sample, String>>;

fn context(method: mp::StartMethod) -> mp::Context {
    mp::get_context(method).with_fallback(mp::Fallback::Fail)
}

fn starter(role: Role) -> Result<Starter, String> {
    match role {
        Role::Raw => {
            allocate_state();
            let word = SharedWord::new().map_err(|error| error.to_string())?;
            Ok(Box::new(move || raw::start_and_join(word).map_err(|error| error.to_string())))
        }
        Role::Ours(method) => {
            let context = context(method);
            Ok(Box::new(move || {
                let before = now();
                let process = context.process::<first_instruction>(()).start();
                let process = process.map_err(|error| error.to_string())?;
                let first = process.result().map_err(|error| error.to_string())?;
                match process.join() {
                    0 => Ok(Sample { first: first.saturating_sub(before), total: now() - before }),
                    code => Err(format!("a worker ended with code {code}")),
                }
            }))
        }
    }
}

/// Obeys until its standard input ends.
pub(crate) fn run(role: Role) -> Result<(), String> {
    let mut driver = Driver { start: starter(role)?, role, last: Instant::now() };
    while let Some(line) = next_line()? {
        let (command, number) = line.split_once(' ').unwrap_or((&line, "1"));
        let number = number.parse::<usize>().map_err(|error| error.to_string())?;
        let text = driver.obey(command, number).unwrap_or_else(|error| format!("error: {error}\n"));
        let mut stdout = std::io::stdout().lock();
        let told = stdout.write_all(format!("{text}end\n").as_bytes());
        told.and_then(|()| stdout.flush()).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// The next command; `None` at the end.
fn next_line() -> Result<Option<String>, String> {
    let mut line = String::new();
    let got = std::io::stdin().lock().read_line(&mut line).map_err(|error| error.to_string())?;
    Ok((got > 0).then(|| line.trim().to_owned()))
}

struct Driver {
    start: Starter,
    role: Role,
    /// When the last process was started.
    last: Instant,
}

impl Driver {
    fn obey(&mut self, command: &str, number: usize) -> Result<String, String> {
        match command {
            "steady" => {
                for _ in 0..WARM_UP {
                    (self.start)()?;
                }
                self.samples(number, Duration::ZERO)
            }
            "single" => self.samples(number, PAUSE),
            "rate" => self.rate(Duration::from_millis(number as u64)),
            "hold" => self.hold(),
            other => Err(format!("unknown command {other}")),
        }
    }

    fn samples(&mut self, count: usize, pause: Duration) -> Result<String, String> {
        let mut text = String::new();
        for _ in 0..count {
            std::thread::sleep(pause.saturating_sub(self.last.elapsed()));
            let Sample { first, total } = (self.start)()?;
            self.last = Instant::now();
            text += &format!("{first} {total}\n");
        }
        Ok(text)
    }

    fn rate(&mut self, time: Duration) -> Result<String, String> {
        (self.start)()?;
        let (begun, mut count) = (Instant::now(), 0u64);
        while begun.elapsed() < time {
            (self.start)()?;
            count += 1;
        }
        Ok(format!("{count} {}\n", begun.elapsed().as_nanos()))
    }

    /// Starts a worker that sleeps, until this process reads its next line.
    fn hold(&mut self) -> Result<String, String> {
        let Role::Ours(method) = self.role else { return Err("nothing to hold".to_owned()) };
        let process = context(method).process::<hold_still>(()).daemon(true).start();
        let process = process.map_err(|error| error.to_string())?;
        std::thread::sleep(Duration::from_millis(200));
        println!("{}\nend", process.pid());
        next_line()?;
        process.kill().map_err(|error| error.to_string())?;
        process.join();
        Ok(String::new())
    }
}
