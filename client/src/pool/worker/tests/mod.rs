//! Channels with a worker in a thread, or with one that the test plays itself.

mod calls;
mod deaths;
mod hostile;
mod processes;
mod recalls;
mod speed;

use super::inbox::{Inbox, Next};
use super::job::Running;
use super::outbox::Outbox;
use super::serve::Server;
use crate::codec::{Codec, CodecError};
use crate::handles::{Passed, SharedFd};
use crate::parcel::Parcel;
use crate::pool::channel::{
    Answer, Channel, ChannelMemory, Desk, Frame, FrameHead, PushError, Tag, WorkerEnd,
};
use crate::registry::batch::Outcomes;
use crate::registry::{Registry, TaskEntry};
use crate::task::{Buffer, Encoded, Returns, ReturnsResult as _, ReturnsValue as _};
use mpserverd_proto::job::Outcome;
use mpserverd_proto::schema::UNCHECKED;
use std::io::{Read as _, Write as _};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Whatever is waited for comes within this time, or never.
const PATIENCE: Duration = Duration::from_secs(30);

macro_rules! tasks {
    ($($name:ident ($($arg:ident: $kind:ty),*) -> $output:ty $body:block)+) => {
        $(
            pub(super) enum $name {}

            impl crate::Task for $name {
                const NAME: &'static str = stringify!($name);
                const SIGNATURE: &'static str = "(…)";
                const DOC: &'static str = "";
                const SCHEMA: u64 = UNCHECKED;
                const ARITY: usize = [$(stringify!($arg)),*].len();
                type Args = ($($kind,)*);
                type Output = $output;

                fn call(($($arg,)*): Self::Args) -> $output $body
                fn encode(codec: Codec, output: $output) -> Encoded {
                    (&&&Returns::<$output>::new()).encode(codec, output)
                }
                fn append(
                    codec: Codec,
                    output: $output,
                    into: &mut Buffer,
                ) -> Result<bool, Box<CodecError>> {
                    (&&&Returns::<$output>::new()).append(codec, output, into)
                }
                fn decode(failed: bool, payload: &[u8]) -> Result<$output, CodecError> {
                    (&&&Returns::<$output>::new()).decode(failed, payload)
                }
            }

            const _: () = {
                // For workers that are processes.
                #[linkme::distributed_slice(crate::registry::TASKS)]
                static ENTRY: TaskEntry = TaskEntry::of::<$name>();
            };
        )+

        #[derive(Clone, Copy)]
        #[repr(u32)]
        enum Number { $($name),+ }

        static TASKS: &[TaskEntry] = &[$(TaskEntry::of::<$name>()),+];
        /// In the order of [`Number`].
        const NAMES: &[&str] = &[$(stringify!($name)),+];
    };
}

tasks! {
    Square(x: u64) -> u64 { x * x }
    Echo(text: String) -> String { text }
    Checked(x: i64) -> Result<i64, String> {
        if x >= 0 { Ok(x) } else { Err(format!("{x} is negative")) }
    }
    Panics(x: u64) -> u64 {
        assert!(x != 13, "unlucky {x}");
        x
    }
    Sleeps(millis: u64) -> u64 {
        std::thread::sleep(Duration::from_millis(millis));
        millis
    }
    Stubborn(x: u64) -> u64 {
        while !crate::pool::is_cancelled() {
            std::thread::yield_now();
        }
        x
    }
    Bytes(length: u64) -> Vec<u8> { vec![7; length as usize] }
    Counts(file: Passed<std::fs::File>) -> u64 {
        let mut bytes = Vec::new();
        (&*file).read_to_end(&mut bytes).expect("readable") as u64
    }
    Pipes(text: String) -> Passed<std::fs::File> {
        let (read, write) = crate::sys::fd::pipe().expect("pipe");
        std::fs::File::from(write).write_all(text.as_bytes()).expect("room");
        Passed(read.into())
    }
}

fn registry() -> &'static Registry {
    static REGISTRY: std::sync::OnceLock<Registry> = std::sync::OnceLock::new();
    REGISTRY.get_or_init(|| Registry::of_entries(TASKS))
}

/// A channel with all tasks defined, and its desk.
struct Office {
    desk: Desk,
    channel: Channel,
    answer: Answer,
}

/// The ends of a worker that was not started.
struct Played {
    memory: ChannelMemory,
    inbox: Inbox,
    outbox: Outbox,
}

