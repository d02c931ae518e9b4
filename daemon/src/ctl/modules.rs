//! `mpctl modules`: what can be run, and what could not be loaded.

use super::error::CtlError;
use super::screen::Screen;
use super::{connect, status, units};
use mpserverd_proto::client::{Reply, Request};
use mpserverd_proto::report::{ModulesReport, TaskInfo, TemplateModules};
use mpserverd_proto::template::ModuleReport;
use std::path::Path;

/// `mpctl modules`.
pub(super) fn main(socket: Option<&Path>, screen: &Screen) -> Result<u8, CtlError> {
    let mut connection = connect::open(socket)?;
    match connect::ask(&mut connection, &Request::Modules)? {
        Reply::Modules(report) => screen.show(&report, || text(&report, screen)),
        other => Err(CtlError::unexpected(&other)),
    }
}

fn text(report: &ModulesReport, screen: &Screen) -> String {
    let lines = report.templates.iter().flat_map(template_lines);
    lines.map(|line| screen.cut(&line) + "\n").collect()
}

fn template_lines(template: &TemplateModules) -> Vec<String> {
    let (state, _) = status::state(template.state);
    let mut lines = vec![format!("{} ({}, {state})", template.name, template.template)];
    for module in &template.modules {
        lines.push(format!("  {}", module_line(module)));
        let mut tasks: Vec<_> = module.tasks.iter().collect();
        tasks.sort_by(|a, b| a.name.cmp(&b.name));
        for task in tasks {
            lines.push(format!("    {}{}", task.name, task.signature));
            lines.extend(first_line(task).map(|doc| format!("        {doc}")));
        }
    }
    lines
}

fn module_line(module: &ModuleReport) -> String {
    if let Some(error) = &module.error {
        return format!("{}  NOT LOADED ({}): {}", module.name, error.stage, error.fault);
    }
    let title = match (module.title.as_str(), module.version.as_str()) {
        ("", "") => module.name.clone(),
        ("", version) => format!("{} {version}", module.name),
        (title, "") => title.to_owned(),
        (title, version) => format!("{title} {version}"),
    };
    let tasks = units::count(module.tasks.len() as u64, "task");
    // The program itself was not loaded by anybody.
    let cost = match (module.load_us, module.added_kib) {
        (0, 0) => String::new(),
        (us, kib) => format!(", loaded in {}, +{}", units::micros(us), units::memory(kib)),
    };
    format!("{title}  {tasks}{cost}, {}", module.path)
}

fn first_line(task: &TaskInfo) -> Option<&str> {
    task.doc.lines().map(str::trim).find(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use mp::{Fault, PreloadError, Stage};
    use mpserverd_proto::ids::TemplateId;
    use mpserverd_proto::report::TemplateState;
    use unicode_width::UnicodeWidthStr;

    fn module(name: &str, error: Option<PreloadError>) -> ModuleReport {
        let task = TaskInfo {
            name: format!("{name}::resize"),
            signature: "(path: PathBuf, width: u32) -> io::Result<u64>".to_owned(),
            doc: "Makes it smaller.\nMore.".to_owned(),
            schema: 1,
        };
        ModuleReport {
            name: name.to_owned(),
            title: name.to_owned(),
            version: "0.3.1".to_owned(),
            path: format!("/usr/lib/mpserverd/lib{name}.so"),
            tasks: if error.is_none() { vec![task] } else { Vec::new() },
            load_us: 12_300,
            added_kib: 4608,
            error,
        }
    }

    fn report() -> ModulesReport {
        let module_name = "broken".to_owned();
        let fault = Fault::NotFound { searched: vec!["/a/very/long/path".repeat(9)] };
        let error = PreloadError { module: module_name, stage: Stage::Find, fault };
        let modules = vec![module("thumbs", None), module("broken", Some(error))];
        let (template, name) = (TemplateId(1), "default".to_owned());
        let state = TemplateState::Ready;
        ModulesReport { templates: vec![TemplateModules { template, name, state, modules }] }
    }

    #[test]
    fn tasks_stand_below_their_module() {
        let screen = Screen { width: None, colours: false, json: false };
        let text = text(&report(), &screen);
        let expected = "default (t1, ready)\n  \
            thumbs 0.3.1  1 task, loaded in 12ms, +4.5M, /usr/lib/mpserverd/libthumbs.so\n    \
            thumbs::resize(path: PathBuf, width: u32) -> io::Result<u64>\n        \
            Makes it smaller.\n  \
            broken  NOT LOADED (find): not found; looked in ";
        assert!(text.starts_with(expected), "{text}");
    }

    #[test]
    fn it_fits() {
        for width in [20, 80, 200] {
            let screen = Screen { width: Some(width), colours: false, json: false };
            let text = text(&report(), &screen);
            assert!(text.lines().all(|line| line.width() <= usize::from(width)), "{text}");
        }
    }
}
