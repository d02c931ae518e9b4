//! Which trace a start belongs to, and how it travels: the environment variable of the W3C's Trace
//! Context, so that a tracing system in the worker goes on where the starter's was.
//!
//! A start belongs to the trace that the builder names, or that the worker's environment names
//! (which is the starter's unless the builder changes it), or to that of the process itself, or to
//! a new one.

use mpserverd_proto::trace::TraceId;
#[cfg(target_os = "linux")]
use std::{
    sync::OnceLock,
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

/// The variable.
const VARIABLE: &str = "TRACEPARENT";

/// What the variable says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Parent {
    trace: TraceId,
    /// Bit 0: the trace is recorded.
    flags: u8,
}

/// Reads `version-trace-span-flags`; later versions may append to it.
fn parse(text: &str) -> Option<Parent> {
    let mut parts = text.split('-');
    let (version, trace, span, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_hex = |part: &str, length: usize| {
        let digits = part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        digits && part.len() == length
    };
    let whole = is_hex(version, 2) && is_hex(trace, 32) && is_hex(span, 16) && is_hex(flags, 2);
    if !whole || version == "ff" || (version == "00" && parts.next().is_some()) {
        return None;
    }
    Some(Parent { trace: trace.parse().ok()?, flags: u8::from_str_radix(flags, 16).ok()? })
}

/// The trace that this process's environment names.
pub(crate) fn of_environment() -> Option<TraceId> {
    parse(std::env::var(VARIABLE).ok()?.as_str()).map(|parent| parent.trace)
}

/// Two numbers that nobody else has: no syscall but for the pid, which tells forks apart.
#[cfg(target_os = "linux")]
fn unique() -> (u64, u64) {
    static SEED: OnceLock<[u64; 2]> = OnceLock::new();
    static COUNT: AtomicU64 = AtomicU64::new(1);
    let [high, low] = *SEED.get_or_init(|| {
        let mut seed = [0; 16];
        // Without the kernel's random numbers the time and the pid must do.
        let _ = getrandom::fill(&mut seed);
        let (words, _) = seed.as_chunks::<8>();
        std::array::from_fn(|at| u64::from_ne_bytes(words[at]))
    });
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let pid = u64::from(std::process::id());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
    (mix(high ^ mix(now) ^ pid.rotate_left(32)), mix(low.wrapping_add(mix(count ^ pid << 40))))
}

/// The finaliser of SplitMix64: neighbours in, strangers out.
#[cfg(target_os = "linux")]
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Chooses the trace of a start, and writes it into the worker's environment (entries `KEY=VALUE`,
/// each ended by a NUL byte), unless that was cleared.
#[cfg(target_os = "linux")]
pub(crate) fn choose(
    named: Option<TraceId>,
    own: Option<TraceId>,
    environment: &mut Vec<u8>,
    cleared: bool,
) -> TraceId {
    let entry = find(environment);
    let found = entry.clone().and_then(|entry| {
        let value = environment.get(entry.start + VARIABLE.len() + 1..entry.end - 1)?;
        parse(std::str::from_utf8(value).ok()?)
    });
    let (high, low) = unique();
    let new = || TraceId(u128::from(high) << 64 | u128::from(low.max(1)));
    let trace = named.or(found.map(|found| found.trace)).or(own).unwrap_or_else(new);
    if let Some(entry) = entry {
        environment.drain(entry);
    }
    if !cleared || found.is_some() {
        let flags = found.filter(|found| found.trace == trace).map_or(1, |found| found.flags);
        let span = mix(low).max(1);
        let entry = format!("{VARIABLE}=00-{trace}-{span:016x}-{flags:02x}\0");
        environment.extend_from_slice(entry.as_bytes());
    }
    trace
}

/// Where the variable stands, with its NUL byte.
#[cfg(target_os = "linux")]
fn find(environment: &[u8]) -> Option<std::ops::Range<usize>> {
    let mut start = 0;
    for entry in environment.split_inclusive(|byte| *byte == 0) {
        let value = entry.strip_prefix(VARIABLE.as_bytes());
        if value.is_some_and(|rest| rest.first() == Some(&b'=') && rest.last() == Some(&0)) {
            return Some(start..start + entry.len());
        }
        start += entry.len();
    }
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    const TRACE: TraceId = TraceId(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

    #[test]
    fn the_variable_is_read_as_the_standard_says() {
        assert_eq!(parse(PARENT), Some(Parent { trace: TRACE, flags: 0 }));
        assert!(parse("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-later").is_some());
        for text in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00-later",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-00",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-00",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-00",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    fn chosen(
        named: Option<TraceId>,
        own: Option<TraceId>,
        environment: &str,
    ) -> (TraceId, String) {
        let mut bytes = environment.as_bytes().to_vec();
        let trace = choose(named, own, &mut bytes, environment.is_empty());
        (trace, String::from_utf8(bytes).expect("text"))
    }

    #[test]
    fn the_nearest_name_wins() {
        let inherited = format!("A=1\0TRACEPARENT={PARENT}\0B=2\0");
        let (trace, environment) = chosen(None, Some(TraceId(3)), &inherited);
        assert_eq!(trace, TRACE);
        assert!(environment.starts_with("A=1\0B=2\0TRACEPARENT=00-4bf92f35"), "{environment:?}");
        assert!(environment.ends_with("-00\0"), "whether it is recorded stays: {environment:?}");
        assert_eq!(environment.matches("TRACEPARENT").count(), 1);
        let (trace, environment) = chosen(Some(TraceId(7)), Some(TraceId(3)), &inherited);
        assert_eq!(trace, TraceId(7));
        assert!(environment.contains("TRACEPARENT=00-00000000000000000000000000000007-"));
        assert_eq!(chosen(None, Some(TraceId(3)), "TRACEPARENTS=x\0").0, TraceId(3));
        assert_eq!(chosen(None, Some(TraceId(3)), "A=1\0TRACEPARENT=rubbish\0").0, TraceId(3));
    }

    #[test]
    fn a_cleared_environment_stays_clear() {
        assert_eq!(chosen(Some(TraceId(7)), None, ""), (TraceId(7), String::new()));
    }

    #[test]
    fn every_start_has_a_trace_of_its_own() {
        let traces = (0..10_000).map(|_| chosen(None, None, "A=1\0").0);
        let traces = traces.collect::<std::collections::HashSet<_>>();
        assert_eq!(traces.len(), 10_000);
        assert!(!traces.contains(&TraceId(0)));
    }
}
