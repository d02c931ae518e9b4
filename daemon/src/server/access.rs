//! What a client may ask, by the policy of the configuration.

use super::Server;
use crate::access::{Access, Client};
use crate::core::{Peer, SessionId};
use mpserverd_proto::client::Request;
use mpserverd_proto::error::Refusal;
use nix::sys::socket::{getsockopt, sockopt};
use std::os::fd::{AsFd, OwnedFd};
use tracing::warn;

/// Who has connected, as the kernel says. A kernel that does not tell the groups gives none.
pub(super) fn identify(socket: &OwnedFd) -> nix::Result<(Peer, Client)> {
    let told = getsockopt(socket, sockopt::PeerCredentials)?;
    let peer = Peer { pid: told.pid() as u32, uid: told.uid(), gid: told.gid() };
    let groups = mp::sys::peer::groups(socket.as_fd()).unwrap_or_default();
    Ok((peer, Client { uid: peer.uid, gid: peer.gid, groups }))
}

/// The user that this daemon runs as.
pub(super) fn own_uid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// Keeps workers out of the daemon where they run as its user and others' code is in them.
pub(super) fn guard(access: &Access) {
    if own_uid() != 0
        && access.is_shared()
        && let Err(error) = mp::sys::credentials::forbid_inspection()
    {
        warn!(%error, "workers could look into the daemon's memory");
    }
}

impl Server<'_> {
    /// Whether a client may do this now: the policy may have changed since it connected.
    pub(super) fn permit(&self, session: SessionId, request: &Request) -> Result<(), Refusal> {
        let Some(session) = self.sessions.get(&session) else { return Ok(()) };
        let (access, own, client) = (&self.config.access, own_uid(), &session.client);
        match request {
            Request::OpenTemplate(_)
            | Request::Lease { .. }
            | Request::LeaseWith { .. }
            | Request::Attach(_) => access.admit_to_workers(client, own),
            // What they show and reach is cut down to what is the client's own.
            Request::Ping
            | Request::Cancel(_)
            | Request::TemplateModules { .. }
            | Request::Status
            | Request::Processes { .. }
            | Request::Explain(_)
            | Request::Modules
            | Request::Kill { .. }
            | Request::Deaths(_)
            | Request::Signals { .. } => access.admit(client, own),
            // Metrics and the log name what everybody does.
            Request::Reload | Request::Stop { .. } | Request::Metrics | Request::Logs { .. } => {
                access.admit_to_control(client, own)
            }
            // Who says what program it is to be is the daemon's user from then on.
            Request::Upgrade { binary: Some(_) } if client.uid != 0 && client.uid != own => {
                let why = "only root and the daemon's user may name its next program".to_owned();
                Err(Refusal::NotPermitted { uid: client.uid, why })
            }
            Request::Upgrade { .. } => access.admit_to_control(client, own),
        }
    }
}
