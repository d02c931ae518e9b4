//! Tasks that every host of modules has, because its program is `mpserverd` itself.
//!
//! They must stay trivial: what they cost is what `mpctl bench` calls the cost of a start.

/// What `mpctl bench` runs.
pub mod bench {
    use nix::time::{ClockId, clock_gettime};

    /// The time on the clock that all processes of this machine share, in nanoseconds.
    #[mp::task]
    pub fn now() -> u64 {
        // The monotonic clock exists everywhere, and is read without a system call.
        let time = clock_gettime(ClockId::CLOCK_MONOTONIC);
        time.map_or(0, |time| time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
    }

    #[cfg(test)]
    mod tests {
        #[test]
        fn time_goes_on() {
            let before = super::now();
            assert!(before > 0 && super::now() >= before);
        }
    }
}
