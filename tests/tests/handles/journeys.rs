//! What arrives: files, sockets and pipes, as argument and as result, few and many.

use mpserverd_tests::suite;
use mpserverd_tests::suite::{end, outcome, value};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read, Seek, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::{UnixDatagram, UnixStream};

type Io<T> = std::io::Result<T>;

#[mp::task]
fn read(file: mp::Passed<File>) -> Io<String> {
    std::io::read_to_string(file.0)
}

#[mp::task]
fn answer(socket: mp::Passed<UnixStream>) -> Io<()> {
    let mut question = [0; 4];
    (&socket.0).read_exact(&mut question)?;
    question.make_ascii_uppercase();
    (&socket.0).write_all(&question)
}

#[mp::task]
fn say(text: &str, pipe: mp::Passed<PipeWriter>) -> Io<()> {
    (&pipe.0).write_all(text.as_bytes())
}

#[mp::task]
fn make_file(text: &str) -> Io<mp::Passed<File>> {
    let mut file = tempfile::tempfile()?;
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    Ok(mp::Passed(file))
}

#[mp::task]
fn make_socket(text: &str) -> Io<mp::Passed<UnixStream>> {
    let (mut ours, theirs) = UnixStream::pair()?;
    ours.write_all(text.as_bytes())?;
    Ok(mp::Passed(theirs))
}

#[mp::task]
fn make_pipe(text: &str) -> Io<mp::Passed<PipeReader>> {
    let (reader, mut writer) = std::io::pipe()?;
    writer.write_all(text.as_bytes())?;
    Ok(mp::Passed(reader))
}

/// Its error is a handle too.
#[mp::task]
fn either(fails: bool) -> Result<mp::Passed<File>, mp::Passed<PipeReader>> {
    if fails {
        Err(make_pipe("failed").unwrap_or_else(|error| panic!("{error}")))
    } else {
        Ok(make_file("returned").unwrap_or_else(|error| panic!("{error}")))
    }
}

#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Ends {
    #[serde(with = "mp::handles::fd")]
    reader: PipeReader,
    #[serde(with = "mp::handles::fd")]
    writer: PipeWriter,
}

#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Ten {
    name: String,
    files: Vec<mp::SharedFd>,
    logs: BTreeMap<String, mp::Passed<File>>,
    #[serde(with = "mp::handles::fd")]
    listener: TcpListener,
    #[serde(with = "mp::handles::fd")]
    datagrams: UdpSocket,
    sockets: (mp::Passed<UnixStream>, Option<mp::Passed<UnixDatagram>>),
    ends: Option<Ends>,
}

impl Ten {
    fn new() -> Io<Self> {
        let file = || tempfile::tempfile().map(mp::Passed);
        let (reader, writer) = std::io::pipe()?;
        Ok(Self {
            name: "ten".to_owned(),
            files: vec![file()?.0.into(), file()?.0.into()],
            logs: [("a".to_owned(), file()?), ("b".to_owned(), file()?)].into(),
            listener: TcpListener::bind("127.0.0.1:0")?,
            datagrams: UdpSocket::bind("127.0.0.1:0")?,
            sockets: (
                mp::Passed(UnixStream::pair()?.0),
                Some(mp::Passed(UnixDatagram::unbound()?)),
            ),
            ends: Some(Ends { reader, writer }),
        })
    }

    /// What each descriptor is: kind and inode, the same in every process.
    fn what(&self) -> Vec<String> {
        let ends = self.ends.as_ref().unwrap();
        let mut fds = self.files.iter().map(AsFd::as_fd).collect::<Vec<_>>();
        fds.extend(self.logs.values().map(|log| log.0.as_fd()));
        fds.extend([self.listener.as_fd(), self.datagrams.as_fd(), self.sockets.0.0.as_fd()]);
        fds.extend(self.sockets.1.as_ref().map(|socket| socket.0.as_fd()));
        fds.extend([ends.reader.as_fd(), ends.writer.as_fd()]);
        let link = |fd: &dyn AsRawFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
        fds.iter().map(|fd| std::fs::read_link(link(fd)).unwrap().display().to_string()).collect()
    }
}

#[mp::task]
fn look_at_ten(ten: Ten) -> (Vec<String>, Ten) {
    (ten.what(), ten)
}

