//! Segments of ours in Python programs, and theirs here.

use super::{path, unique};
use mp::{ShareError, SharedMemory};
use std::process::{Command, Output, Stdio};

/// An interpreter that lets attach without tracking (3.13).
fn python() -> Option<&'static str> {
    let found = mpserverd_tests::parity::python()?;
    if mpserverd_tests::parity::version(found) < Some((3, 13)) {
        mpserverd_tests::skip("python3 is older than 3.13: it would remove what it attaches");
        return None;
    }
    Some(found)
}

#[allow(clippy::disallowed_methods, reason = "a program of another language")]
fn run(python: &str, name: &str, script: &str) -> Output {
    let script = format!("from multiprocessing.shared_memory import SharedMemory as S\n{script}");
    let mut command = Command::new(python);
    command.args(["-c", &script, name]).stdin(Stdio::null()).output().unwrap()
}

fn said(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {error}", output.status);
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn python_reads_and_writes_ours() {
    let Some(python) = python() else { return };
    let segment = SharedMemory::create(Some(&unique("ours")), 5000).unwrap();
    segment.write(4990, b"from Rust!").unwrap();
    let script = "import sys\ns = S(sys.argv[1], track=False)\n\
                  print(s.size, bytes(s.buf[4990:5000]).decode())\ns.buf[:6] = b'Python'\ns.close()";
    assert_eq!(said(&run(python, segment.name(), script)), "5000 from Rust!");
    let mut bytes = [0; 6];
    segment.read(0, &mut bytes).unwrap();
    assert_eq!(&bytes, b"Python");
    assert!(path(segment.name()).exists());
}

#[test]
fn python_sees_that_a_name_is_taken_and_that_it_is_gone() {
    let Some(python) = python() else { return };
    let name = unique("taken");
    let segment = SharedMemory::create(Some(&name), 10).unwrap();
    let script = "import sys\ntry:\n  S(sys.argv[1], create=True, size=1)\n\
                  except FileExistsError: print('exists')";
    assert_eq!(said(&run(python, &name, script)), "exists");
    drop(segment);
    assert!(super::is_gone(&name));
    let script = "import sys\ntry:\n  S(sys.argv[1], track=False)\n\
                  except FileNotFoundError: print('missing')";
    assert_eq!(said(&run(python, &name, script)), "missing");
}

#[test]
fn theirs_are_read_and_written_here_and_stay_theirs() {
    let Some(python) = python() else { return };
    let name = unique("theirs");
    let script = "import sys\ns = S(sys.argv[1], create=True, size=300, track=False)\n\
                  s.buf[:5] = b'hello'\ns.close()";
    said(&run(python, &name, script));
    let segment = SharedMemory::attach(&name).unwrap();
    assert!(!segment.is_tracked() && segment.size() == 300);
    let mut bytes = [0; 5];
    segment.read(0, &mut bytes).unwrap();
    assert_eq!(&bytes, b"hello");
    segment.write(0, b"HELLO").unwrap();
    drop(segment);
    let script = "import sys\ns = S(sys.argv[1], track=False)\nprint(bytes(s.buf[:5]).decode())\n\
                  s.close(); s.unlink()";
    assert_eq!(said(&run(python, &name, script)), "HELLO");
    assert!(matches!(SharedMemory::attach(&name), Err(ShareError::NotFound { .. })));
}