fn play(end: WorkerEnd) -> Played {
    let (memory, socket, desk) = end.open().expect("a good end");
    let inbox = Inbox::new(memory.clone(), socket.clone());
    let outbox = Outbox::new(memory.clone(), socket, desk);
    Played { memory, inbox, outbox }
}

impl Played {
    /// Begins the next frame, passing over definitions.
    fn begin(&mut self) -> Option<FrameHead> {
        loop {
            match self.inbox.begin(1).expect("sound") {
                Next::Frame(head, _) => return Some(head),
                Next::Definition(..) => self.inbox.finish(),
                Next::Nothing | Next::End => return None,
            }
        }
    }

    fn answer(&mut self, head: FrameHead, first: u32, count: u32) {
        let mut outcomes = Outcomes::default();
        for item in first..first + count {
            outcomes.push(Tag::Returned, &item.to_le_bytes());
        }
        self.outbox.send((head.frame, first), &mut outcomes).expect("sound");
    }
}

/// Serves in a thread, as the job does.
fn start(end: WorkerEnd) -> JoinHandle<Outcome> {
    start_with(end, registry())
}

#[allow(clippy::disallowed_methods, reason = "the worker of a test")]
fn start_with(end: WorkerEnd, registry: &'static Registry) -> JoinHandle<Outcome> {
    std::thread::spawn(move || {
        // The way of an argument.
        let parcel = Parcel::pack(Codec::Bincode, &end).expect("travels");
        drop(end);
        let end = parcel.unpack::<WorkerEnd>(Codec::Bincode).expect("arrives");
        let Played { memory, inbox, mut outbox } = play(end);
        let running = Running::new(memory.state.clone());
        outbox.send_own(Tag::Ready, "").expect("sound");
        Server::new(memory, inbox, outbox, registry, &running).serve().outcome
    })
}

/// The body of a frame of several items.
fn chunk(items: &[Vec<u8>]) -> Vec<u8> {
    let parts =
        items.iter().flat_map(|item| [(item.len() as u32).to_le_bytes().to_vec(), item.clone()]);
    parts.flatten().collect()
}

fn args<T: serde::Serialize>(args: &T) -> Vec<u8> {
    crate::codec::encode(Codec::Bincode, args).expect("encodes")
}

fn value<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> T {
    crate::codec::decode(Codec::Bincode, bytes).expect("decodes")
}

impl Office {
    fn open() -> (Self, WorkerEnd) {
        let desk = Desk::new(70).expect("desk");
        let (mut channel, end) = Channel::open(&desk, 65).expect("channel");
        for (number, name) in NAMES.iter().enumerate() {
            channel.define(number as u32, name, UNCHECKED, Codec::Bincode);
        }
        (Self { desk, channel, answer: Answer::default() }, end)
    }

    fn push(&mut self, task: Number, count: u32, body: &[u8], fds: &[SharedFd]) -> u32 {
        let frame = Frame { task: task as u32, count, body, fds };
        self.channel.push(&frame).expect("taken")
    }

    /// Pushes a frame of one number and shows it.
    fn send(&mut self, task: Number, x: u64) -> u32 {
        let frame = self.push(task, 1, &args(&(x,)), &[]);
        self.channel.publish();
        frame
    }

    /// Waits for the next answer.
    fn next(&mut self) -> &Answer {
        let begun = Instant::now();
        while !self.channel.pop(&mut self.answer).expect("sound") {
            assert!(begun.elapsed() < PATIENCE, "no answer");
            let heard = self.desk.listen();
            let mut ready = false;
            self.desk.take_ready(|number| {
                assert_eq!(number, 65);
                ready = true;
            });
            if !ready {
                self.desk.sleep(heard, Duration::from_secs(1));
            }
        }
        &self.answer
    }

    /// Waits for answers to a whole frame of so many items.
    fn outcomes(&mut self, frame: u32, count: u32) -> Vec<(Tag, Vec<u8>)> {
        let mut all = Vec::new();
        while (all.len() as u32) < count {
            let answer = self.next();
            assert_eq!((answer.frame, answer.first), (frame, all.len() as u32));
            all.extend(answer.items().map(|(tag, bytes)| (tag, bytes.to_vec())));
        }
        all
    }

    fn ready(&mut self) {
        assert_eq!(self.outcomes(0, 1), [(Tag::Ready, vec![])]);
    }
}
