//! Tests of the board: honest, torn, and hostile slots.

use super::*;
use std::sync::atomic::AtomicBool;

const W: WorkerId = WorkerId(7);

fn entry<'a>(task: &'a str, name: &'a str) -> Entry<'a> {
    Entry { task, name, trace: Some(TraceId(0xabc << 64 | 5)), began_ms: 1_700_000_000_000 }
}

#[test]
fn what_is_written_is_read() {
    let board = Board::new(4).expect("board");
    let place = board.assign(3, W).expect("slot");
    assert_eq!(board.read(3, W), Some(LastWords::default()), "assigned, and silent");
    place.write(&entry("thumbs::resize", "Process-1"));
    let words = board.read(3, W).expect("words");
    assert_eq!((words.task.as_str(), words.name.as_str()), ("thumbs::resize", "Process-1"));
    assert_eq!(words.trace, Some(TraceId(0xabc << 64 | 5)));
    assert_eq!((words.began_ms, words.foreseen, words.finished), (1_700_000_000_000, None, false));
    place.foresee(Foreseen::ClientGone);
    place.finish();
    let words = board.read(3, W).expect("words");
    assert_eq!((words.foreseen, words.finished), (Some(Foreseen::ClientGone), true));
    place.foresee(Foreseen::Deadline);
    assert_eq!(place.read().expect("words").foreseen, Some(Foreseen::Deadline));
    assert_eq!(board.read(3, WorkerId(8)), None, "the slot of another");
    assert_eq!((board.read(4, W), board.read(u32::MAX, W)), (None, None), "no such slots");
}

#[test]
fn a_slot_that_is_reused_tells_nothing_of_its_last_owner() {
    let board = Board::new(1).expect("board");
    let place = board.assign(0, W).expect("slot");
    place.write(&entry("secret", "x"));
    place.foresee(Foreseen::Deadline);
    board.assign(0, WorkerId(8)).expect("slot");
    assert_eq!(board.read(0, W), None);
    assert_eq!(board.read(0, WorkerId(8)), Some(LastWords::default()));
}

#[test]
fn long_names_are_cut_where_a_character_ends() {
    let board = Board::new(1).expect("board");
    let place = board.assign(0, W).expect("slot");
    let long = "ä".repeat(300) + "::task";
    place.write(&entry(&long, &long));
    let words = board.read(0, W).expect("words");
    assert!(words.task.ends_with("ä::task") && words.task.len() <= TASK_BYTES_MAX);
    assert!(words.name.starts_with('ä') && words.name.len() <= NAME_BYTES_MAX);
}

#[test]
fn only_boards_are_taken_for_boards() {
    let board = Board::new(2).expect("board");
    let again = Board::of(board.fd().try_clone_to_owned().expect("dup")).expect("the same");
    assert_eq!(again.slots(), 2);
    let null = std::fs::File::open("/dev/null").expect("null");
    assert!(Board::of(null.into()).is_err());
    let file = nix::sys::memfd::memfd_create(c"loose", nix::sys::memfd::MFdFlags::MFD_CLOEXEC);
    let file = file.expect("memfd");
    nix::unistd::ftruncate(&file, 4096).expect("length");
    assert!(Board::of(file).is_err(), "it could shrink");
    let huge = sealed_memory(SLOTS_MAX as usize * PLACE_BYTES + 512).expect("memfd");
    assert!(Board::of(huge).is_err());
    assert!(Board::of(sealed_memory(100).expect("memfd")).expect("small").read(0, W).is_none());
}

/// Whoever died between two instructions leaves an odd number, and nobody waits for him.
#[test]
fn a_writer_that_died_in_the_middle_says_nothing() {
    let board = Board::new(1).expect("board");
    let place = board.assign(0, W).expect("slot");
    place.write(&entry("task", "name"));
    place.slot.sequence.fetch_add(1, Relaxed);
    place.foresee(Foreseen::Deadline);
    let words = board.read(0, W).expect("words");
    assert_eq!((words.task.as_str(), words.foreseen), ("", Some(Foreseen::Deadline)));
}

#[test]
fn hostile_slots_are_strange_values_and_nothing_worse() {
    let board = Board::new(1).expect("board");
    let place = board.assign(0, W).expect("slot");
    let slot = &*place.slot;
    let mut state = 5u64;
    let mut random = move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state ^ (state >> 29)
    };
    let (mut read, mut silent) = (0, 0);
    for round in 0..20_000 {
        let mut words = Words {
            began_ms: random(),
            trace: [random(), 0],
            lengths: if round % 2 == 0 { random() } else { random() % 260 },
            text: std::array::from_fn(|_| random()),
        };
        if round % 3 == 0 {
            words.text = [u64::from_ne_bytes(*b"harmless"); 24];
        }
        slot.began_ms.store(words.began_ms, Relaxed);
        slot.trace[0].store(words.trace[0], Relaxed);
        slot.trace[1].store(0, Relaxed);
        slot.lengths.store(words.lengths, Relaxed);
        slot.text.iter().zip(words.text).for_each(|(at, word)| at.store(word, Relaxed));
        slot.flags.store(random() as u32, Relaxed);
        // A liar knows how to make a checksum.
        let check = if round % 5 == 0 { random() } else { words.check(W.0) };
        slot.check.store(check, Relaxed);
        slot.sequence.store(2 + 2 * (random() % 8) as u32, Relaxed);
        let words = board.read(0, W).expect("it is the worker's slot");
        assert!(words.task.len() <= TASK_BYTES_MAX && words.name.len() <= TEXT_BYTES);
        *(if words.task.is_empty() { &mut silent } else { &mut read }) += 1;
    }
    assert!(read > 100 && silent > 100, "{read} {silent}");
}

