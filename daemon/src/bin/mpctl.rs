//! The `main` of `mpctl`.

use mpserverd::cli::mpctl::Mpctl;
use mpserverd::{cli, ctl};
use std::process::ExitCode;

fn main() -> ExitCode {
    // `bench` starts this very program as a worker.
    mp::freeze_support();
    match cli::parse::<Mpctl>() {
        Ok(parsed) => ctl::main(parsed),
        Err(code) => code,
    }
}
