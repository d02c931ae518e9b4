//! A client's connection, to the next image of the daemon: half a frame, and what it has coming.

use super::{Output, Session, Stage};
use crate::access::Client;
use crate::core::{Peer, SessionId};
use crate::server::audit::Notes;
use crate::server::upgrade::image::{Carrier, Fd, Luggage};
use crate::state::StateError;
use mpserverd_proto::frame::Decoder;
use mpserverd_proto::hello::HELLO_BYTES;
use mpserverd_proto::limits::{FRAME_FDS_MAX, SESSION_OUTPUT_BYTES_MAX};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::time::Duration;

/// Where it stands.
#[derive(Debug, Serialize, Deserialize)]
enum StageRow {
    Hello(ByteBuf),
    Open,
    Closing,
}

/// What is left of a piece of output.
#[derive(Debug, Serialize, Deserialize)]
struct OutputRow {
    bytes: ByteBuf,
    fds: Vec<Fd>,
}

/// A client.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::server) struct SessionRow {
    pub(in crate::server) id: SessionId,
    peer: Peer,
    client: Client,
    notes: Notes,
    socket: Fd,
    stage: StageRow,
    /// Bytes of a frame that is not complete.
    partial: ByteBuf,
    /// Descriptors that came for it.
    fds: Vec<Fd>,
    output: Vec<OutputRow>,
    deadline: Option<Duration>,
}

impl Session {
    pub(in crate::server) fn carry<'a>(
        &'a self,
        id: SessionId,
        to: &mut Carrier<'a>,
    ) -> SessionRow {
        let stage = match &self.stage {
            Stage::Hello(bytes) => StageRow::Hello(ByteBuf::from(bytes.clone())),
            Stage::Open => StageRow::Open,
            Stage::Closing => StageRow::Closing,
        };
        let output = self.output.iter().map(|output| OutputRow {
            bytes: ByteBuf::from(&output.bytes[output.sent..]),
            fds: output.fds.iter().map(|fd| to.fd(fd.as_fd())).collect(),
        });
        let output = output.collect();
        SessionRow {
            id,
            peer: self.peer,
            client: self.client.clone(),
            notes: self.notes.clone(),
            socket: to.fd(self.socket.as_fd()),
            stage,
            partial: ByteBuf::from(self.decoder.pending()),
            fds: self.fds.iter().map(|fd| to.fd(fd.as_fd())).collect(),
            output,
            deadline: self.deadline.map(|at| to.time(at)),
        }
    }

    pub(in crate::server) fn from_row(
        row: SessionRow,
        from: &mut Luggage,
    ) -> Result<Self, StateError> {
        let bytes: usize = row.output.iter().map(|output| output.bytes.len()).sum();
        let most = row.output.iter().map(|output| output.fds.len()).max().unwrap_or(0);
        let stage = match row.stage {
            StageRow::Hello(bytes) => Stage::Hello(bytes.into_vec()),
            StageRow::Open => Stage::Open,
            StageRow::Closing => Stage::Closing,
        };
        let greeted = matches!(&stage, Stage::Hello(hello) if hello.len() >= HELLO_BYTES);
        if greeted || bytes > SESSION_OUTPUT_BYTES_MAX || most.max(row.fds.len()) > FRAME_FDS_MAX {
            return Err(StateError::Senseless(format!("client {} is out of bounds", row.id.0)));
        }
        let output = row.output.into_iter().map(|output| {
            let (bytes, fds) = (output.bytes.into_vec(), from.fds(&output.fds)?);
            Ok(Output { bytes, sent: 0, fds })
        });
        let output = output.collect::<Result<VecDeque<_>, StateError>>()?;
        let mut decoder = Decoder::new();
        decoder.feed(&row.partial);
        Ok(Self {
            socket: from.fd(row.socket)?,
            stage,
            decoder,
            fds: from.fds(&row.fds)?.into(),
            watched_writes: !output.is_empty(),
            output,
            output_bytes: bytes,
            deadline: row.deadline.map(|at| from.time(at)),
            crowded: None,
            peer: row.peer,
            client: row.client,
            notes: row.notes,
        })
    }
}
