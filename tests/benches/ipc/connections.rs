//! Connections: small messages there and back, large ones one way.

use super::operation::size;
use super::operation::{Member, Operation, Pace, Role, Unit, Variant, member, ours, peer, python};
use super::remote::Ours;
use super::worker::{self, Run, repeat, text};
use ipc_channel::ipc::{IpcBytesReceiver, IpcBytesSender, IpcOneShotServer, IpcSender};
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

const NOTE: &str =
    "Ours: send_bytes with recv_bytes and with recv_bytes_into, send with recv of a vector.
The socket pair blocks, has no frames, and receives into one buffer.";

/// Bytes of a small message.
const SMALL: usize = 64;

/// What happens to messages of so many bytes.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Way {
    /// One is sent, and one received.
    Call(usize),
    /// One is received, and one sent.
    Answer(usize),
    Send(usize),
    Receive(usize),
}

/// In which way ours are sent and received.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Form {
    /// `send_bytes` and `recv_bytes`.
    Bytes,
    /// `send_bytes` and `recv_bytes_into`.
    Into,
    /// `send` and `recv` of a vector.
    Value,
}

#[derive(Debug, Serialize, Deserialize)]
#[allow(clippy::large_enum_variant, reason = "one is made for each process")]
pub(crate) enum Part {
    Ours(mp::Connection, Form, Way),
    Socket(mp::Passed<UnixStream>, Way),
    /// What it works with comes by a server that it opens.
    IpcChannel(Way),
}

impl Part {
    pub(crate) fn prepare(self, control: &mp::Connection) -> Result<Run, String> {
        Ok(match self {
            Self::Ours(connection, form, way) => ours_by(connection, form, way),
            Self::Socket(mp::Passed(stream), way) => by_socket(stream, way),
            Self::IpcChannel(way) => by_ipc_channel(Kit::receive(control)?, way)?,
        })
    }
}

/// Repeats what a message's way says.
fn by<E: std::fmt::Display + 'static>(
    way: Way,
    mut send: impl FnMut() -> Result<(), E> + 'static,
    mut receive: impl FnMut() -> Result<(), E> + 'static,
) -> Run {
    match way {
        Way::Call(_) => repeat(move || {
            send()?;
            receive()
        }),
        Way::Answer(_) => repeat(move || {
            receive()?;
            send()
        }),
        Way::Send(_) => repeat(send),
        Way::Receive(_) => repeat(receive),
    }
}

fn bytes_of(way: Way) -> Vec<u8> {
    let (Way::Call(bytes) | Way::Answer(bytes) | Way::Send(bytes) | Way::Receive(bytes)) = way;
    vec![7; bytes]
}

fn ours_by(connection: mp::Connection, form: Form, way: Way) -> Run {
    let connection = std::rc::Rc::new(connection);
    let (sender, message, mut buffer) = (connection.clone(), bytes_of(way), bytes_of(way));
    match form {
        Form::Bytes => by(
            way,
            move || sender.send_bytes(&message),
            move || connection.recv_bytes(None).map(drop),
        ),
        Form::Into => by(
            way,
            move || sender.send_bytes(&message),
            move || connection.recv_bytes_into(&mut buffer, 0).map(drop),
        ),
        Form::Value => {
            by(way, move || sender.send(&message), move || connection.recv::<Vec<u8>>().map(drop))
        }
    }
}

fn by_socket(stream: UnixStream, way: Way) -> Run {
    let stream = std::rc::Rc::new(stream);
    let (sender, message, mut buffer) = (stream.clone(), bytes_of(way), bytes_of(way));
    by::<io::Error>(
        way,
        move || (&*sender).write_all(&message),
        move || (&*stream).read_exact(&mut buffer),
    )
}

fn by_ipc_channel(kit: Kit, way: Way) -> Result<Run, String> {
    let message = bytes_of(way);
    let Kit { sender, receiver } = kit;
    Ok(by::<String>(
        way,
        move || sender.as_ref().ok_or("no sender")?.send(&message).map_err(text),
        move || receiver.as_ref().ok_or("no receiver")?.recv().map(drop).map_err(text),
    ))
}

