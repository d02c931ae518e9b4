//! The command of `mpserverd run`, to the next image of the daemon. Its words are in the command
//! line, which stays.

use super::Command;
use crate::server::upgrade::image::{Carrier, Fd, Luggage};
use crate::state::StateError;
use mpserverd_proto::status::ExitRecord;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::os::fd::AsFd;

/// How far the command is.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::server) struct CommandRow {
    running: Option<(u32, Fd)>,
    ended: Option<ExitRecord>,
}

impl Command {
    pub(in crate::server) fn carry<'a>(&'a self, to: &mut Carrier<'a>) -> CommandRow {
        let running = self.running.as_ref().map(|(pid, pidfd)| (*pid, to.fd(pidfd.as_fd())));
        CommandRow { running, ended: self.ended }
    }

    pub(in crate::server) fn from_row(
        words: Vec<OsString>,
        row: CommandRow,
        from: &mut Luggage,
    ) -> Result<Self, StateError> {
        let running = match row.running {
            None => None,
            Some((pid, pidfd)) => Some((pid, from.fd(pidfd)?)),
        };
        Ok(Self { words, running, ended: row.ended })
    }
}
