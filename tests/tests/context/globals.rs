//! What holds for a whole process, tried in processes of their own.

use mp::ContextError;
use mpserverd_tests::suite::value;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

#[mp::task]
fn own_program() -> PathBuf {
    std::fs::read_link("/proc/self/exe").unwrap()
}

/// Sets the executable in each form that a path can have; gives how many children ran it.
#[mp::task]
fn run_by_each_form(path: PathBuf) -> usize {
    use std::os::unix::ffi::OsStrExt;
    let text = path.to_str().unwrap();
    let forms: [&dyn Fn(); 7] = [
        &|| mp::set_executable(text),
        &|| mp::set_executable(String::from(text)),
        &|| mp::set_executable(OsStr::new(text)),
        &|| mp::set_executable(OsString::from(text)),
        &|| mp::set_executable(path.as_path()),
        &|| mp::Context::default().set_executable(&path),
        &|| mp::set_executable(OsStr::from_bytes(text.as_bytes())),
    ];
    let spawn = mp::get_context(mp::StartMethod::Spawn);
    for set in forms {
        mp::set_executable("/nonexistent");
        spawn.process::<own_program>(()).start().unwrap_err();
        set();
        assert_eq!(value(spawn.process::<own_program>(())), path);
    }
    forms.len()
}

#[test]
fn an_executable_is_whatever_is_a_path() {
    let directory = tempfile::tempdir().unwrap();
    let other = directory.path().join("another name ü");
    mpserverd_tests::program::copy(std::env::current_exe().unwrap(), &other);
    let spawn = mp::get_context(mp::StartMethod::Spawn);
    assert_eq!(value(spawn.process::<run_by_each_form>((other,))), 7);
}

fn preload<S: Into<String>>(modules: impl IntoIterator<Item = S>) -> Result<(), ContextError> {
    mp::set_forkserver_preload(modules, mp::OnPreloadError::Ignore)
}

/// What a preload that is refused changes: nothing.
#[mp::task]
fn refuse_to_preload(module: PathBuf) -> String {
    preload([module.to_str().unwrap()]).unwrap();
    for (name, why) in [
        (String::new(), "a module has a name"),
        ("a\0b".to_owned(), "a name has no NUL byte and no line break"),
        ("a\nb".to_owned(), "a name has no NUL byte and no line break"),
        ("x".repeat(4097), "a name has at most 4096 bytes, not 4097"),
    ] {
        let error = preload(["fine", &*name]).unwrap_err();
        assert!(matches!(&error, ContextError::Preload(_, told) if told == why), "{error}");
    }
    let error = preload((0..257).map(|number| number.to_string())).unwrap_err();
    assert_eq!(error.to_string(), "cannot preload \"256\": a template loads at most 256 modules");
    let hello = [serde_json::json!("still loaded")];
    let ctx = mp::get_context(mp::StartMethod::Spawn);
    value(ctx.process_named("misbehave.echo", &hello)).to_string()
}

#[test]
fn a_list_of_modules_is_refused_whole() {
    let module = &mpserverd_tests::build::artifacts().misbehave;
    let spawn = mp::get_context(mp::StartMethod::Spawn);
    let told = value(spawn.process::<refuse_to_preload>((Path::new(module).to_owned(),)));
    assert_eq!(told, "\"still loaded\"");
    preload((0..256).map(|number| number.to_string())).unwrap();
    preload([""; 0]).unwrap();
}
