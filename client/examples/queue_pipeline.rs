//! A pipeline of queues: one process finds files, several read them, one adds up.
//!
//! Each stage ends by itself when the stage before it is gone, however it went: a queue knows
//! whether anybody is left who may put something into it. The bounds keep a fast stage from
//! running away from a slow one.
//!
//! ```sh
//! cargo run --release -p mpserverd-client --example queue_pipeline -- [DIRECTORY] [READERS]
//! ```

use mpserverd_client as mp;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What one file has.
#[derive(serde::Serialize, serde::Deserialize)]
struct Count {
    kind: String,
    lines: usize,
    bytes: usize,
}

/// First stage: all files below a directory.
#[mp::task]
fn find(directory: PathBuf, found: mp::Producer<PathBuf>) -> Result<usize, mp::TaskError> {
    let (mut left, mut files) = (vec![directory], 0);
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(directory)?.flatten() {
            let kind = entry.file_type()?;
            let name = entry.file_name();
            let hidden = name.to_string_lossy().starts_with('.') || name == "target";
            if kind.is_dir() && !hidden {
                left.push(entry.path());
            } else if kind.is_file() {
                found.put(&entry.path())?; // waits while the readers are behind
                files += 1;
            }
        }
    }
    Ok(files)
}

/// Second stage, in several processes: reads files.
#[mp::task]
fn read(files: mp::Consumer<PathBuf>, counted: mp::Producer<Count>) -> Result<(), mp::TaskError> {
    // Until no finder is left and the queue is empty.
    for path in files.iter().flatten() {
        let Ok(text) = std::fs::read(&path) else { continue };
        let kind = path.extension().map_or_else(String::new, |e| e.to_string_lossy().into_owned());
        let lines = text.iter().filter(|byte| **byte == b'\n').count();
        counted.put(&Count { kind, lines, bytes: text.len() })?;
    }
    Ok(())
}

type Totals = BTreeMap<String, (usize, usize, usize)>;

/// Last stage: adds up.
#[mp::task]
fn add_up(counted: mp::Consumer<Count>) -> Totals {
    let mut totals = Totals::new();
    for count in counted.iter().flatten() {
        let (files, lines, bytes) = totals.entry(count.kind).or_default();
        (*files, *lines, *bytes) = (*files + 1, *lines + count.lines, *bytes + count.bytes);
    }
    totals
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    mp::freeze_support();
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().map_or_else(|| PathBuf::from("."), PathBuf::from);
    let readers = arguments.next().map_or(Ok(mp::available_cpus()), |text| text.parse())?;

    let ctx = mp::get_context(None);
    let (found, files) = mp::Queue::bounded(64)?.split();
    let (counted, counts) = mp::Queue::bounded(64)?.split();
    let finder = ctx.process::<find>((directory, found)).name("finder").start()?;
    let mut reading = Vec::new();
    for number in 0..readers {
        let args = (files.clone(), counted.clone());
        reading.push(ctx.process::<read>(args).name(format!("reader-{number}")).start()?);
    }
    let adder = ctx.process::<add_up>((counts,)).name("adder").start()?;
    drop((files, counted)); // the ends of this process: else the last stage would wait for it

    println!("{} files", finder.result()??);
    for process in reading {
        process.result()??;
    }
    println!("{:>12} {:>7} {:>9} {:>12}", "kind", "files", "lines", "bytes");
    for (kind, (files, lines, bytes)) in adder.result()? {
        let kind = if kind.is_empty() { "(none)" } else { &kind };
        println!("{kind:>12} {files:>7} {lines:>9} {bytes:>12}");
    }
    Ok(())
}
