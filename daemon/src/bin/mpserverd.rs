//! The daemon's `main`: from the command line to [`mpserverd::serve`].

use mpserverd::cli::mpserverd::{Command, Mpserverd};
use mpserverd::cli::options::Options;
use mpserverd::cli::{self, EXIT_SYSTEM, EXIT_USAGE, pages};
use mpserverd::config::{Config, Environment, Purpose};
use mpserverd::launch::Launch;
use mpserverd::pid_file::PidFile;
use mpserverd::serve::Handed;
use mpserverd::{logging, serve};
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    // Before anything else is looked at: this may be a template that is still root.
    #[cfg(target_os = "linux")]
    mpserverd::assume::enter();
    // The daemon's own program is the host of modules: as a template it never comes back.
    mp::freeze_support();
    let parsed = match cli::parse::<Mpserverd>() {
        Ok(parsed) => parsed,
        Err(code) => return code,
    };
    match parsed.command {
        Some(Command::Completions { shell }) => pages::print_completions::<Mpserverd>(shell),
        Some(Command::Man { out }) => pages::print_man::<Mpserverd>(out.as_deref()),
        Some(Command::Run { options, command }) => start(*options, Purpose::Private, Some(command)),
        None => start(parsed.service_options(), Purpose::Service, None),
    }
}

fn start(options: Options, purpose: Purpose, command: Option<Vec<OsString>>) -> ExitCode {
    if options.check_state {
        return match serve::check_state() {
            Ok(proof) => pages::print(format!("{proof}\n").as_bytes()),
            Err(error) => complain(EXIT_SYSTEM, &error.to_string()),
        };
    }
    let check = options.check;
    let handed = Handed::of_environment();
    let environment = handed.as_ref().map_or_else(Environment::current, Handed::environment);
    let config = match Config::load(options, environment, purpose) {
        Ok(config) => config,
        Err(findings) => return complain(EXIT_USAGE, &findings.to_string()),
    };
    if check {
        return show(&config);
    }
    let mut launch = Launch::foreground();
    #[cfg(unix)]
    if config.daemonize && handed.is_none() {
        use mpserverd::daemonize::{Side, detach};
        match detach(config.log.file.as_deref()) {
            Ok(Side::Parent { code: 0, .. }) => return ExitCode::SUCCESS,
            Ok(Side::Parent { code, reason }) => return complain(code, &reason),
            Ok(Side::Daemon(parent)) => launch = parent,
            Err(error) => return complain(EXIT_SYSTEM, &error.to_string()),
        }
    }
    match serve(config, command, &mut launch, handed) {
        Ok(code) => code,
        Err((code, reason)) if launch.is_awaited() => {
            launch.failed(code, &reason);
            ExitCode::from(code)
        }
        Err((code, reason)) => complain(code, &reason),
    }
}

/// `--check`: the configuration in force, or what is wrong with the modules that it must have.
fn show(config: &Config) -> ExitCode {
    if let Err(findings) = config.check_modules() {
        return complain(EXIT_USAGE, &findings.to_string());
    }
    for finding in config.module_findings() {
        // The daemon would start without it.
        let _ = writeln!(std::io::stderr(), "warning: {finding}");
    }
    pages::print(config.show().as_bytes())
}

/// What is left once the process is the one that stays.
fn serve(
    config: Config,
    command: Option<Vec<OsString>>,
    launch: &mut Launch,
    handed: Option<Handed>,
) -> Result<ExitCode, (u8, String)> {
    // An earlier image of this process has one already.
    let wanted = config.pid_file.as_deref().filter(|_| handed.is_none());
    let pid_file = wanted.map(PidFile::create).transpose();
    let (pid_file, missing) = match pid_file {
        Ok(pid_file) => (pid_file, None),
        // Work is worth more than the note of who does it.
        Err(error) if error.is_for_want_of_room() => (None, Some(error)),
        Err(error) => return Err((EXIT_SYSTEM, error.to_string())),
    };
    logging::init(&config.log).map_err(|error| (EXIT_SYSTEM, error.to_string()))?;
    if let Some(error) = missing {
        tracing::warn!("serving without a pid file: {error}");
    }
    serve::run(config, command, launch, pid_file, handed)
        .map_err(|error| (error.exit_code(), error.to_string()))
}

/// Says what is wrong, every line of it as an error of its own.
fn complain(code: u8, reason: &str) -> ExitCode {
    let mut stderr = std::io::stderr().lock();
    for line in reason.lines() {
        // Without a standard error the exit code must do.
        let _ = writeln!(stderr, "error: {line}");
    }
    ExitCode::from(code)
}