/// Ends of channels of ipc-channel, for a process.
#[derive(Serialize, Deserialize)]
pub(crate) struct Kit {
    pub(crate) sender: Option<IpcBytesSender>,
    pub(crate) receiver: Option<IpcBytesReceiver>,
}

impl Kit {
    /// In the process that is measured: opens a server, says its name, and gets the kit there.
    pub(crate) fn receive(control: &mp::Connection) -> Result<Self, String> {
        let (server, name) = IpcOneShotServer::<Self>::new().map_err(text)?;
        control.send(&name).map_err(text)?;
        server.accept().map(|(_, kit)| kit).map_err(text)
    }

    /// Starts a process that gets this kit.
    pub(crate) fn member(self, role: Role, part: worker::Part) -> Result<Member, String> {
        let process = Ours::start(part)?;
        let server = IpcSender::connect(process.hear::<String>()?).map_err(text)?;
        server.send(self).map_err(text)?;
        Ok(Member { role, remote: process.ready()? })
    }
}

fn part(part: Part) -> worker::Part {
    worker::Part::Connection(part)
}

/// The two of them.
#[derive(Clone, Copy)]
struct Two([(Role, Way); 2]);

impl Two {
    fn round_trip() -> Self {
        Self([(Role::Does, Way::Call(SMALL)), (Role::Answers, Way::Answer(SMALL))])
    }

    fn one_way(bytes: usize) -> Self {
        Self([(Role::Begins, Way::Send(bytes)), (Role::Ends, Way::Receive(bytes))])
    }

    fn ours(self, form: Form) -> Result<Vec<Member>, String> {
        let (first, second) = mp::pipe(true).map_err(text)?;
        let [(role, way), (other_role, other_way)] = self.0;
        Ok(vec![
            member(role, part(Part::Ours(first, form, way)))?,
            member(other_role, part(Part::Ours(second, form, other_way)))?,
        ])
    }

    fn sockets(self) -> Result<Vec<Member>, String> {
        let (first, second) = UnixStream::pair().map_err(text)?;
        let [(role, way), (other_role, other_way)] = self.0;
        Ok(vec![
            member(role, part(Part::Socket(mp::Passed(first), way)))?,
            member(other_role, part(Part::Socket(mp::Passed(second), other_way)))?,
        ])
    }

    fn ipc_channels(self) -> Result<Vec<Member>, String> {
        let channel = || ipc_channel::ipc::bytes_channel().map_err(text);
        let ((there, at_second), (back, at_first)) = (channel()?, channel()?);
        let [(role, way), (other_role, other_way)] = self.0;
        let first = Kit { sender: Some(there), receiver: Some(at_first) };
        let second = Kit { sender: Some(back), receiver: Some(at_second) };
        Ok(vec![
            first.member(role, part(Part::IpcChannel(way)))?,
            second.member(other_role, part(Part::IpcChannel(other_way)))?,
        ])
    }

    fn variants(self, python_does: Variant) -> Vec<Variant> {
        vec![
            ours("bytes", move || self.ours(Form::Bytes)),
            ours("bytes into", move || self.ours(Form::Into)),
            ours("value", move || self.ours(Form::Value)),
            peer("socketpair", "raw", move || self.sockets()),
            python_does,
            peer("ipc-channel", "bytes", move || self.ipc_channels()),
        ]
    }
}

pub(crate) fn operations() -> Vec<Operation> {
    let mut all = vec![Operation {
        id: "connection".to_owned(),
        table: "Connection: a message there and one back",
        note: NOTE,
        row: size(SMALL as u64),
        unit: Unit::Time,
        pace: Pace::ANY,
        variants: Two::round_trip().variants(python("bytes", &[&"call", &SMALL])),
    }];
    for bytes in [1 << 20, 64 << 20] {
        all.push(Operation {
            id: format!("connection-{}M", bytes >> 20),
            table: "Connection: bandwidth one way",
            note: NOTE,
            row: size(bytes),
            unit: Unit::Bandwidth(bytes),
            pace: Pace::ANY,
            variants: Two::one_way(bytes as usize).variants(python("bytes", &[&"send", &bytes])),
        });
    }
    all
}
