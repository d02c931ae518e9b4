//! A [`Listener`] that is awaited.

use super::{Connection, ConnectionError, Incoming, Listener, greeting};

impl Listener {
    /// Takes the next call and, with a key, authenticates both sides, without keeping a thread: the
    /// awaited [`accept`](Self::accept).
    ///
    /// Dropping the future while nobody has called changes nothing; during the handshake it hangs
    /// up on the caller. Where a silent caller must not hold up others, take calls with
    /// [`accept_incoming_async`](Self::accept_incoming_async), which loses none, and authenticate
    /// each in a task of its own.
    ///
    /// ```
    /// use mpserverd_client as mp;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let listener = mp::Listener::builder().authkey(b"secret").bind()?;
    /// let address = listener.address().clone();
    /// let (served, client) =
    ///     tokio::join!(listener.accept_async(), mp::Client::connect_async(address, Some(b"secret")));
    /// served?.send_async(&"hello").await?;
    /// assert_eq!(client?.recv_async::<String>().await?, "hello");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`accept`](Self::accept).
    pub async fn accept_async(&self) -> Result<Connection, ConnectionError> {
        self.accept_incoming_async().await?.authenticate_async().await
    }

    /// Takes the next call, and leaves open who it is: the awaited
    /// [`accept_incoming`](Self::accept_incoming). Dropping the future loses no caller.
    ///
    /// # Errors
    /// `Closed`, `System`.
    pub async fn accept_incoming_async(&self) -> Result<Incoming, ConnectionError> {
        match self.acceptor()?.accept_async(&self.closed).await {
            Ok(accepted) => Ok(self.called(accepted)),
            Err(error) => {
                self.acceptor()?;
                Err(error.into())
            }
        }
    }
}

impl Incoming {
    /// Authenticates both sides, if the listener has a key, within the time that it allows: the
    /// awaited [`authenticate`](Self::authenticate). Dropping the future hangs up.
    ///
    /// # Errors
    /// As [`Listener::accept`], in what concerns the caller.
    pub async fn authenticate_async(self) -> Result<Connection, ConnectionError> {
        if let Some(key) = &self.key {
            greeting::as_listener_async(&self.connection, key, self.handshake).await?;
        }
        Ok(self.connection)
    }
}
