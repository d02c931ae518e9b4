//! States with a `run`: what a subclass of `Process` is in Python.

use mpserverd_tests::suite;
use mpserverd_tests::suite::{end, outcome, value};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Puts its words into a queue, in capitals: it has more than arguments.
#[derive(Debug, Serialize, Deserialize)]
struct Shouter {
    words: Vec<String>,
    to: mp::Queue<String>,
}

/// Shouts.
///
/// Not more.
#[mp::task]
impl mp::Runnable for Shouter {
    type Output = usize;

    fn run(self) -> Self::Output {
        let loud = self.words.iter().map(|word| word.to_uppercase());
        loud.map(|word| self.to.put(&word).unwrap()).count()
    }
}

/// Comes to whatever it is told.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Fate {
    Succeed,
    Fail,
    Panic,
}

#[mp::task]
impl mp::Runnable for Fate {
    type Output = Result<Self, String>;

    /// The first line of this is its documentation.
    fn run(self) -> Result<Self, String> {
        match self {
            Self::Succeed => Ok(self),
            Self::Fail => Err("failed as asked".to_owned()),
            Self::Panic => panic!("panicked as asked"),
        }
    }
}

/// A state may be a type with arguments, as long as those are given.
#[derive(Serialize, Deserialize)]
struct Reader<T>(T);

#[mp::task]
impl mp::Runnable for Reader<std::path::PathBuf> {
    type Output = std::io::Result<String>;

    fn run(self) -> Self::Output {
        std::fs::read_to_string(self.0)
    }
}

/// Two of one name, in different modules.
mod other {
    #[derive(serde::Serialize, serde::Deserialize)]
    pub(super) struct Fate(pub(super) u8);

    #[mp::task]
    impl mp::Runnable for Fate {
        type Output = (u8, String);

        fn run(self) -> (u8, String) {
            (self.0, mp::current_process().name().to_owned())
        }
    }
}

suite![
    a_state_runs_in_the_child,
    what_it_comes_to_is_told,
    it_has_all_options_of_a_process,
    it_is_a_task_like_any_other,
];

fn a_state_runs_in_the_child(ctx: &mp::Context) {
    let to = ctx.queue().unwrap();
    let words = ["a", "bc"].map(str::to_owned).to_vec();
    let process = ctx.start(Shouter { words, to: to.clone() }).unwrap();
    assert_eq!(outcome(&process).unwrap(), 2);
    assert_eq!(end(&process), 0);
    assert_eq!([to.get().unwrap(), to.get().unwrap()], ["A", "BC"]);
}

fn what_it_comes_to_is_told(ctx: &mp::Context) {
    assert_eq!(value(ctx.process_of(Fate::Succeed)), Ok(Fate::Succeed));
    let failed = ctx.start(Fate::Fail).unwrap();
    assert_eq!(outcome(&failed).unwrap(), Err("failed as asked".to_owned()));
    assert_eq!(end(&failed), 1);
    let panicked = ctx.process_of(Fate::Panic).stderr(mp::Stream::Null).start().unwrap();
    match outcome(&panicked) {
        Err(mp::ProcessError::Panicked(panic)) => {
            assert_eq!(panic.message, "panicked as asked");
            assert!(panic.location.unwrap().contains("states.rs"));
        }
        other => panic!("{other:?}"),
    }
    let missing = value(ctx.process_of(Reader("/no/such/file".into())));
    assert_eq!(missing.unwrap_err().kind(), std::io::ErrorKind::NotFound);
}

fn it_has_all_options_of_a_process(ctx: &mp::Context) {
    let process = ctx.process_of(other::Fate(3)).name("fate").daemon(true).authkey(*b"its own");
    let process = process.start().unwrap();
    assert!(process.daemon());
    assert_eq!((&*process.name(), process.authkey()), ("fate", &b"its own"[..]));
    assert_eq!(outcome(&process).unwrap(), (3, "fate".to_owned()));
}

fn it_is_a_task_like_any_other(ctx: &mp::Context) {
    use mp::Task;
    assert_eq!(Shouter::NAME, concat!(module_path!(), "::Shouter"));
    assert_eq!((Shouter::SIGNATURE, Shouter::DOC), ("(self: Shouter) -> usize", "Shouts."));
    assert_eq!(Fate::SIGNATURE, "(self: Fate) -> Result<Self, String>");
    assert_eq!(Fate::DOC, "The first line of this is its documentation.");
    assert_eq!(value(ctx.process::<other::Fate>((other::Fate(4),))).0, 4);
    let named = ctx.process_named("other::Fate", &[json!(5)]).name("by name");
    assert_eq!(value(named), json!([5, "by name"]));
}
