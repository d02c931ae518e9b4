//! The handshake as a conversation that is awaited.

use super::{Key, in_greeting};
use crate::connection::error::ConnectionError;
use crate::connection::handshake::{self, FAILURE, MESSAGE_BYTES_MAX, Question, WELCOME};
use crate::connection::stream::Connection;
use crate::deadline::Deadline;
use crate::reactor::{before, until};
use std::time::{Duration, Instant};

/// Greets as the side that was called: it asks first.
pub(in crate::connection) async fn as_listener_async(
    connection: &Connection,
    key: &Key,
    timeout: Option<Duration>,
) -> Result<(), ConnectionError> {
    let conversation = async {
        ask(connection, key).await?;
        reply(connection, key).await
    };
    within(conversation, timeout).await
}

/// Greets as the side that called: it is asked first.
pub(in crate::connection) async fn as_client_async(
    connection: &Connection,
    key: &Key,
    timeout: Option<Duration>,
) -> Result<(), ConnectionError> {
    let conversation = async {
        reply(connection, key).await?;
        ask(connection, key).await
    };
    within(conversation, timeout).await
}

async fn within(
    conversation: impl Future<Output = Result<(), ConnectionError>>,
    timeout: Option<Duration>,
) -> Result<(), ConnectionError> {
    let deadline = Deadline::of(timeout);
    let at = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let done = before(conversation, &mut at.map(until)).await;
    let done = done.unwrap_or_else(|| Err(deadline.error().into()));
    done.map_err(|error| in_greeting(error, &deadline))
}

async fn ask(connection: &Connection, key: &Key) -> Result<(), ConnectionError> {
    let question = Question::new()?;
    connection.greet_async(question.message()).await?;
    let answer = connection.heed_async(MESSAGE_BYTES_MAX).await?;
    let verified = question.verify(&key.0, &answer);
    let verdict = if verified.is_ok() { WELCOME } else { FAILURE };
    // Whoever gave a wrong answer need not listen to what we think of it.
    connection.greet_async(verdict).await.or_else(|error| match verified {
        Ok(()) => Err(error),
        Err(_) => Ok(()),
    })?;
    Ok(verified?)
}

async fn reply(connection: &Connection, key: &Key) -> Result<(), ConnectionError> {
    let challenge = connection.heed_async(MESSAGE_BYTES_MAX).await?;
    let answer = handshake::answer(&key.0, &challenge)?;
    connection.greet_async(&answer).await?;
    let verdict = connection.heed_async(MESSAGE_BYTES_MAX).await?;
    Ok(handshake::verdict(&verdict)?)
}
