//! Levels, as `tracing` and as `multiprocessing` has them.

use tracing::Level;
use tracing::level_filters::LevelFilter;

/// `SUBDEBUG` of `multiprocessing`, number 5.
pub const SUBDEBUG: Level = Level::TRACE;
/// `SUBWARNING` of `multiprocessing`, number 25. `tracing` has no level between this and `INFO`.
pub const SUBWARNING: Level = Level::INFO;

/// What a number of Python's `logging` asks for as a level; 0 (`NOTSET`) is everything.
///
/// ```
/// use mpserverd_client::logging::{LevelFilter, from_number};
///
/// assert_eq!(from_number(5), LevelFilter::TRACE);
/// assert_eq!(from_number(30), LevelFilter::WARN);
/// assert_eq!(from_number(51), LevelFilter::OFF);
/// ```
#[must_use]
pub const fn from_number(number: u32) -> LevelFilter {
    match number {
        0..=9 => LevelFilter::TRACE,
        10..=19 => LevelFilter::DEBUG,
        20..=25 => LevelFilter::INFO,
        26..=30 => LevelFilter::WARN,
        31..=50 => LevelFilter::ERROR,
        _ => LevelFilter::OFF,
    }
}

/// A level as it travels: 1 is `ERROR`, 5 is `TRACE`.
pub(super) fn rank(level: Level) -> u8 {
    match level {
        Level::ERROR => 1,
        Level::WARN => 2,
        Level::INFO => 3,
        Level::DEBUG => 4,
        _ => 5,
    }
}

/// A filter as it travels: 0 is `OFF`.
pub(super) fn number(filter: LevelFilter) -> u8 {
    filter.into_level().map_or(0, rank)
}

/// The level of a rank; any number may come.
pub(super) fn level(rank: u8) -> Level {
    match rank {
        0 | 1 => Level::ERROR,
        2 => Level::WARN,
        3 => Level::INFO,
        4 => Level::DEBUG,
        _ => Level::TRACE,
    }
}

/// The filter of a number; any number may come.
pub(super) fn filter(number: u8) -> LevelFilter {
    if number == 0 { LevelFilter::OFF } else { level(number).into() }
}

/// The name in lines of a log, that of `multiprocessing`.
pub(super) fn name(rank: u8) -> &'static str {
    match rank {
        0 | 1 => "ERROR",
        2 => "WARNING",
        3 => "INFO",
        4 => "DEBUG",
        _ => "SUBDEBUG",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_survive_the_journey() {
        for wanted in [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE] {
            assert_eq!(level(rank(wanted)), wanted);
            assert_eq!(filter(number(wanted.into())), LevelFilter::from(wanted));
        }
        assert_eq!(filter(number(LevelFilter::OFF)), LevelFilter::OFF);
        assert_eq!(level(u8::MAX), Level::TRACE);
    }

    #[test]
    fn numbers_are_those_of_the_reference() {
        for (number, name_of_it) in
            [(5, "SUBDEBUG"), (10, "DEBUG"), (20, "INFO"), (30, "WARNING"), (40, "ERROR")]
        {
            assert_eq!(name(super::number(from_number(number))), name_of_it);
        }
        assert_eq!(from_number(25), LevelFilter::from(SUBWARNING));
    }
}