/// One thread writes all the time; whatever another reads was written in one piece.
#[test]
fn nothing_that_is_read_is_torn() {
    let board = Board::new(1).expect("board");
    let place = board.assign(0, W).expect("slot");
    let done = AtomicBool::new(false);
    let texts = ["a".repeat(120), "b".repeat(7), "c".repeat(60), "d".repeat(128)];
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for at in (0..texts.len()).cycle() {
                let trace = Some(TraceId(at as u128 + 1));
                let (task, began_ms) = (texts[at].as_str(), at as u64);
                place.write(&Entry { task, name: task, trace, began_ms });
                if done.load(Relaxed) {
                    return;
                }
            }
        });
        let mut seen = 0;
        for _ in 0..200_000 {
            let words = board.read(0, W).expect("it is the worker's slot");
            if words.task.is_empty() {
                continue;
            }
            seen += 1;
            let at = words.began_ms as usize;
            assert_eq!(words.task, texts[at]);
            assert_eq!(words.trace, Some(TraceId(at as u128 + 1)));
        }
        done.store(true, Relaxed);
        assert!(seen > 0, "never read anything");
    });
}

#[test]
fn a_worker_of_a_pool_runs_one_task_after_another() {
    let board = Board::new(1).expect("board");
    let place = board.assign(0, W).expect("slot");
    place.turn_to("too early", 0);
    assert_eq!(board.read(0, W), Some(LastWords::default()));
    place.write(&entry("mp.pool.worker", "Pool-1"));
    for round in 1..4 {
        place.turn_to("thumbs::resize", u64::from(round));
        place.next_round();
        let words = board.read(0, W).expect("words");
        assert_eq!((words.round, words.finished, words.began_ms), (round, false, round.into()));
        assert_eq!((words.task.as_str(), words.name.as_str()), ("thumbs::resize", "Pool-1"));
        place.finish();
        assert!(board.read(0, W).expect("words").finished);
    }
    place.foresee(Foreseen::ClientGone);
    place.next_round();
    let words = board.read(0, W).expect("words");
    assert_eq!((words.round, words.foreseen), (4, Some(Foreseen::ClientGone)));
}

#[test]
fn a_job_clears_what_others_have_scribbled() {
    let board = Board::new(1).expect("board");
    let place = board.assign(0, W).expect("slot");
    place.slot.worker.store(99, Relaxed);
    place.slot.flags.store(u32::MAX, Relaxed);
    place.slot.sequence.store(u32::MAX, Relaxed);
    place.write(&entry("task", "name"));
    let words = board.read(0, W).expect("words");
    assert_eq!((words.task.as_str(), words.foreseen, words.round), ("task", None, 0));
    assert!(!words.finished && words.peak_private_kib.is_none());
}

#[test]
fn a_panic_leaves_word_and_the_next_worker_nothing_of_it() {
    let board = Board::new(3).expect("board");
    let place = board.assign(1, W).expect("slot");
    place.write(&entry("task", "name"));
    assert_eq!(board.read(1, W).expect("words").panic, None);
    place.note_panic("index out of bounds");
    assert_eq!(board.read(1, W).expect("words").panic.as_deref(), Some("index out of bounds"));
    place.note_panic(&"ö".repeat(500));
    let long = place.read().expect("words").panic.expect("a text");
    assert!(long.chars().all(|c| c == 'ö') && long.len() == 232, "{}", long.len());
    let next = board.assign(1, WorkerId(8)).expect("slot");
    assert_eq!(next.read().expect("words").panic, None);
    next.slot.flags.store(flag::PANICKED, Relaxed);
    assert_eq!(next.read().expect("words").panic, None, "it is another's");
    assert_eq!(board.read(0, W), None);
}

/// Whatever stands there, it is a text or nothing, and who died amid it keeps nobody from writing.
#[test]
fn hostile_partings_are_strange_texts_and_nothing_worse() {
    let board = Board::new(1).expect("board");
    let place = board.assign(0, W).expect("slot");
    let mut state = 9u64;
    for round in 0..20_000 {
        for at in 0..32 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let word: View<AtomicU64> = View::new(&board.mapping, 256 + at * 8).expect("in it");
            word.store(state ^ (state >> 31), Relaxed);
        }
        place.slot.flags.store(flag::PANICKED, Relaxed);
        let _ = place.read().expect("it is the worker's slot").panic;
        if round % 100 == 0 {
            place.note_panic("mine");
            assert_eq!(place.read().expect("words").panic.as_deref(), Some("mine"));
        }
    }
}

/// Threads that panic at once leave one text, whole.
#[test]
fn partings_are_never_torn() {
    let board = Board::new(1).expect("board");
    let place = board.assign(0, W).expect("slot");
    place.note_panic("first");
    std::thread::scope(|scope| {
        for letter in ["a", "b", "c"] {
            let place = place.clone();
            scope.spawn(move || {
                (0..20_000).for_each(|at| place.note_panic(&letter.repeat(at % 232)))
            });
        }
        for _ in 0..50_000 {
            let Some(text) = board.read(0, W).and_then(|words| words.panic) else { continue };
            let first = text.chars().next();
            let is_whole = text == "first" || text.chars().all(|c| Some(c) == first);
            assert!(is_whole, "{text}");
        }
    });
}
