//! Lines on standard error.

use crate::Method;
use mp::logging::Level;
use mpserverd_tests::suite::{end, value};
use std::io::Read;

#[mp::task]
fn log_lines() -> u32 {
    tracing::info!(answer = 42, name = "text", list = ?[1, 2], "hello");
    let _outer = tracing::info_span!("outer", a = 1).entered();
    let _inner = tracing::info_span!("inner").entered();
    tracing::warn!("in spans");
    tracing::error!(only = true);
    tracing::debug!("not wanted");
    std::process::id()
}

#[mp::task]
fn main_process(method: Method) -> u32 {
    mp::set_current_name("MainProcess").unwrap();
    let logger = mp::log_to_stderr(Level::INFO);
    // As in the reference it may be called again, and adds nothing.
    mp::log_to_stderr(Level::INFO);
    logger.info("from the logger");
    logger.debug("not wanted");
    tracing::warn!(kind = "own", "from the program");
    let pid = value(method.context().process::<log_lines>(()).name("Worker-1"));
    logger.set_level(mp::logging::SUBDEBUG);
    logger.sub_debug("details");
    pid
}

#[test]
fn lines_are_those_of_the_reference() {
    for method in mp::get_all_start_methods() {
        crate::in_own_process(*method, |spawn, method| spawn.process::<compare>((method,)));
    }
}

#[mp::task]
fn compare(method: Method) {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let spawn = mp::get_context(mp::StartMethod::Spawn);
    let process = spawn.process::<main_process>((method,)).stderr(writer).start().unwrap();
    let pid = mpserverd_tests::suite::outcome(&process).unwrap();
    assert_eq!(end(&process), 0);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    let want = format!(
        "\
[INFO/MainProcess] from the logger
[WARNING/MainProcess] from the program kind=\"own\"
[INFO/Worker-1] hello answer=42 name=\"text\" list=[1, 2] pid={pid}
[WARNING/Worker-1] outer{{a=1}}:inner: in spans pid={pid}
[ERROR/Worker-1] outer{{a=1}}:inner:  only=true pid={pid}
[SUBDEBUG/MainProcess] details
"
    );
    // Lines of one process are in order; when they come among those of another nobody says.
    let names = ["/MainProcess]", "/Worker-1]"];
    for name in names {
        let of = |text: &str| {
            let lines = text.lines().filter(|line| line.contains(name));
            let lines = lines.filter(|line| !line.contains("a process has ended"));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(of(&text), of(&want), "{text}");
    }
    let is_known = |line: &str| names.iter().any(|name| line.contains(name));
    assert!(text.lines().all(is_known), "{text}");
}
