//! The templates' control sockets, to the next image of the daemon.

use super::{Confinement, OUTBOX_MAX, TemplateProcess};
use crate::server::upgrade::image::{Carrier, Fd, Luggage};
use crate::state::StateError;
use mpserverd_proto::ids::TemplateId;
use mpserverd_proto::packet::Kind;
use mpserverd_proto::template::Lessee;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::os::fd::AsFd;

/// A message that a template could not take yet.
#[derive(Debug, Serialize, Deserialize)]
struct MessageRow {
    /// The first message, or a later one.
    boot: bool,
    body: ByteBuf,
    fd: Option<Fd>,
}

/// A template's process.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::server) struct TemplateRow {
    pub(in crate::server) template: TemplateId,
    pid: u32,
    name: String,
    control: Fd,
    pidfd: Fd,
    board: Option<Fd>,
    outbox: Vec<MessageRow>,
    untold: Vec<Lessee>,
    #[serde(default)]
    confinement: Confinement,
}

impl TemplateProcess {
    pub(in crate::server) fn carry<'a>(
        &'a self,
        template: TemplateId,
        to: &mut Carrier<'a>,
    ) -> TemplateRow {
        let outbox = self.outbox.iter().map(|(kind, body, fd)| MessageRow {
            boot: *kind == Kind::Boot,
            body: ByteBuf::from(body.clone()),
            fd: fd.as_ref().map(|fd| to.fd(fd.as_fd())),
        });
        let outbox = outbox.collect();
        TemplateRow {
            template,
            pid: self.pid,
            name: self.name.clone(),
            outbox,
            untold: self.untold.clone(),
            confinement: self.confinement.clone(),
            board: self.board.as_ref().map(|board| to.board(board)),
            control: to.fd(self.control.as_fd()),
            pidfd: to.fd(self.pidfd.as_fd()),
        }
    }

    pub(in crate::server) fn from_row(
        row: TemplateRow,
        from: &mut Luggage,
    ) -> Result<Self, StateError> {
        if row.outbox.len() > OUTBOX_MAX {
            return Err(StateError::Senseless(format!("{} has too much to hear", row.template)));
        }
        let outbox = row.outbox.into_iter().map(|message| {
            let kind = if message.boot { Kind::Boot } else { Kind::ToTemplate };
            let fd = message.fd.map(|fd| from.fd(fd)).transpose()?;
            Ok((kind, message.body.into_vec(), fd))
        });
        let outbox = outbox.collect::<Result<_, StateError>>()?;
        Ok(Self {
            pid: row.pid,
            name: row.name,
            control: from.fd(row.control)?,
            pidfd: from.fd(row.pidfd)?,
            board: row.board.map(|board| from.board(board)).transpose()?,
            untold: row.untold,
            confinement: row.confinement,
            outbox,
            offer: None,
        })
    }
}
