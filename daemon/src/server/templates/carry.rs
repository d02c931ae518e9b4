//! The templates' control sockets, to the next image of the daemon.

use super::{OUTBOX_MAX, TemplateProcess};
use crate::server::upgrade::image::{Carrier, Fd, Luggage};
use crate::state::StateError;
use mpserverd_proto::ids::TemplateId;
use mpserverd_proto::packet::Kind;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::os::fd::AsFd;

/// A message that a template could not take yet.
#[derive(Debug, Serialize, Deserialize)]
enum MessageRow {
    Boot(ByteBuf),
    Order(ByteBuf),
}

/// A template's process.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::server) struct TemplateRow {
    pub(in crate::server) template: TemplateId,
    pid: u32,
    name: String,
    control: Fd,
    pidfd: Fd,
    outbox: Vec<MessageRow>,
}

impl TemplateProcess {
    pub(in crate::server) fn carry<'a>(
        &'a self,
        template: TemplateId,
        to: &mut Carrier<'a>,
    ) -> TemplateRow {
        let outbox = self.outbox.iter().map(|(kind, body)| match kind {
            Kind::Boot => MessageRow::Boot(ByteBuf::from(body.clone())),
            _ => MessageRow::Order(ByteBuf::from(body.clone())),
        });
        TemplateRow {
            template,
            pid: self.pid,
            name: self.name.clone(),
            outbox: outbox.collect(),
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
        let outbox = row.outbox.into_iter().map(|message| match message {
            MessageRow::Boot(body) => (Kind::Boot, body.into_vec()),
            MessageRow::Order(body) => (Kind::ToTemplate, body.into_vec()),
        });
        Ok(Self {
            pid: row.pid,
            name: row.name,
            control: from.fd(row.control)?,
            pidfd: from.fd(row.pidfd)?,
            outbox: outbox.collect(),
        })
    }
}
