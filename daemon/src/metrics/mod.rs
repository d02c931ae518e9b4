//! The daemon's numbers as OpenMetrics text, version 1.0.
//!
//! | file | holds |
//! |---|---|
//! | [`text`] | families, samples, labels and numbers as the format wants them |
//! | `families` | which metrics there are, and what each means |
//! | `older` | the same for readers that know only the format before |
//!
//! `metrics.md` tells every metric; it stands at the end of this page.
//!
//! Pure: numbers in, text out. What must never be in here: a descriptor, a clock, a counter of its
//! own, or a metric with as many series as clients like.
#![doc = include_str!("metrics.md")]

mod families;
mod older;
pub mod text;

pub use families::{Process, render};
pub use older::{OLDER_CONTENT_TYPE, older};

/// What the text is, as HTTP says it.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
