//! Standard streams: whose they are, and that nothing is lost on them.

use mpserverd_tests::suite;
use mpserverd_tests::suite::{end, outcome, value};
use std::fs::File;
use std::io::{Read, Write};

#[mp::task]
fn say(out: &str, err: &str) {
    print!("{out}");
    eprint!("{err}");
}

#[mp::task]
fn panic_with(text: &str) {
    panic!("{text}")
}

#[mp::task]
fn shout_in_c(text: &str) {
    let text = std::ffi::CString::new(text).unwrap();
    // SAFETY: the format takes one string, and it is one.
    unsafe { libc::printf(c"%s".as_ptr(), text.as_ptr()) };
}

#[mp::task]
fn read_all() -> String {
    std::io::read_to_string(std::io::stdin()).unwrap()
}

/// What the standard streams are.
#[mp::task]
fn streams() -> Vec<String> {
    let name = |number| std::fs::read_link(format!("/proc/self/fd/{number}")).unwrap();
    (0..3).map(|number| name(number).display().to_string()).collect()
}

suite![
    output_goes_into_files,
    output_goes_into_pipes,
    output_without_a_newline_is_not_lost,
    panic_reports_reach_standard_error,
    input_comes_from_pipes_and_files,
    input_is_dev_null_by_default,
    output_is_the_starters_by_default,
    null_streams_are_dev_null,
];

fn output_goes_into_files(ctx: &mp::Context) {
    let directory = tempfile::tempdir().unwrap();
    let (out, err) = (directory.path().join("out"), directory.path().join("err"));
    let process = ctx
        .process::<say>(("to out\n".into(), "to err\n".into()))
        .stdout(File::create(&out).unwrap())
        .stderr(File::create(&err).unwrap())
        .start()
        .unwrap();
    // It is there before the result is.
    outcome(&process).unwrap();
    assert_eq!(std::fs::read_to_string(out).unwrap(), "to out\n");
    assert_eq!(std::fs::read_to_string(err).unwrap(), "to err\n");
    assert_eq!(end(&process), 0);
}

fn output_goes_into_pipes(ctx: &mp::Context) {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let long = "x".repeat(1 << 20);
    let process = ctx.process::<say>((long.clone(), String::new())).stdout(writer).start().unwrap();
    let mut text = String::new();
    // Ends only if nobody else holds the writing end.
    reader.read_to_string(&mut text).unwrap();
    assert!(text == long, "{} bytes", text.len());
    assert_eq!(end(&process), 0);
}

fn output_without_a_newline_is_not_lost(ctx: &mp::Context) {
    for in_c in [false, true] {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let process = if in_c {
            ctx.process::<shout_in_c>(("no newline".into(),))
        } else {
            ctx.process::<say>(("no newline".into(), String::new()))
        };
        let process = process.stdout(writer).start().unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "no newline");
        assert_eq!(end(&process), 0);
    }
}

fn panic_reports_reach_standard_error(ctx: &mp::Context) {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let process = ctx.process::<panic_with>(("ouch".into(),)).stderr(writer).start().unwrap();
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert!(text.contains("ouch") && text.contains("process/streams.rs"), "{text}");
    assert_eq!(text.matches("ouch").count(), 1, "{text}");
    assert_eq!(end(&process), 1);
}

fn input_comes_from_pipes_and_files(ctx: &mp::Context) {
    // A fork has a copy of the writing end, so that its pipe never ends.
    if ctx.method() != mp::StartMethod::Fork {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let process = ctx.process::<read_all>(()).stdin(reader).start().unwrap();
        writer.write_all("über a pipe".as_bytes()).unwrap();
        drop(writer);
        assert_eq!(outcome(&process).unwrap(), "über a pipe");
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "a file").unwrap();
    let input = File::open(file.path()).unwrap();
    assert_eq!(value(ctx.process::<read_all>(()).stdin(input)), "a file");
}

fn input_is_dev_null_by_default(ctx: &mp::Context) {
    assert_eq!(value(ctx.process::<streams>(()))[0], "/dev/null");
    assert_eq!(value(ctx.process::<read_all>(())), "");
}

fn output_is_the_starters_by_default(ctx: &mp::Context) {
    assert_eq!(value(ctx.process::<streams>(()))[1..], streams()[1..]);
    let inherited = value(ctx.process::<streams>(()).stdin(mp::Stream::Inherit));
    assert_eq!(inherited, streams());
}

fn null_streams_are_dev_null(ctx: &mp::Context) {
    let process = ctx.process::<streams>(()).stdout(mp::Stream::Null).stderr(mp::Stream::Null);
    assert_eq!(value(process), ["/dev/null"; 3]);
}
