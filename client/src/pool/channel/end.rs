//! The worker's end of a channel, on its way.

use super::desk::{DeskEnd, DeskState};
use super::memory::{ChannelMemory, ChannelState};
use crate::handles::SharedFd;
use crate::queue::readiness;
use crate::shared::object::{Object, Shareable};
use serde::{Deserialize, Serialize};

/// What a worker gets of its channel: an argument of its job.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WorkerEnd {
    pub(super) channel: Shareable<ChannelState>,
    pub(super) desk: Shareable<DeskState>,
    pub(super) event: SharedFd,
    pub(super) socket: SharedFd,
    pub(super) number: u32,
}

impl WorkerEnd {
    /// What it is made of, checked: the channel's memory, the end of its socket, the desk.
    ///
    /// # Errors
    /// A text that says what is wrong with it.
    pub(crate) fn open(self) -> Result<(ChannelMemory, SharedFd, DeskEnd), String> {
        if !readiness::is_event(&self.event) {
            return Err(format!("{}: a descriptor of it is none of ours", DeskState::NAME));
        }
        let memory = ChannelMemory::of(self.channel).map_err(|error| error.to_string())?;
        let desk = DeskEnd::new(self.desk, self.event, self.number)
            .ok_or_else(|| format!("{}: it has no worker {}", DeskState::NAME, self.number))?;
        Ok((memory, self.socket, desk))
    }
}
