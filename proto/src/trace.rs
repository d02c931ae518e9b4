//! The one number that follows a start from the client through the daemon into the worker.
//!
//! It is the trace id of the W3C's Trace Context, so that it can come from, and go on into, the
//! tracing system of the application.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;

/// A trace, as W3C Trace Context names it: 128 bits, never zero in a valid one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(test, derive(arbitrary::Arbitrary))]
pub struct TraceId(
    /// The number itself.
    pub u128,
);

/// A text that is no trace id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no trace id: 32 hexadecimal digits, not all of them zero, are")]
pub struct BadTraceId(pub String);

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Where people read it, the digits: no reader of JSON has numbers that large.
impl Serialize for TraceId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_u128(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for TraceId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
        } else {
            u128::deserialize(deserializer).map(Self)
        }
    }
}

impl FromStr for TraceId {
    type Err = BadTraceId;

    fn from_str(text: &str) -> Result<Self, BadTraceId> {
        let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        match u128::from_str_radix(text, 16) {
            Ok(number) if digits && number != 0 => Ok(Self(number)),
            _ => Err(BadTraceId(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BadTraceId, TraceId};

    #[test]
    fn a_trace_is_read_as_it_is_written() {
        let trace = TraceId(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        assert_eq!(trace.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(trace.to_string().parse(), Ok(trace));
    }

    #[test]
    fn what_is_no_trace_is_refused() {
        let zeros = "0".repeat(32);
        for text in ["", "4bf9", "+bf92f3577b34da6a3ce929d0e0e4736", zeros.as_str()] {
            assert_eq!(text.parse::<TraceId>(), Err(BadTraceId(text.to_owned())));
        }
    }
}
