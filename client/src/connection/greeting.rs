//! The handshake as a conversation, with one deadline for all of it.

use super::error::ConnectionError;
use super::handshake::{self, FAILURE, MESSAGE_BYTES_MAX, Question, WELCOME};
use super::stream::Connection;
use crate::deadline::Deadline;
use crate::error::AuthenticationError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

#[cfg(target_os = "linux")]
mod awaited;

#[cfg(target_os = "linux")]
pub(super) use awaited::{as_client_async, as_listener_async};

/// What both sides must know. It is never printed.
#[derive(Clone)]
pub(super) struct Key(Arc<[u8]>);

impl Key {
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    #[cfg(target_os = "linux")]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// How long a peer may take to say who it is, unless told otherwise.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);

/// Greets as the side that was called: it asks first.
pub(super) fn as_listener(
    connection: &Connection,
    key: &Key,
    timeout: Option<Duration>,
) -> Result<(), ConnectionError> {
    let deadline = Deadline::of(timeout);
    let done = ask(connection, key, &deadline).and_then(|()| reply(connection, key, &deadline));
    done.map_err(|error| in_greeting(error, &deadline))
}

/// Greets as the side that called: it is asked first.
pub(super) fn as_client(
    connection: &Connection,
    key: &Key,
    timeout: Option<Duration>,
) -> Result<(), ConnectionError> {
    let deadline = Deadline::of(timeout);
    let done = reply(connection, key, &deadline).and_then(|()| ask(connection, key, &deadline));
    done.map_err(|error| in_greeting(error, &deadline))
}

fn ask(connection: &Connection, key: &Key, deadline: &Deadline) -> Result<(), ConnectionError> {
    let question = Question::new()?;
    connection.greet(question.message(), deadline)?;
    let answer = connection.heed(MESSAGE_BYTES_MAX, deadline)?;
    let verified = question.verify(&key.0, &answer);
    let verdict = if verified.is_ok() { WELCOME } else { FAILURE };
    // Whoever gave a wrong answer need not listen to what we think of it.
    connection.greet(verdict, deadline).or_else(|error| match verified {
        Ok(()) => Err(error),
        Err(_) => Ok(()),
    })?;
    Ok(verified?)
}

fn reply(connection: &Connection, key: &Key, deadline: &Deadline) -> Result<(), ConnectionError> {
    let challenge = connection.heed(MESSAGE_BYTES_MAX, deadline)?;
    let answer = handshake::answer(&key.0, &challenge)?;
    connection.greet(&answer, deadline)?;
    let verdict = connection.heed(MESSAGE_BYTES_MAX, deadline)?;
    Ok(handshake::verdict(&verdict)?)
}

/// What an error means before the peer is known.
fn in_greeting(error: ConnectionError, deadline: &Deadline) -> ConnectionError {
    match error {
        ConnectionError::TimedOut(_) | ConnectionError::TimedOutInMessage { .. } => {
            ConnectionError::Handshake(deadline.given())
        }
        ConnectionError::TooLong { .. } | ConnectionError::BadLength(_) => {
            AuthenticationError(format!("protocol error: {error}")).into()
        }
        error => error,
    }
}
