//! `get_logger`.

use super::{TARGET, sink};
use std::fmt;
use tracing::Level;
use tracing::level_filters::LevelFilter;

/// The one logger of the library, as `multiprocessing.get_logger()`.
///
/// It logs `tracing` events of the target [`TARGET`], as the library itself does about starts,
/// ends and fallbacks. Like that of the reference it has no handler: where the events go is the
/// business of the program's subscriber, or of [`log_to_stderr`](super::log_to_stderr).
///
/// ```
/// use mpserverd_client as mp;
///
/// let logger = mp::get_logger();
/// logger.set_level(mp::logging::Level::WARN);
/// assert!(!logger.is_enabled_for(mp::logging::Level::INFO));
/// ```
#[must_use]
pub fn get_logger() -> Logger {
    Logger(())
}

/// What [`get_logger`] returns. All of them are the same one.
#[derive(Clone, Copy, Debug)]
pub struct Logger(());

impl Logger {
    /// Up to which level this process logs, and the processes that it starts; everything if nobody
    /// has said (`NOTSET`).
    #[must_use]
    pub fn level(&self) -> LevelFilter {
        sink::level().unwrap_or(LevelFilter::TRACE)
    }

    /// Sets the level of this process, and of the processes that it starts from now on. Running
    /// workers of a collector follow to a lower level at once.
    ///
    /// A subscriber of the program that is none of this library has its own level as well.
    pub fn set_level(&self, level: impl Into<LevelFilter>) {
        sink::set_level(level.into());
        super::collector::level_changed();
        tracing_core::callsite::rebuild_interest_cache();
    }

    /// Whether an event of that level would go anywhere.
    #[must_use]
    pub fn is_enabled_for(&self, level: Level) -> bool {
        level <= self.level()
            && match level {
                Level::ERROR => tracing::enabled!(target: TARGET, Level::ERROR),
                Level::WARN => tracing::enabled!(target: TARGET, Level::WARN),
                Level::INFO => tracing::enabled!(target: TARGET, Level::INFO),
                Level::DEBUG => tracing::enabled!(target: TARGET, Level::DEBUG),
                _ => tracing::enabled!(target: TARGET, Level::TRACE),
            }
    }

    /// Logs a message.
    pub fn log(&self, level: Level, message: impl fmt::Display) {
        if level > self.level() {
            return;
        }
        match level {
            Level::ERROR => tracing::error!(target: TARGET, "{message}"),
            Level::WARN => tracing::warn!(target: TARGET, "{message}"),
            Level::INFO => tracing::info!(target: TARGET, "{message}"),
            Level::DEBUG => tracing::debug!(target: TARGET, "{message}"),
            _ => tracing::trace!(target: TARGET, "{message}"),
        }
    }

    /// Logs an error.
    pub fn error(&self, message: impl fmt::Display) {
        self.log(Level::ERROR, message);
    }

    /// Logs a warning.
    pub fn warning(&self, message: impl fmt::Display) {
        self.log(Level::WARN, message);
    }

    /// Logs what one should know, as `sub_warning` of the reference.
    pub fn sub_warning(&self, message: impl fmt::Display) {
        self.log(super::SUBWARNING, message);
    }

    /// Logs what one may want to know.
    pub fn info(&self, message: impl fmt::Display) {
        self.log(Level::INFO, message);
    }

    /// Logs what helps to find a mistake.
    pub fn debug(&self, message: impl fmt::Display) {
        self.log(Level::DEBUG, message);
    }

    /// Logs everything else, as `sub_debug` of the reference.
    pub fn sub_debug(&self, message: impl fmt::Display) {
        self.log(super::SUBDEBUG, message);
    }
}
