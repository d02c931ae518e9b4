//! A program outside the workspace, built against the client crate alone: it does the same with
//! a daemon, without one, and when that is killed half-way.

use mpserverd_tests::daemon::Daemon;
use mpserverd_tests::{build, program, skip};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const MAIN: &str = r#"
//! Squares numbers in workers; half-way it waits for a line.

use mpserverd_client as mp;

#[mp::task]
fn square(x: u64) -> Result<u64, String> {
    println!("squaring {x}");
    if x == 13 { Err("unlucky".to_owned()) } else { Ok(x * x) }
}

#[mp::task]
fn exit_with(code: i32) {
    std::process::exit(code)
}

fn main() {
    mp::freeze_support();
    let ctx = mp::get_context(None);
    for x in 0..20 {
        if x == 10 {
            println!("half-way");
            std::io::stdin().read_line(&mut String::new()).unwrap();
        }
        let process = ctx.process::<square>((x,)).start().unwrap();
        println!("{:?} {}", process.result().unwrap(), process.join());
    }
    let process = ctx.process::<exit_with>((7,)).start().unwrap();
    println!("{}", process.result().is_err());
    std::process::exit(process.join() + 1)
}
"#;

/// Builds it below the target directory; `None` where that cannot be done.
#[allow(clippy::disallowed_methods, reason = "building needs cargo")]
fn program() -> Option<PathBuf> {
    let directory = build::scratch().join("outsider");
    let write = |name: &str, text: &str| {
        let path = directory.join(name);
        // Unchanged files keep their time, so that cargo finds them fresh.
        if std::fs::read_to_string(&path).ok().as_deref() != Some(text) {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
    };
    let client = build::workspace().join("client");
    let manifest = format!(
        "[package]\nname = \"outsider\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
         [dependencies]\nmpserverd-client = {{ path = {client:?} }}\n\n[workspace]\n"
    );
    write("Cargo.toml", &manifest);
    write("src/main.rs", MAIN);
    std::fs::copy(build::workspace().join("Cargo.lock"), directory.join("Cargo.lock")).unwrap();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(&directory)
        .args(["build", "--offline", "--quiet", "--target-dir"])
        .arg(directory.join("target"))
        .stdin(Stdio::null())
        .output();
    match output {
        Ok(output) if output.status.success() => Some(directory.join("target/debug/outsider")),
        Ok(output) => {
            let error = String::from_utf8_lossy(&output.stderr);
            // A compiler's complaint is a failure, an incomplete registry is not.
            assert!(!error.contains("could not compile"), "{error}");
            skip(&format!("cannot build a program outside the workspace: {error}"));
            None
        }
        Err(error) => {
            skip(&format!("no cargo: {error}"));
            None
        }
    }
}

/// Runs it and does something half-way; gives its output and exit code.
fn run(program: &Path, directory: &Path, half_way: impl FnOnce()) -> (String, Option<i32>) {
    let mut child = program::command(program, directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    while !text.ends_with("half-way\n") {
        assert_ne!(reader.read_line(&mut text).unwrap(), 0, "{text}");
    }
    half_way();
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    while reader.read_line(&mut text).unwrap() > 0 {}
    (text, child.wait().unwrap().code())
}

#[test]
fn it_does_the_same_in_three_settings() {
    let Some(program) = program() else { return };
    let mut daemon = Daemon::start(&[]);
    let served = run(&program, daemon.directory(), || {});
    let squares = served.0.lines().filter(|line| line.starts_with("Ok(")).count();
    assert_eq!((squares, served.1), (19, Some(8)), "{}", served.0);
    let starts = daemon.log().matches("name=\"outsider\"").count();
    assert!(starts > 0, "the daemon was not used:\n{}", daemon.log());

    let nobody = tempfile::tempdir().unwrap();
    assert_eq!(run(&program, nobody.path(), || {}), served);
    let directory = daemon.directory().to_owned();
    assert_eq!(run(&program, &directory, || daemon.kill()), served);
}
