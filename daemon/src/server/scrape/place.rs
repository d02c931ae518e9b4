//! Where readers of metrics connect: an address of the configuration, or a socket that a
//! supervisor passed in.

use crate::config::Config;
use crate::server::activation::{self, ActivationError};
use crate::server::upgrade::image::{Carrier, Fd, Luggage};
use crate::state::StateError;
use serde::{Deserialize, Serialize};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;

/// Why metrics cannot be had over HTTP.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScrapeError {
    /// The address cannot be had.
    #[error("`metrics_address`: cannot listen on {address}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// What the supervisor passed is something else, or open to everybody.
    #[error(transparent)]
    Activation(#[from] ActivationError),
}

/// A listening socket.
#[derive(Debug)]
pub(in crate::server) enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// The place, to the next image of the daemon.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::server) struct PlaceRow {
    socket: Fd,
    is_tcp: bool,
    asked: Option<SocketAddr>,
}

/// The place.
#[derive(Debug)]
pub(super) struct Place {
    socket: Socket,
    /// What the configuration asked for; `None` if a supervisor passed it in.
    asked: Option<SocketAddr>,
}

impl Place {
    /// What a supervisor passed in, or else what the configuration asks for.
    pub(super) fn first(config: &Config) -> Result<Option<Self>, ScrapeError> {
        match activation::metrics_socket(config.metrics_public)? {
            Some(socket) => Ok(Some(Self { socket, asked: None })),
            None => config.metrics_address.map(Self::bind).transpose(),
        }
    }

    /// What another configuration asks for; nothing if that is this place.
    pub(super) fn next(
        now: Option<&Self>,
        config: &Config,
    ) -> Result<Option<Option<Self>>, ScrapeError> {
        match (now.map(|place| place.asked), config.metrics_address) {
            // That of a supervisor stays whatever the configuration says.
            (Some(None), _) | (None, None) => Ok(None),
            (Some(asked), wanted) if asked == wanted => Ok(None),
            (_, wanted) => Ok(Some(wanted.map(Self::bind).transpose()?)),
        }
    }

    pub(super) fn carry<'a>(&'a self, to: &mut Carrier<'a>) -> PlaceRow {
        let is_tcp = matches!(self.socket, Socket::Tcp(_));
        PlaceRow { socket: to.fd(self.fd()), is_tcp, asked: self.asked }
    }

    pub(super) fn from_row(row: PlaceRow, from: &mut Luggage) -> Result<Self, StateError> {
        let socket = from.fd(row.socket)?;
        let socket = match row.is_tcp {
            true => Socket::Tcp(socket.into()),
            false => Socket::Unix(socket.into()),
        };
        Ok(Self { socket, asked: row.asked })
    }

    fn bind(address: SocketAddr) -> Result<Self, ScrapeError> {
        let failed = |source| ScrapeError::Bind { address, source };
        let listener = TcpListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let bound = listener.local_addr().unwrap_or(address);
        tracing::info!(address = %bound, "metrics over HTTP");
        Ok(Self { socket: Socket::Tcp(listener), asked: Some(address) })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        match &self.socket {
            Socket::Tcp(listener) => listener.as_fd(),
            Socket::Unix(listener) => listener.as_fd(),
        }
    }

    /// The next connection that waits.
    pub(super) fn accept(&self) -> io::Result<OwnedFd> {
        let socket: OwnedFd = match &self.socket {
            Socket::Tcp(listener) => listener.accept()?.0.into(),
            Socket::Unix(listener) => listener.accept()?.0.into(),
        };
        mp::sys::fd::set_nonblocking(socket.as_fd(), true)?;
        Ok(socket)
    }
}