#[mp::task]
fn look_at_one(a: mp::SharedFd, more: Vec<mp::SharedFd>) -> (usize, Vec<mp::SharedFd>) {
    let mut numbers = more.iter().map(|fd| fd.as_fd().as_raw_fd()).collect::<Vec<_>>();
    numbers.push(a.as_fd().as_raw_fd());
    numbers.dedup();
    (numbers.len(), vec![a.clone(), more[0].clone(), a])
}

#[mp::task]
fn reversed(mut fds: Vec<mp::SharedFd>) -> Vec<mp::SharedFd> {
    fds.reverse();
    fds
}

/// Closes the pipe, then waits for the end of the other.
#[mp::task]
fn close_and_wait(close: mp::Passed<PipeWriter>, wait: mp::Passed<PipeReader>) -> Io<()> {
    drop(close);
    let mut wait = wait.0;
    wait.read_to_end(&mut Vec::new()).map(drop)
}

#[mp::task]
fn read_both(handle: mp::Passed<File>) -> (u8, Vec<u8>) {
    let passed = mp::passed_fds().into_iter().map(|fd| first_byte(&fd.into())).collect();
    (first_byte(&handle.0), passed)
}

fn first_byte(file: &File) -> u8 {
    let mut byte = [0];
    file.read_exact_at(&mut byte, 0).unwrap();
    byte[0]
}

fn file_with(byte: u8) -> File {
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(&[byte], 0).unwrap();
    file
}

suite![
    files_sockets_and_pipes_arrive,
    files_sockets_and_pipes_are_returned,
    errors_have_handles_too,
    ten_in_a_nested_struct_go_there_and_back,
    one_that_occurs_thrice_is_one,
    more_than_one_packet_holds_go_there_and_back,
    a_worker_has_the_only_copy,
    passed_ones_stay_apart,
    closures_return_handles,
    json_has_no_handles,
];

fn files_sockets_and_pipes_arrive(ctx: &mp::Context) {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"in a file").unwrap();
    file.rewind().unwrap();
    assert_eq!(value(ctx.process::<read>((mp::Passed(file),))).unwrap(), "in a file");

    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let process = ctx.process::<answer>((mp::Passed(theirs),)).start().unwrap();
    ours.write_all(b"ping").unwrap();
    let mut said = String::new();
    ours.read_to_string(&mut said).unwrap();
    assert_eq!(said, "PING");
    outcome(&process).unwrap().unwrap();

    let (mut reader, writer) = std::io::pipe().unwrap();
    value(ctx.process::<say>(("in a pipe".into(), mp::Passed(writer)))).unwrap();
    let mut said = String::new();
    reader.read_to_string(&mut said).unwrap();
    assert_eq!(said, "in a pipe");
}

fn files_sockets_and_pipes_are_returned(ctx: &mp::Context) {
    let text = |read: &mut dyn Read| {
        let mut text = String::new();
        read.read_to_string(&mut text).map(|_| text).unwrap()
    };
    let file = value(ctx.process::<make_file>(("in a file".into(),)));
    assert_eq!(text(&mut file.unwrap().0), "in a file");
    let socket = value(ctx.process::<make_socket>(("in a socket".into(),)));
    assert_eq!(text(&mut socket.unwrap().0), "in a socket");
    let pipe = value(ctx.process::<make_pipe>(("in a pipe".into(),)));
    assert_eq!(text(&mut pipe.unwrap().0), "in a pipe");
}

fn errors_have_handles_too(ctx: &mp::Context) {
    let text = |read: &mut dyn Read| std::io::read_to_string(read).unwrap();
    let returned = value(ctx.process::<either>((false,)));
    assert_eq!(text(&mut returned.unwrap().0), "returned");
    let failed = value(ctx.process::<either>((true,)));
    assert_eq!(text(&mut failed.unwrap_err().0), "failed");
}

fn ten_in_a_nested_struct_go_there_and_back(ctx: &mp::Context) {
    let ten = Ten::new().unwrap();
    let here = ten.what();
    assert_eq!(here.iter().collect::<std::collections::BTreeSet<_>>().len(), 9, "{here:?}");
    let (there, back) = value(ctx.process::<look_at_ten>((ten,)));
    assert_eq!(there, here);
    assert_eq!((back.what(), back.name.as_str()), (here, "ten"));
    // The two ends of the pipe are one inode, and still two ends.
    let Ends { mut reader, mut writer } = back.ends.unwrap();
    writer.write_all(b"x").unwrap();
    drop(writer);
    assert_eq!(std::io::read_to_string(&mut reader).unwrap(), "x");
}

