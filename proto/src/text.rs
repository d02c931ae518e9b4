//! Texts of others, made fit for a place of bounded size or for a terminal.
//!
//! What must never be in here: what a text means.

/// As much of the beginning of a text as fits into so many bytes; it ends where a character ends.
///
/// ```
/// use mpserverd_proto::text::beginning;
/// assert_eq!(beginning("short", 10), "short");
/// assert_eq!(beginning("é".repeat(3).as_str(), 5), "éé");
/// ```
#[must_use]
pub fn beginning(text: &str, bytes: usize) -> &str {
    let mut end = text.len().min(bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The same line without anything that a terminal would obey; tabs stay.
///
/// ```
/// use mpserverd_proto::text::without_orders;
/// assert_eq!(without_orders("a\tb\x1b[31m"), "a\tb?[31m");
/// ```
#[must_use]
pub fn without_orders(line: &str) -> String {
    line.replace(|c: char| c.is_control() && c != '\t', "?")
}
