//! Names of tasks, and the templates that have them.

use super::*;
use mpserverd_proto::ids::TemplateId;
use mpserverd_proto::report::TaskInfo;

fn module(name: &str, version: &str, tasks: &[&str]) -> ModuleReport {
    let task = |name: &&str| TaskInfo {
        name: (*name).to_owned(),
        signature: "()".to_owned(),
        doc: String::new(),
        schema: 1,
    };
    ModuleReport {
        name: name.to_owned(),
        title: name.to_owned(),
        version: version.to_owned(),
        path: format!("/lib/{name}"),
        tasks: tasks.iter().map(task).collect(),
        load_us: 0,
        added_kib: 0,
        error: None,
    }
}

fn template(name: &str, state: TemplateState, modules: Vec<ModuleReport>) -> TemplateModules {
    TemplateModules { template: TemplateId(1), name: name.to_owned(), state, modules }
}

fn report() -> ModulesReport {
    let host = || module("mpserverd", "", &[<bench::now as Task>::NAME]);
    ModulesReport {
        templates: vec![
            template("old", TemplateState::Failed, vec![module("gone", "1", &["gone::task"])]),
            template(
                "default",
                TemplateState::Ready,
                vec![host(), module("thumbs", "1", &["thumbs::resize", "thumbs::crop"])],
            ),
            template(
                "app",
                TemplateState::Ready,
                vec![module("app", "", &["app::work"]), module("maths", "2", &["maths::crop"])],
            ),
            template("bare", TemplateState::Ready, vec![module("lone", "3", &["lone::some"])]),
        ],
    }
}

fn found(task: &str) -> Result<Option<(String, String)>, CtlError> {
    let report = report();
    search(&report, task).map(|found| found.map(|(name, at)| (name, at.name.clone())))
}

#[test]
fn by_full_name_or_its_end() {
    for (asked, name, at) in [
        ("thumbs::resize", "thumbs::resize", "default"),
        ("resize", "thumbs::resize", "default"),
        ("thumbs.crop", "thumbs::crop", "default"),
        ("work", "app::work", "app"),
        ("bench::now", <bench::now as Task>::NAME, "default"),
    ] {
        assert_eq!(found(asked), Ok(Some((name.to_owned(), at.to_owned()))), "{asked}");
    }
    assert_eq!(found("gone::task"), Ok(None), "its template failed");
}

#[test]
fn ambiguous_names_are_wrong_usage() {
    let error = found("crop").expect_err("two of them");
    assert_eq!(error.code, 100);
    assert!(error.to_string().ends_with("maths::crop, thumbs::crop"), "{error}");
}

#[test]
fn unknown_names_have_neighbours() {
    let error = unknown("resise", &report());
    assert_eq!(error.code, 100);
    assert!(error.to_string().contains("did you mean thumbs::resize?"), "{error}");
    assert!(unknown("zzzzzzzz", &report()).to_string().contains("mpctl modules"));
}

#[test]
fn how_to_get_there() {
    let report = report();
    let there = |at: usize| place("t", &report.templates[at]);
    let default = there(1).expect("the host");
    assert_eq!((default.program, default.modules), (None, vec!["thumbs".to_owned()]));
    let app = there(2).expect("a program");
    assert_eq!((app.program, app.modules), (Some("/lib/app".into()), vec!["maths".to_owned()]));
    let error = there(3).expect_err("nobody knows how");
    assert!(error.to_string().contains("--module"), "{error}");
}
