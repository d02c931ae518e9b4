//! A parallel map over files, with a progress bar.
//!
//! Files are named by arguments, or found below the current directory. Paths are handed to workers
//! as they ask for more, so a million of them costs no memory, and results come in order.
//!
//! ```sh
//! cargo run --release -p mpserverd-client --example parallel_files -- [FILE]...
//! ```

use indicatif::{ProgressBar, ProgressStyle};
use mpserverd_client as mp;
use std::path::{Path, PathBuf};

/// What one file has.
#[derive(serde::Serialize, serde::Deserialize)]
struct Summary {
    bytes: usize,
    words: usize,
    /// Bits of information that a byte carries.
    entropy: f64,
}

/// Reads a file and looks at every byte of it.
#[mp::task]
fn summarise(path: &Path) -> std::io::Result<Summary> {
    let text = std::fs::read(path)?;
    let mut counts = [0u64; 256];
    text.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
    let share = |count: u64| count as f64 / text.len() as f64;
    let entropy = counts.iter().filter(|count| **count > 0).map(|count| {
        let share = share(*count);
        -share * share.log2()
    });
    let words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).count();
    Ok(Summary { bytes: text.len(), words, entropy: entropy.sum() })
}

fn find(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let skip = name.to_string_lossy().starts_with('.') || name == "target";
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && !skip => find(&path, found),
            Ok(kind) if kind.is_file() => found.push(path),
            _ => {}
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    mp::freeze_support();
    let mut paths = std::env::args().skip(1).map(PathBuf::from).collect::<Vec<_>>();
    if paths.is_empty() {
        find(Path::new("."), &mut paths);
    }
    let style = "{bar:40} {pos}/{len} {per_sec}, {eta} left";
    let bar = ProgressBar::new(paths.len() as u64).with_style(ProgressStyle::with_template(style)?);

    let pool = mp::get_context(None).pool().build()?;
    let summaries = pool
        .mapping::<summarise>()
        .progress(|progress| bar.set_position(progress.done))
        .map_each(&paths)?;
    bar.finish_and_clear();

    let mut totals = Summary { bytes: 0, words: 0, entropy: 0.0 };
    let mut failures = 0;
    for (path, outcome) in paths.iter().zip(summaries) {
        // Two ways to fail: the task returned an error, or its worker did not live to return.
        match outcome.map_err(|failure| failure.to_string()) {
            Ok(Ok(summary)) => {
                totals.bytes += summary.bytes;
                totals.words += summary.words;
                totals.entropy += summary.entropy * summary.bytes as f64;
            }
            Ok(Err(error)) => {
                failures += 1;
                eprintln!("{}: {error}", path.display());
            }
            Err(failure) => {
                failures += 1;
                eprintln!("{}: {failure}", path.display());
            }
        }
    }
    println!(
        "{} files, {failures} failures: {} bytes, {} words, {:.2} bits a byte",
        paths.len(),
        totals.bytes,
        totals.words,
        totals.entropy / totals.bytes.max(1) as f64,
    );
    pool.close();
    pool.join()?;
    Ok(())
}
