//! The mutual challenge of CPython 3.12 and later, as bytes: no stream, no clock.
//!
//! Who challenges sends `#CHALLENGE#{digest}` and random bytes; the answer is `{digest}` and the
//! HMAC over all that came behind `#CHALLENGE#`; the verdict is `#WELCOME#` or `#FAILURE#`. Then
//! the roles change. The name of the digest is under the HMAC, so nobody can weaken it on the way.
//! CPython before 3.12 knows HMAC-MD5 only and writes no names: its challenges are 20 bytes long,
//! its answers 16.

use crate::error::AuthenticationError;
use hmac::{KeyInit, Mac, SimpleHmac};
use subtle::ConstantTimeEq;

/// No message of the handshake is longer.
pub(super) const MESSAGE_BYTES_MAX: usize = 256;

const CHALLENGE: &[u8] = b"#CHALLENGE#";
/// The verdict on a right answer.
pub(super) const WELCOME: &[u8] = b"#WELCOME#";
/// The verdict on a wrong one.
pub(super) const FAILURE: &[u8] = b"#FAILURE#";

const RANDOM_BYTES: usize = 40;
const LEGACY_CHALLENGE_BYTES: usize = 20;
const LEGACY_ANSWER_BYTES: usize = 16;

/// Digests that a peer may choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Digest {
    Md5,
    Sha256,
    Sha384,
    Sha3_256,
    Sha3_384,
}

impl Digest {
    const ALL: [Self; 5] = [Self::Md5, Self::Sha256, Self::Sha384, Self::Sha3_256, Self::Sha3_384];

    fn name(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha3_256 => "sha3_256",
            Self::Sha3_384 => "sha3_384",
        }
    }

    fn hmac(self, key: &[u8], message: &[u8]) -> Vec<u8> {
        match self {
            Self::Md5 => hmac::<SimpleHmac<md5::Md5>>(key, message),
            Self::Sha256 => hmac::<SimpleHmac<sha2::Sha256>>(key, message),
            Self::Sha384 => hmac::<SimpleHmac<sha2::Sha384>>(key, message),
            Self::Sha3_256 => hmac::<SimpleHmac<sha3::Sha3_256>>(key, message),
            Self::Sha3_384 => hmac::<SimpleHmac<sha3::Sha3_384>>(key, message),
        }
    }
}

fn hmac<M: Mac + KeyInit>(key: &[u8], message: &[u8]) -> Vec<u8> {
    // An HMAC takes keys of any length, the empty one too.
    let mac = <M as KeyInit>::new_from_slice(key).expect("a key of any length");
    mac.chain_update(message).finalize().into_bytes().to_vec()
}

fn wrong(what: impl Into<String>) -> AuthenticationError {
    AuthenticationError(what.into())
}

/// The digest that a message names, and what follows the name; `None` if it names none of ours.
fn named(message: &[u8]) -> Option<(Digest, &[u8])> {
    Digest::ALL.into_iter().find_map(|digest| {
        let rest = message.strip_prefix(b"{")?.strip_prefix(digest.name().as_bytes())?;
        Some((digest, rest.strip_prefix(b"}")?))
    })
}

/// A question that only who knows the key can answer.
#[derive(Debug)]
pub(super) struct Question {
    message: Vec<u8>,
}

impl Question {
    /// A new one.
    ///
    /// # Errors
    /// When the system has no random bytes.
    pub(super) fn new() -> Result<Self, AuthenticationError> {
        let mut random = [0; RANDOM_BYTES];
        getrandom::fill(&mut random).map_err(|error| wrong(format!("no challenge: {error}")))?;
        Ok(Self { message: [CHALLENGE, b"{sha256}", &random].concat() })
    }

    /// What to send.
    pub(super) fn message(&self) -> &[u8] {
        &self.message
    }

    /// Whether the answer shows that the peer knows the key; the time that this takes does not
    /// depend on how much of it is right.
    pub(super) fn verify(&self, key: &[u8], answer: &[u8]) -> Result<(), AuthenticationError> {
        let (digest, mac) = match answer.len() {
            LEGACY_ANSWER_BYTES => (Digest::Md5, answer),
            _ => named(answer).ok_or_else(|| wrong("the answer names no digest known here"))?,
        };
        let expected = digest.hmac(key, &self.message[CHALLENGE.len()..]);
        if bool::from(expected.ct_eq(mac)) {
            return Ok(());
        }
        Err(wrong("digest received was wrong"))
    }
}

