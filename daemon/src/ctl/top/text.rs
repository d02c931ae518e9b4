//! One frame without a terminal: as text, or as JSON for programs.

use super::model::Model;
use super::sample::Sampler;
use super::view;
use crate::ctl::error::CtlError;
use crate::ctl::screen::Screen;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use std::time::Duration;

/// Columns where nobody counts them.
const WIDTH: u16 = 120;
/// Rates need some time between two looks, and whoever wants one frame does not want to wait.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Looks twice, for the rates, and prints what the second look saw.
pub(super) fn print(
    mut sampler: Sampler,
    mut model: Model,
    screen: &Screen,
) -> Result<u8, CtlError> {
    sampler.look(model.spares, &[])?;
    std::thread::sleep(model.interval.min(PAUSE_MAX));
    let sample = sampler.look(model.spares, &[])?;
    if screen.json {
        return screen.show(&sample, String::new);
    }
    model.take(Ok(sample));
    model.colours = false;
    screen.show(&(), || frame(&mut model, screen.width.unwrap_or(WIDTH)))
}

/// A frame that leaves nothing out but columns.
pub(super) fn frame(model: &mut Model, width: u16) -> String {
    let area = Rect { x: 0, y: 0, width, height: view::height(model) };
    let mut screen = Buffer::empty(area);
    view::draw(model, area, &mut screen, false);
    lines(&screen)
}

/// The text of a screen, without the empty rest of lines and screen.
pub(super) fn lines(screen: &Buffer) -> String {
    let area = *screen.area();
    let line = |y: u16| {
        let mut line = String::new();
        let mut hidden = 0;
        for x in area.left()..area.right() {
            if hidden > 0 {
                // Behind a wide character.
                hidden -= 1;
                continue;
            }
            let symbol = screen[(x, y)].symbol();
            hidden = unicode_width::UnicodeWidthStr::width(symbol).saturating_sub(1);
            line.push_str(symbol);
        }
        line.trim_end().to_owned()
    };
    let lines: Vec<_> = (area.top()..area.bottom()).map(line).collect();
    lines.join("\n").trim_end().to_owned() + "\n"
}
