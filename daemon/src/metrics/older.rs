//! The same text for readers that know only the format before OpenMetrics (version 0.0.4).
//!
//! There a family has the name of its samples, suffix included; there are no units and no end, and
//! an info is a gauge.

use std::fmt::Write as _;

/// What the text is, as HTTP says it.
pub const OLDER_CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The text of [`render`](super::render) for them.
#[must_use]
pub fn older(text: &str) -> String {
    let mut older = String::with_capacity(text.len());
    let mut suffix = "";
    for line in text.lines() {
        let mut words = line.splitn(4, ' ');
        // Writing to a String cannot fail.
        let _ = match [words.next(), words.next(), words.next(), words.next()] {
            [Some("#"), Some("EOF" | "UNIT"), ..] => Ok(()),
            [Some("#"), Some("TYPE"), Some(name), Some(kind)] => {
                let (end, kind) = match kind {
                    "counter" => ("_total", kind),
                    "info" => ("_info", "gauge"),
                    other => ("", other),
                };
                suffix = end;
                writeln!(older, "# TYPE {name}{suffix} {kind}")
            }
            [Some("#"), Some("HELP"), Some(name), Some(help)] => {
                // Quotes are escaped there in labels only.
                writeln!(older, "# HELP {name}{suffix} {}", help.replace("\\\"", "\""))
            }
            _ => writeln!(older, "{line}"),
        };
    }
    older
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_called_as_their_samples() {
        let text = "# TYPE a counter\n# HELP a What \\\"a\\\" is.\na_total{b=\"\\\"\"} 1\n\
                    # TYPE b info\n# HELP b B.\nb_info 1\n\
                    # TYPE c_seconds gauge\n# UNIT c_seconds seconds\n# HELP c_seconds C.\n\
                    c_seconds 0.5\n# EOF\n";
        let want = "# TYPE a_total counter\n# HELP a_total What \"a\" is.\na_total{b=\"\\\"\"} 1\n\
                    # TYPE b_info gauge\n# HELP b_info B.\nb_info 1\n\
                    # TYPE c_seconds gauge\n# HELP c_seconds C.\nc_seconds 0.5\n";
        assert_eq!(older(text), want);
    }
}