fn one_that_occurs_thrice_is_one(ctx: &mp::Context) {
    let one = mp::SharedFd::from(file_with(7));
    let (count, back) =
        value(ctx.process::<look_at_one>((one.clone(), vec![one.clone(), one.clone()])));
    assert_eq!((count, back.len()), (1, 3));
    assert!(back.iter().all(|fd| fd.as_fd().as_raw_fd() == back[0].as_fd().as_raw_fd()));
}

fn more_than_one_packet_holds_go_there_and_back(ctx: &mp::Context) {
    mp::sys::attributes::raise_descriptor_limit().unwrap();
    let files = (0..=255).map(file_with).collect::<Vec<_>>();
    for count in [248, 253, 254, 300, 1000] {
        let fds = (0..count).map(|at| mp::SharedFd::from(files[at % 256].try_clone().unwrap()));
        let back = value(ctx.process::<reversed>((fds.collect(),)));
        let byte = |fd: mp::SharedFd| first_byte(&File::from(fd.into_owned().unwrap()));
        let bytes = back.into_iter().rev().map(byte).collect::<Vec<_>>();
        let want = (0..count).map(|at| (at % 256) as u8).collect::<Vec<_>>();
        assert!(bytes == want, "{count}");
    }
}

fn a_worker_has_the_only_copy(ctx: &mp::Context) {
    let (mut closes, close) = std::io::pipe().unwrap();
    let (wait, go) = std::io::pipe().unwrap();
    let process = ctx.process::<close_and_wait>((mp::Passed(close), mp::Passed(wait)));
    let process = process.start().unwrap();
    assert!(super::ends(&mut closes), "a write end is left open");
    assert!(!process.has_result());
    drop(go);
    // A copy of this process has the end that it waits for itself.
    if ctx.method() == mp::StartMethod::Fork {
        process.kill().unwrap();
        assert_eq!(end(&process), -9);
    } else {
        outcome(&process).unwrap().unwrap();
    }
}

fn passed_ones_stay_apart(ctx: &mp::Context) {
    let process = ctx.process::<read_both>((mp::Passed(file_with(9)),));
    let process = (1..=3).fold(process, |process, byte| process.pass_fd(file_with(byte)));
    assert_eq!(value(process), (9, vec![1, 2, 3]));
    assert_eq!(value(ctx.process::<read_both>((mp::Passed(file_with(8)),))), (8, vec![]));
}

fn closures_return_handles(ctx: &mp::Context) {
    if ctx.method() != mp::StartMethod::Fork {
        return;
    }
    let file = file_with(5);
    let back = value(ctx.process_fn(move || (mp::Passed(file), mp::Passed(file_with(6)))));
    assert_eq!((first_byte(&back.0.0), first_byte(&back.1.0)), (5, 6));
}

fn json_has_no_handles(ctx: &mp::Context) {
    let named = |task: &str, argument: serde_json::Value| {
        let process = ctx.process_named(task, &[argument]).start().unwrap();
        match outcome(&process) {
            Err(mp::ProcessError::Rejected(error)) => error,
            other => panic!("{other:?}"),
        }
    };
    let error = named("journeys::read", 0.into());
    assert!(matches!(&error, mp::JobError::BadArguments { .. }), "{error}");
    assert!(error.to_string().contains("descriptor 0 did not come along"), "{error}");
    let error = named("journeys::make_file", "x".into());
    assert!(matches!(&error, mp::JobError::Unserializable(_)), "{error}");
}

#[test]
fn without_a_daemon_they_travel_to_a_spawned_worker() {
    let directory = tempfile::tempdir().unwrap();
    let ctx = mp::get_context(mp::StartMethod::ForkServer)
        .with_socket(directory.path().join("none.sock"))
        .with_fallback(mp::Fallback::Spawn);
    files_sockets_and_pipes_arrive(&ctx);
    files_sockets_and_pipes_are_returned(&ctx);
}
