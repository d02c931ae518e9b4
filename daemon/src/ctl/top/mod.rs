//! `mpctl top`: the daemon on a live screen.
//!
//! | file | holds |
//! |---|---|
//! | `sample` | one look at daemon and kernel, and the rates since the last |
//! | `model` | what is shown, sorted, filtered, selected; what a key means |
//! | `columns` | the columns of both tables, and which of them fit |
//! | `view` | the model as cells of a screen |
//! | `text` | one frame without a terminal: text, JSON |
//! | `terminal` | a terminal that is given back as it was |
//! | `live` | the loop: keys, signals, looks |
//!
//! # Invariants
//!
//! Model and view know no terminal, no daemon and no clock. Nothing that the loop does can wait for
//! the daemon: a thread of its own asks. Memory is measured a few workers at a time, those on the
//! screen first, because it costs the machine something. What must never be in here: a second way
//! to end a worker, or a text of a worker's that reaches the terminal as a command.

mod columns;
mod live;
mod model;
mod sample;
mod terminal;
#[cfg(test)]
mod tests;
mod text;
mod view;

use super::error::CtlError;
use super::screen::Screen;
use crate::cli::mpctl::Top;
use model::Model;
use sample::Sampler;
use std::io::IsTerminal;
use std::path::Path;

/// `mpctl top`.
pub(super) fn main(socket: Option<&Path>, screen: &Screen, options: &Top) -> Result<u8, CtlError> {
    let mut sampler = Sampler::new(socket);
    // Whoever has no daemon to look at is told so in his shell, not on another screen.
    sampler.connect()?;
    let mut model = Model::new(options.sort, options.filter.clone(), options.interval);
    model.colours = screen.colours;
    if options.once || screen.json || !std::io::stdout().is_terminal() {
        return text::print(sampler, model, screen);
    }
    live::run(sampler, model)
}
