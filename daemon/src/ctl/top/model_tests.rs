//! Keys and what they do.

use super::super::tests::{model, row_with};
use super::*;

fn press(model: &mut Model, keys: &str) -> Reaction {
    let mut last = Reaction::Nothing;
    for key in keys.chars() {
        let code = match key {
            '\n' => KeyCode::Enter,
            '\x1b' => KeyCode::Esc,
            '↓' => KeyCode::Down,
            '↑' => KeyCode::Up,
            '\x08' => KeyCode::Backspace,
            letter => KeyCode::Char(letter),
        };
        last = model.key(KeyEvent::new(code, KeyModifiers::NONE));
    }
    last
}

fn pids(model: &Model) -> Vec<u32> {
    model.rows().iter().map(|row| row.row.pid).collect()
}

#[test]
fn letters_sort_and_sort_back() {
    let mut model = model();
    press(&mut model, "P");
    assert_eq!(pids(&model), [4001, 4002, 4003]);
    press(&mut model, "P");
    assert_eq!((pids(&model), model.reverse), (vec![4003, 4002, 4001], true));
    press(&mut model, "A");
    assert_eq!((pids(&model)[0], model.reverse), (4003, false), "the oldest first");
    press(&mut model, "V");
    assert_eq!(pids(&model)[0], 4002, "the largest first");
    press(&mut model, "Pr<<<");
    assert_eq!((model.sort, model.reverse), (SortKey::Pid, false), "nothing is left of it");
    press(&mut model, ">>>>>>>>>>>>>>>");
    assert_eq!(model.sort, SortKey::Id);
}

#[test]
fn a_filter_is_typed_kept_and_given_up() {
    let mut model = model();
    press(&mut model, "/RESIZEX\x08");
    assert_eq!((model.filter.as_str(), pids(&model)), ("RESIZE", vec![4001]));
    press(&mut model, "\n");
    assert_eq!(model.mode, Mode::Browse);
    press(&mut model, "/zzz\x1b");
    assert_eq!(model.filter, "RESIZE", "as it was");
    press(&mut model, "\x1b");
    assert_eq!(pids(&model).len(), 3);
    press(&mut model, "/4002\n");
    assert_eq!(pids(&model), [4002]);
}

#[test]
fn a_kill_asks_twice() {
    let mut model = model();
    press(&mut model, "Pk");
    assert!(model.message.as_ref().is_some_and(|said| said.contains("select a worker")));
    press(&mut model, "↓↓k");
    assert!(matches!(&model.mode, Mode::Signal(target, _) if target.pid == 4002));
    press(&mut model, "INT\n");
    assert!(matches!(&model.mode, Mode::Confirm(target, SignalNumber(2)) if target.pid == 4002));
    let worker = model.selected.expect("selected");
    assert_eq!(press(&mut model, "y"), Reaction::Kill(worker, SignalNumber(2)));
    assert_eq!(model.mode, Mode::Browse);
    press(&mut model, "k\n");
    assert!(matches!(&model.mode, Mode::Confirm(_, SignalNumber::TERM)));
    assert_eq!(press(&mut model, "n"), Reaction::Nothing);
    assert_eq!(model.message.as_deref(), Some("nothing was sent"));
    press(&mut model, "kNOPE\n");
    assert!(model.message.as_ref().is_some_and(|said| said.contains("is no signal")));
    assert_eq!(model.mode, Mode::Browse);
}

#[test]
fn who_is_selected_stays_selected_and_on_the_screen() {
    let mut model = model();
    if let Some(sample) = &mut model.sample {
        sample.workers = (1..=100).map(|n| row_with(n, 4000 + n as u32)).collect();
    }
    press(&mut model, "P");
    model.lay_out(10);
    press(&mut model, "↓");
    assert_eq!(model.selected, Some(WorkerId(1)));
    model.key(KeyEvent::new(KeyCode::End, KeyModifiers::NONE));
    model.lay_out(10);
    assert_eq!((model.selected, model.top), (Some(WorkerId(100)), 90));
    assert_eq!(model.shown().len(), 10);
    press(&mut model, "P");
    model.lay_out(10);
    assert_eq!(model.top, 0, "it is the first now");
    for (key, worker) in [(KeyCode::End, 1), (KeyCode::Home, 100), (KeyCode::PageUp, 1)] {
        model.selected = None;
        model.key(KeyEvent::new(key, KeyModifiers::NONE));
        assert_eq!(model.selected, Some(WorkerId(worker)), "{key:?}, with none selected before");
    }
    model.selected = Some(WorkerId(100));
    if let Some(sample) = &mut model.sample {
        sample.workers.truncate(3);
    }
    model.lay_out(10);
    press(&mut model, "↑");
    assert_eq!(model.selected, Some(WorkerId(1)), "who is gone is not selected any more");
}

#[test]
fn quit_suspend_and_look() {
    let mut model = model();
    assert_eq!(press(&mut model, "q"), Reaction::Quit);
    let control = |letter| KeyEvent::new(KeyCode::Char(letter), KeyModifiers::CONTROL);
    assert_eq!(model.key(control('c')), Reaction::Quit);
    assert_eq!(model.key(control('z')), Reaction::Suspend);
    assert_eq!((press(&mut model, "s"), model.spares), (Reaction::Look, true));
    press(&mut model, "?");
    assert_eq!(model.mode, Mode::Help);
    assert_eq!((press(&mut model, "q"), model.mode.clone()), (Reaction::Nothing, Mode::Browse));
}

#[test]
fn a_problem_leaves_what_is_known_on_the_screen() {
    let mut model = model();
    model.take(Err("lost".into()));
    assert!(model.sample.is_some() && model.problem.as_deref() == Some("lost"));
}
