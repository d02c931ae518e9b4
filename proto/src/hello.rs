//! The version handshake. Its layout never changes, so that any two builds can at least tell
//! each other why they will not talk.
//!
//! Client to daemon, 16 bytes: `"MPSD"`, oldest and newest version it speaks (`u16` LE each),
//! features (`u32` LE), four zero bytes. Daemon to client, 16 bytes: `"MPSD"`, the version chosen
//! or 0, the oldest and newest it speaks, two zero bytes, features.

/// First bytes of both hellos.
pub const MAGIC: [u8; 4] = *b"MPSD";
/// Length of either hello.
pub const HELLO_BYTES: usize = 16;
/// Oldest protocol version that this build speaks.
pub const VERSION_MIN: u16 = 1;
/// Newest protocol version that this build speaks.
pub const VERSION_MAX: u16 = 1;

/// What a client says first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct Hello {
    /// Oldest version the client speaks.
    pub oldest: u16,
    /// Newest version the client speaks.
    pub newest: u16,
    /// Optional features the client understands; unknown bits are ignored.
    pub features: u32,
}

/// What the daemon answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct HelloReply {
    /// The version both speak, or 0 when there is none; the daemon hangs up then.
    pub chosen: u16,
    /// Oldest version the daemon speaks.
    pub oldest: u16,
    /// Newest version the daemon speaks.
    pub newest: u16,
    /// Features that both have.
    pub features: u32,
}

/// Why two builds do not talk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// The other side is not mpserverd.
    #[error("the peer does not speak mpserverd's protocol")]
    NotOurs,
    /// The client is too old for this daemon.
    #[error(
        "the client speaks protocol version {client} at most and the daemon {daemon} at least: \
         rebuild the client against a newer mpserverd-client"
    )]
    ClientTooOld {
        /// Newest version of the client.
        client: u16,
        /// Oldest version of the daemon.
        daemon: u16,
    },
    /// The daemon is too old for this client.
    #[error(
        "the daemon speaks protocol version {daemon} at most and the client {client} at least: \
         upgrade and restart mpserverd"
    )]
    DaemonTooOld {
        /// Oldest version of the client.
        client: u16,
        /// Newest version of the daemon.
        daemon: u16,
    },
}

impl Hello {
    /// The hello of this build.
    #[must_use]
    pub const fn ours() -> Self {
        Self { oldest: VERSION_MIN, newest: VERSION_MAX, features: 0 }
    }

    /// As bytes.
    #[must_use]
    pub fn encode(self) -> [u8; HELLO_BYTES] {
        let [a, b] = self.oldest.to_le_bytes();
        let [c, d] = self.newest.to_le_bytes();
        let [e, f, g, h] = self.features.to_le_bytes();
        let [m, n, o, p] = MAGIC;
        [m, n, o, p, a, b, c, d, e, f, g, h, 0, 0, 0, 0]
    }

    /// From bytes.
    ///
    /// # Errors
    /// [`HelloError::NotOurs`].
    pub fn decode(bytes: [u8; HELLO_BYTES]) -> Result<Self, HelloError> {
        let [m, n, o, p, a, b, c, d, e, f, g, h, 0, 0, 0, 0] = bytes else {
            return Err(HelloError::NotOurs);
        };
        let hello = Self {
            oldest: u16::from_le_bytes([a, b]),
            newest: u16::from_le_bytes([c, d]),
            features: u32::from_le_bytes([e, f, g, h]),
        };
        if [m, n, o, p] != MAGIC || hello.oldest == 0 || hello.oldest > hello.newest {
            return Err(HelloError::NotOurs);
        }
        Ok(hello)
    }

    /// The daemon's answer: the newest version that both speak.
    #[must_use]
    pub fn answer(self) -> HelloReply {
        let newest = self.newest.min(VERSION_MAX);
        let chosen = if newest >= self.oldest.max(VERSION_MIN) { newest } else { 0 };
        HelloReply { chosen, oldest: VERSION_MIN, newest: VERSION_MAX, features: 0 }
    }
}

impl HelloReply {
    /// As bytes.
    #[must_use]
    pub fn encode(self) -> [u8; HELLO_BYTES] {
        let [a, b] = self.chosen.to_le_bytes();
        let [c, d] = self.oldest.to_le_bytes();
        let [e, f] = self.newest.to_le_bytes();
        let [g, h, i, j] = self.features.to_le_bytes();
        let [m, n, o, p] = MAGIC;
        [m, n, o, p, a, b, c, d, e, f, 0, 0, g, h, i, j]
    }

    /// From bytes, as seen by a client that said `hello`.
    ///
    /// # Errors
    /// [`HelloError`] says which side is too old.
    pub fn decode(bytes: [u8; HELLO_BYTES], hello: Hello) -> Result<Self, HelloError> {
        let [m, n, o, p, a, b, c, d, e, f, 0, 0, g, h, i, j] = bytes else {
            return Err(HelloError::NotOurs);
        };
        let reply = Self {
            chosen: u16::from_le_bytes([a, b]),
            oldest: u16::from_le_bytes([c, d]),
            newest: u16::from_le_bytes([e, f]),
            features: u32::from_le_bytes([g, h, i, j]),
        };
        if [m, n, o, p] != MAGIC {
            return Err(HelloError::NotOurs);
        }
        match reply.chosen {
            0 if reply.newest < hello.oldest => {
                Err(HelloError::DaemonTooOld { client: hello.oldest, daemon: reply.newest })
            }
            0 => Err(HelloError::ClientTooOld { client: hello.newest, daemon: reply.oldest }),
            chosen if chosen < hello.oldest || chosen > hello.newest => Err(HelloError::NotOurs),
            _ => Ok(reply),
        }
    }
}
