//! Renders source files in warm workers, then some of them in spawned ones, and compares.
//!
//! `cargo demo` takes this repository's own files, `cargo demo -- FILE...` those given. It starts
//! a private daemon that has preloaded the module `highlight`, whose grammars take long to warm,
//! and leaves the pages below `target/demo`.

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    // First: this program is its own worker when it spawns.
    mp::freeze_support();
    linux::main()
}

#[cfg(not(target_os = "linux"))]
fn main() -> std::process::ExitCode {
    eprintln!("error: the daemon needs Linux");
    std::process::ExitCode::from(111)
}

#[cfg(target_os = "linux")]
mod linux {
    use mpserverd_tests::build::{self, Artifacts};
    use mpserverd_tests::daemon::Daemon;
    use mpserverd_tests::demo::{self, Job, Run, files, table};
    use std::path::{Path, PathBuf};
    use std::process::ExitCode;
    use std::time::Instant;

    /// Wrong usage: trying again will not help.
    const EXIT_USAGE: u8 = 100;
    /// The system refused something, or there is no daemon.
    const EXIT_SYSTEM: u8 = 111;
    /// Jobs that are run again in spawned processes: enough for a median, few enough to wait for.
    const SAMPLE: usize = 12;

    const USAGE: &str = "\
Usage: demo [FILE]...

Renders source files as HTML in warm workers of a private daemon, then a sample of them in spawned
processes, and prints how fast either was. Without files: those of this repository.";

    pub(super) fn main() -> ExitCode {
        let arguments = std::env::args_os().skip(1).map(PathBuf::from).collect::<Vec<_>>();
        let is_option = |path: &&PathBuf| path.as_os_str().as_encoded_bytes().starts_with(b"-");
        let option = arguments.iter().find(is_option);
        match option {
            Some(option) if option == Path::new("--help") || option == Path::new("-h") => {
                println!("{USAGE}");
                ExitCode::SUCCESS
            }
            Some(option) => {
                eprintln!("error: unknown option {}\n\n{USAGE}", option.display());
                ExitCode::from(EXIT_USAGE)
            }
            None => demo(&arguments).unwrap_or_else(|error| {
                eprintln!("error: {error}");
                ExitCode::from(EXIT_SYSTEM)
            }),
        }
    }

    fn demo(given: &[PathBuf]) -> Result<ExitCode, String> {
        let text = |error: std::io::Error| error.to_string();
        let artifacts = build::try_artifacts()?;
        let (base, out) = (build::workspace(), build::target().join("demo"));
        let files = match given {
            [] => files::below(&base).map_err(text)?,
            given => given.to_vec(),
        };
        let jobs = files::jobs(&files, &base, &out).map_err(text)?;
        let in_flight = mp::available_cpus();
        println!("{} files, {in_flight} at a time, each in a process of its own", jobs.len());

        let warm = warm(artifacts, &jobs, in_flight)?;
        let index = files::write_index(&out, &warm).map_err(text)?;
        let spawned = spawned(artifacts, &jobs, in_flight).map_err(text)?;

        println!("\n{}", table::compare(&warm, &spawned));
        let mut failed = false;
        for (job, reason) in warm.failures().chain(spawned.failures()) {
            eprintln!("error: {}: {reason}", job.shown.display());
            failed = true;
        }
        println!("The pages are listed in {}", index.display());
        Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    /// All jobs in workers of a daemon that has the module loaded.
    fn warm(artifacts: &Artifacts, jobs: &[Job], in_flight: usize) -> Result<Run, String> {
        let module = artifacts.highlight.to_string_lossy();
        let arguments = ["--preload", &module, "--on-preload-error", "fail"];
        let mut daemon = Daemon::try_start(&arguments, &[])?;
        // No modules named: whatever the daemon has preloaded.
        let context = daemon.context().with_modules([""; 0]);
        let begun = Instant::now();
        // One task that is not measured: the first start waits until the module is warm.
        let process = context.process_named("highlight.languages", &[]).start();
        process
            .map_err(|error| error.to_string())?
            .result()
            .map_err(|error| format!("{error}\n{}", daemon.log()))?;
        println!("The module is loaded and warm after {:.2?}, once for all", begun.elapsed());
        let run = demo::run(&context, jobs, in_flight);
        daemon.stop();
        Ok(run)
    }

    /// A sample of the jobs in processes that load the module each for itself.
    fn spawned(artifacts: &Artifacts, jobs: &[Job], in_flight: usize) -> std::io::Result<Run> {
        let out = tempfile::tempdir()?;
        let step = jobs.len().div_ceil(SAMPLE).max(1);
        let mut sample = jobs.iter().step_by(step).cloned().collect::<Vec<_>>();
        for job in &mut sample {
            job.out_dir = out.path().join(job.shown.parent().unwrap_or(Path::new("")));
        }
        let module = artifacts.highlight.to_string_lossy().into_owned();
        let context = mp::get_context(mp::StartMethod::Spawn).with_modules([module]);
        Ok(demo::run(&context, &sample, in_flight))
    }
}