/// The answer to a challenge.
///
/// # Errors
/// When it is none, or asks for a digest that is not known here.
pub(super) fn answer(key: &[u8], challenge: &[u8]) -> Result<Vec<u8>, AuthenticationError> {
    let message = challenge
        .strip_prefix(CHALLENGE)
        .ok_or_else(|| wrong("protocol error: the peer does not ask for a key"))?;
    // So short a message is an oracle for answers to other questions.
    if message.len() < LEGACY_CHALLENGE_BYTES {
        return Err(wrong(format!("challenge too short: {} bytes", message.len())));
    }
    if message.len() == LEGACY_CHALLENGE_BYTES {
        return Ok(Digest::Md5.hmac(key, message));
    }
    let (digest, _) =
        named(message).ok_or_else(|| wrong("the challenge names no digest known here"))?;
    let mut answer = format!("{{{}}}", digest.name()).into_bytes();
    answer.extend(digest.hmac(key, message));
    Ok(answer)
}

/// A key for one purpose, made of another.
#[cfg(target_os = "linux")]
pub(super) fn derive(key: &[u8], purpose: &[u8]) -> Vec<u8> {
    Digest::Sha256.hmac(key, purpose)
}

/// What the peer thinks of the answer.
///
/// # Errors
/// Anything but a welcome.
pub(super) fn verdict(message: &[u8]) -> Result<(), AuthenticationError> {
    if message == WELCOME { Ok(()) } else { Err(wrong("digest sent was rejected")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Values of CPython's `hmac.new(key, message, digest).hexdigest()`.
    #[test]
    fn digests_are_those_of_cpython() {
        for (digest, expected) in [
            (Digest::Md5, MD5),
            (Digest::Sha256, SHA256),
            (Digest::Sha384, SHA384),
            (Digest::Sha3_256, SHA3_256),
            (Digest::Sha3_384, SHA3_384),
        ] {
            assert_eq!(hex(&digest.hmac(b"key", b"message")), expected, "{digest:?}");
        }
    }

    #[test]
    fn who_knows_the_key_is_let_in_and_nobody_else() {
        for key in [&b"secret"[..], b"", &[0xff; 200]] {
            let question = Question::new().expect("random bytes");
            let right = answer(key, question.message()).expect("a challenge");
            assert_eq!(question.verify(key, &right), Ok(()));
            let mut other = right.clone();
            *other.last_mut().expect("not empty") ^= 1;
            for wrong in [&other[..], &right[..right.len() - 1], &right[8..], b"", b"{sha256}"] {
                assert!(question.verify(key, wrong).is_err(), "{wrong:?}");
            }
            let stranger = answer(b"wrong", question.message()).expect("a challenge");
            assert!(question.verify(key, &stranger).is_err());
        }
    }

    #[test]
    fn the_peer_chooses_the_digest() {
        for digest in Digest::ALL {
            let mut challenge = [CHALLENGE, b"{", digest.name().as_bytes(), b"}"].concat();
            challenge.extend([7; RANDOM_BYTES]);
            let given = answer(b"k", &challenge).expect("known");
            assert_eq!(named(&given).map(|(named, _)| named), Some(digest));
            let question = Question { message: challenge };
            assert_eq!(question.verify(b"k", &given), Ok(()));
        }
    }

    #[test]
    fn older_peers_ask_and_answer_without_names() {
        let challenge = [CHALLENGE, &[9; LEGACY_CHALLENGE_BYTES]].concat();
        let given = answer(b"k", &challenge).expect("an old peer");
        assert_eq!(given.len(), LEGACY_ANSWER_BYTES);
        // An old peer takes all of our question for random bytes.
        let question = Question::new().expect("random bytes");
        let old = Digest::Md5.hmac(b"k", &question.message()[CHALLENGE.len()..]);
        assert_eq!(question.verify(b"k", &old), Ok(()));
        assert!(question.verify(b"j", &old).is_err());
    }

    #[test]
    fn what_is_no_challenge_gets_no_answer() {
        let sha1 = [CHALLENGE, b"{sha1}", &[0; 40]].concat();
        let open = [CHALLENGE, b"{sha256", &[0; 40]].concat();
        let short = [CHALLENGE, &[0; 19]].concat();
        for wrong in [&sha1[..], &open, &short, b"", b"#WELCOME#", &[0; 256]] {
            assert!(answer(b"k", wrong).is_err(), "{wrong:?}");
        }
        assert!(verdict(FAILURE).is_err() && verdict(b"").is_err() && verdict(WELCOME).is_ok());
    }

    const MD5: &str = "4e4748e62b463521f6775fbf921234b5";
    const SHA256: &str = "6e9ef29b75fffc5b7abae527d58fdadb2fe42e7219011976917343065f58ed4a";
    const SHA384: &str = "0fd3ae3237be98c64a075b7394989fc6789f31788fada42eada85ee6698bde2f\
        eae20b66271b67544b9062c773b2d86f";
    const SHA3_256: &str = "0f43852a24d5597a8200312a95993991581679d63264f1b1ad4b5ccac7fe8ba4";
    const SHA3_384: &str = "be48b7a82bf3dda2dc743a584e7a7d6375a664e611d240a6c951f3d15e18666f\
        c6d4b3e31f8d6c44caec98667209aa31";
}
