//! A terminal that is given back as it was: at the end, on a panic, on a signal, for a pause.

use crate::ctl::error::CtlError;
use crossterm::cursor::{Hide, Show};
use crossterm::execute;
use crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use nix::sys::signal::{Signal, raise};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use std::io::{self, Stdout};

/// The terminal, while it is ours.
#[derive(Debug)]
pub(super) struct Screen(Terminal<CrosstermBackend<Stdout>>);

fn error(error: io::Error) -> CtlError {
    CtlError::system(format!("terminal: {error}"))
}

/// Takes the terminal: no echo, no lines, another screen than the shell's.
fn enter() -> io::Result<()> {
    // Whoever had it meanwhile may have left it in any mode.
    disable_raw_mode()?;
    enable_raw_mode()?;
    execute!(io::stdout(), EnterAlternateScreen, Clear(ClearType::All), Hide)
}

/// Gives it back.
fn leave() {
    // Whoever took the terminal away has nothing that could be given back.
    let _ = execute!(io::stdout(), Show, LeaveAlternateScreen);
    let _ = disable_raw_mode();
}

impl Screen {
    /// Takes the terminal. It is given back when this is dropped, and before a panic is printed.
    pub(super) fn take() -> Result<Self, CtlError> {
        let told = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            leave();
            told(panic);
        }));
        let taken = enter();
        if taken.is_err() {
            leave();
        }
        taken.map_err(error)?;
        Terminal::new(CrosstermBackend::new(io::stdout())).map(Self).map_err(error)
    }

    /// Draws what has changed.
    pub(super) fn draw(&mut self, draw: impl FnOnce(Rect, &mut Buffer)) -> Result<(), CtlError> {
        self.0.draw(|frame| draw(frame.area(), frame.buffer_mut())).map(drop).map_err(error)
    }

    /// Gives the terminal back, and stops until somebody continues this process.
    pub(super) fn pause(&mut self) -> Result<(), CtlError> {
        leave();
        raise(Signal::SIGSTOP).map_err(|errno| error(errno.into()))?;
        self.resume()
    }

    /// Takes the terminal again, and draws everything anew the next time.
    pub(super) fn resume(&mut self) -> Result<(), CtlError> {
        enter().map_err(error)?;
        // Not cleared through the old one: that would ask the terminal where its cursor is, and the
        // answer comes as if it were typed.
        self.0 = Terminal::new(CrosstermBackend::new(io::stdout())).map_err(error)?;
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        leave();
    }
}
