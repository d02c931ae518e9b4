//! A measured process, as the one that tells it what to do sees it.

use super::worker::{Order, Part, Span, perform, text};
use mpserverd_tests::bench::PATIENCE;
use mpserverd_tests::bench::driver::Driver;
use serde::de::DeserializeOwned;

/// A process that obeys orders; dropping it ends it.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "there are a few of them")]
pub(crate) enum Remote {
    /// This program again.
    Ours(Ours),
    /// CPython.
    Python(Python),
}

impl Remote {
    pub(crate) fn send(&mut self, order: Order) -> Result<(), String> {
        match self {
            Self::Ours(ours) => ours.control.send(&order).map_err(text),
            Self::Python(python) => python.send(order),
        }
    }

    pub(crate) fn receive(&mut self) -> Result<Span, String> {
        match self {
            Self::Ours(ours) => ours.hear::<Result<Span, String>>()?,
            Self::Python(python) => python.receive(),
        }
    }
}

/// A worker of this program.
#[derive(Debug)]
pub(crate) struct Ours {
    control: mp::Connection,
    process: mp::Process<Result<(), String>>,
}

impl Ours {
    /// Starts one, without a word about whether it is [ready](Self::ready).
    pub(crate) fn start(part: Part) -> Result<Self, String> {
        let (control, theirs) = mp::pipe(true).map_err(text)?;
        let context = mp::get_context(mp::StartMethod::Spawn);
        let process = context.process::<perform>((theirs, part)).daemon(true).start();
        Ok(Self { control, process: process.map_err(text)? })
    }

    /// What it says next.
    pub(crate) fn hear<T: DeserializeOwned>(&self) -> Result<T, String> {
        self.control.recv_timeout(PATIENCE).map_err(text)
    }

    pub(crate) fn ready(self) -> Result<Remote, String> {
        self.hear::<Result<(), String>>()??;
        Ok(Remote::Ours(self))
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        self.control.close();
        if self.process.join_timeout(PATIENCE).is_none() {
            // It hangs; nothing else can be done about it.
            let _ = self.process.kill();
        }
    }
}

/// `peer.py`, which starts further processes itself.
#[derive(Debug)]
pub(crate) struct Python(Driver);

impl Python {
    pub(crate) fn start(python: &str, arguments: &[String]) -> Result<Self, String> {
        Driver::python(python, "ipc", arguments, &[])?.ready().map(Self)
    }

    pub(crate) fn ready(self) -> Remote {
        Remote::Python(self)
    }

    fn send(&mut self, order: Order) -> Result<(), String> {
        self.0.send(&match order {
            Order::Count(count) => format!("count {count}"),
            Order::Time(time) => format!("time {time}"),
        })
    }

    /// Three numbers, or an error.
    pub(crate) fn numbers(&mut self) -> Result<[u64; 3], String> {
        self.0.numbers()?.try_into().map_err(|_| "not three numbers".to_owned())
    }

    fn receive(&mut self) -> Result<Span, String> {
        let [begin, end, count] = self.numbers()?;
        Ok(Span { begin, end, count })
    }
}
