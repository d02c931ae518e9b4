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
use subtle::ConstantTimeEq;

#[cfg(target_os = "linux")]
mod awaited;

#[cfg(target_os = "linux")]
pub(super) use awaited::{as_client_async, as_listener_async};

/// What both sides must know. It is never printed.
#[derive(Clone)]
pub(crate) struct Key(Arc<[u8]>);

impl Key {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// Another key, which whoever knows this one can make and which does not tell this one.
    #[cfg(target_os = "linux")]
    pub(crate) fn derive(&self, purpose: &[u8]) -> Self {
        Self(handshake::derive(&self.0, purpose).into())
    }

    /// Whether both are the same; the time that this takes does not depend on how much of them is.
    #[cfg(target_os = "linux")]
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    #[cfg(target_os = "linux")]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// How long a peer may take to say who it is, unless told otherwise.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);

/// Greets as the side that was called: it asks first. The caller may know any of the keys, and is
/// answered with the same.
pub(super) fn as_listener(
    connection: &Connection,
    keys: &[Key],
    timeout: Option<Duration>,
) -> Result<(), ConnectionError> {
    let deadline = Deadline::of(timeout);
    let done = ask(connection, keys, &deadline).and_then(|key| reply(connection, key, &deadline));
    done.map_err(|error| in_greeting(error, &deadline))
}

/// Greets as the side that called: it is asked first.
pub(super) fn as_client(
    connection: &Connection,
    key: &Key,
    timeout: Option<Duration>,
) -> Result<(), ConnectionError> {
    let deadline = Deadline::of(timeout);
    let keys = std::slice::from_ref(key);
    let done = reply(connection, key, &deadline).and_then(|()| ask(connection, keys, &deadline));
    done.map(drop).map_err(|error| in_greeting(error, &deadline))
}

fn ask<'a>(
    connection: &Connection,
    keys: &'a [Key],
    deadline: &Deadline,
) -> Result<&'a Key, ConnectionError> {
    let question = Question::new()?;
    connection.greet(question.message(), deadline)?;
    let answer = connection.heed(MESSAGE_BYTES_MAX, deadline)?;
    let verified = verify(&question, keys, &answer);
    let verdict = if verified.is_ok() { WELCOME } else { FAILURE };
    // Whoever gave a wrong answer need not listen to what we think of it.
    connection.greet(verdict, deadline).or_else(|error| match verified {
        Ok(_) => Err(error),
        Err(_) => Ok(()),
    })?;
    Ok(verified?)
}

/// The key that the answer shows knowledge of.
fn verify<'a>(
    question: &Question,
    keys: &'a [Key],
    answer: &[u8],
) -> Result<&'a Key, AuthenticationError> {
    let mut refused = AuthenticationError("nobody is let in here".to_owned());
    for key in keys {
        match question.verify(&key.0, answer) {
            Ok(()) => return Ok(key),
            Err(error) => refused = error,
        }
    }
    Err(refused)
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
