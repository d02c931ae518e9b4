//! The effective configuration as a file that says where each value came from.

use super::Config;
use super::draft::{Draft, Setting, Visitor};
use super::finding::{Origin, option_name};
use super::toml_value::TomlValue;
use std::fmt::Write as _;
use std::path::Path;

impl Config {
    /// Writes the configuration in force as a configuration file: what it prints can be saved and
    /// given to `--config`.
    pub fn show(&self) -> String {
        let mut draft: Draft = self.draft.clone();
        let file = self.source.file.as_deref();
        let head = match file {
            Some(file) => format!("# Effective configuration: {}\n", file.display()),
            None => "# Effective configuration, without a file\n".to_owned(),
        };
        let mut shown = Show { text: head, file };
        draft.visit(&mut shown);
        shown.text
    }
}

struct Show<'f> {
    text: String,
    file: Option<&'f Path>,
}

impl Visitor for Show<'_> {
    fn visit<T: TomlValue>(&mut self, setting: &mut Setting<T>) {
        let origin = match (setting.origin, self.file) {
            (Origin::Default, _) => "default".to_owned(),
            (Origin::Environment(name), _) => name.to_owned(),
            (Origin::CommandLine, _) => option_name(setting.key),
            (Origin::File { line, .. }, Some(file)) => format!("{}:{line}", file.display()),
            (Origin::File { line, .. }, None) => format!("line {line}"),
        };
        let line = match setting.value.write() {
            Some(value) => format!("{} = {value}", setting.key),
            None => format!("# {} is not set", setting.key),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{line:<36} # {origin}");
    }

    fn group(&mut self, title: &'static str) {
        let _ = writeln!(self.text, "\n# {title}");
    }
}
