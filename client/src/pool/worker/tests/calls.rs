//! Frames go there and outcomes come back.

use super::*;
use mpserverd_proto::codec as wire;
use mpserverd_proto::error::JobError;
use mpserverd_proto::job::Panic;

#[test]
fn one_item_after_the_other() {
    let (mut office, end) = Office::open();
    let worker = start(end);
    office.ready();
    for x in 0..1000u64 {
        let frame = office.send(Number::Square, x);
        let outcomes = office.outcomes(frame, 1);
        assert_eq!(outcomes[0].0, Tag::Returned);
        assert_eq!(value::<u64>(&outcomes[0].1), x * x);
    }
    office.channel.retire();
    assert!(matches!(worker.join(), Ok(Outcome::Returned)));
}

#[test]
fn many_frames_at_once_are_answered_in_order() {
    let (mut office, end) = Office::open();
    let worker = start(end);
    office.ready();
    let frames = (0..5000u64).map(|x| office.push(Number::Square, 1, &args(&(x,)), &[]));
    let frames = frames.collect::<Vec<_>>();
    office.channel.retire(); // publishes, and the worker ends behind them
    for (x, frame) in (0u64..).zip(frames) {
        let outcomes = office.outcomes(frame, 1);
        assert_eq!(value::<u64>(&outcomes[0].1), x * x);
    }
    assert!(matches!(worker.join(), Ok(Outcome::Returned)));
}

#[test]
fn every_item_of_a_chunk_has_its_own_outcome() {
    let (mut office, end) = Office::open();
    let worker = start(end);
    office.ready();
    let mut items = (10..20u64).map(|x| args(&(x,))).collect::<Vec<_>>();
    items[5] = vec![1, 2];
    let frame = office.push(Number::Panics, 10, &chunk(&items), &[]);
    office.channel.publish();
    for (x, (tag, bytes)) in (10u64..).zip(office.outcomes(frame, 10)) {
        match x {
            13 => {
                assert_eq!(tag, Tag::Panicked);
                let panic = wire::decode::<Panic>(&bytes).expect("a panic");
                assert_eq!(panic.message, "unlucky 13");
            }
            15 => {
                assert_eq!(tag, Tag::Rejected);
                let error = wire::decode::<JobError>(&bytes).expect("an error");
                assert!(matches!(error, JobError::BadArguments { .. }), "{error}");
            }
            _ => assert_eq!((tag, value::<u64>(&bytes)), (Tag::Returned, x)),
        }
    }
    let items = [args(&(-5i64,)), args(&(5i64,))];
    let frame = office.push(Number::Checked, 2, &chunk(&items), &[]);
    office.channel.publish();
    let outcomes = office.outcomes(frame, 2);
    assert_eq!(
        (outcomes[0].0, value::<String>(&outcomes[0].1)),
        (Tag::Failed, "-5 is negative".into())
    );
    assert_eq!((outcomes[1].0, value::<i64>(&outcomes[1].1)), (Tag::Returned, 5));
    office.channel.retire();
    assert!(worker.join().is_ok());
}

#[test]
fn lengths_that_do_not_add_up_hurt_the_frame_only() {
    let (mut office, end) = Office::open();
    let _worker = start(end);
    office.ready();
    let frame = office.push(Number::Square, 3, &chunk(&[args(&(2u64,))]), &[]);
    office.channel.publish();
    let outcomes = office.outcomes(frame, 3);
    assert_eq!(
        outcomes.iter().map(|o| o.0).collect::<Vec<_>>(),
        [Tag::Returned, Tag::Rejected, Tag::Rejected]
    );
    let frame = office.send(Number::Square, 3);
    assert_eq!(value::<u64>(&office.outcomes(frame, 1)[0].1), 9);
    office.channel.retire();
}

#[test]
fn what_a_worker_does_not_know_is_rejected() {
    let (mut office, end) = Office::open();
    let _worker = start(end);
    office.ready();
    office.channel.define(99, "no_such_task", UNCHECKED, Codec::Bincode);
    let body = args(&(1u64,));
    let frame = Frame { task: 99, count: 1, body: &body, fds: &[] };
    let frame = office.channel.push(&frame).expect("taken");
    office.channel.publish();
    let outcomes = office.outcomes(frame, 1);
    let error = wire::decode::<JobError>(&outcomes[0].1).expect("an error");
    assert!(matches!(error, JobError::UnknownTask { .. }), "{error}");
    let undefined = Frame { task: 98, count: 1, body: &body, fds: &[] };
    assert!(matches!(office.channel.push(&undefined), Err(PushError::System(_))));
    office.channel.retire();
}

#[test]
fn json_goes_there_and_back() {
    let (mut office, end) = Office::open();
    let _worker = start(end);
    office.ready();
    office.channel.define(50, "Checked", UNCHECKED, Codec::Json);
    let body = chunk(&[b"[4]".to_vec(), b"[-4]".to_vec(), b"[4, 4]".to_vec()]);
    let frame = Frame { task: 50, count: 3, body: &body, fds: &[] };
    let frame = office.channel.push(&frame).expect("taken");
    office.channel.publish();
    let outcomes = office.outcomes(frame, 3);
    assert_eq!(outcomes[0], (Tag::Returned, b"4".to_vec()));
    assert_eq!(outcomes[1], (Tag::Failed, b"\"-4 is negative\"".to_vec()));
    assert_eq!(outcomes[2].0, Tag::Rejected);
    office.channel.retire();
}

/// The same outcomes from tasks that are called as those of a module.
#[test]
fn tasks_of_modules() {
    static REGISTRY: std::sync::OnceLock<Registry> = std::sync::OnceLock::new();
    let (mut office, end) = Office::open();
    let worker = start_with(end, REGISTRY.get_or_init(|| Registry::of_exports(TASKS)));
    office.ready();
    let items = [12u64, 13, 14].map(|x| args(&(x,)));
    let frame = office.push(Number::Panics, 3, &chunk(&items), &[]);
    office.channel.publish();
    let outcomes = office.outcomes(frame, 3);
    assert_eq!(outcomes[0], (Tag::Returned, args(&12u64)));
    assert_eq!(wire::decode::<Panic>(&outcomes[1].1).expect("a panic").message, "unlucky 13");
    assert_eq!(outcomes[2], (Tag::Returned, args(&14u64)));
    let items = [args(&(-5i64,)), vec![1], args(&(5i64,))];
    let frame = office.push(Number::Checked, 3, &chunk(&items), &[]);
    office.channel.publish();
    let outcomes = office.outcomes(frame, 3);
    assert_eq!(outcomes[0], (Tag::Failed, args(&"-5 is negative")));
    assert_eq!(outcomes[1].0, Tag::Rejected);
    assert_eq!(outcomes[2], (Tag::Returned, args(&5i64)));
    // Descriptors go there and come back.
    let parcel = Parcel::pack(Codec::Bincode, &(pipe_with("four"),)).expect("encodes");
    let frame = office.push(Number::Counts, 1, &parcel.bytes, &parcel.fds);
    office.push(Number::Pipes, 1, &args(&("x",)), &[]);
    office.channel.publish();
    assert_eq!(value::<u64>(&office.outcomes(frame, 1)[0].1), 4);
    assert_eq!(office.next().fds.len(), 1);
    office.channel.retire();
    assert!(matches!(worker.join(), Ok(Outcome::Returned)));
}

#[test]
fn bodies_of_any_size() {
    let (mut office, end) = Office::open();
    let _worker = start(end);
    office.ready();
    for length in [0, 1, 4095, 32 << 10, 1 << 20, 9 << 20, 20 << 20] {
        let text = "x".repeat(length);
        let frame = office.push(Number::Echo, 1, &args(&(&text,)), &[]);
        office.channel.publish();
        let outcomes = office.outcomes(frame, 1);
        assert_eq!(outcomes[0].0, Tag::Returned);
        assert!(value::<String>(&outcomes[0].1) == text, "{length}");
    }
    office.channel.retire();
}

#[test]
fn a_full_inbox_says_so_and_a_full_outbox_waits() {
    let (mut office, end) = Office::open();
    let _worker = start(end);
    office.ready();
    let length = 4u64 << 20;
    let big = args(&("x".repeat(length as usize),));
    let mut frames = Vec::new();
    let mut since = Instant::now();
    // Until nothing moves any more: the worker waits for room in the outbox.
    while since.elapsed() < Duration::from_millis(300) {
        let frame = Frame { task: Number::Echo as u32, count: 1, body: &big, fds: &[] };
        match office.channel.push(&frame) {
            Ok(frame) => {
                frames.push(frame);
                office.channel.publish();
                since = Instant::now();
            }
            Err(PushError::Full) => std::thread::sleep(Duration::from_millis(1)),
            Err(error) => panic!("{error}"),
        }
    }
    // Both rings have 64 MiB.
    assert!((25..33).contains(&frames.len()), "{}", frames.len());
    for frame in frames {
        assert_eq!(office.outcomes(frame, 1)[0].1.len() as u64, length + 8);
    }
    office.channel.retire();
}

fn pipe_with(text: &str) -> SharedFd {
    let (read, write) = crate::sys::fd::pipe().expect("pipe");
    std::fs::File::from(write).write_all(text.as_bytes()).expect("room");
    read.into()
}

#[test]
fn descriptors_go_there_and_back() {
    let (mut office, end) = Office::open();
    let _worker = start(end);
    office.ready();
    let pipes = ["one", "three", "seventeen"].map(pipe_with);
    let parcels = pipes.map(|pipe| Parcel::pack(Codec::Bincode, &(pipe,)).expect("encodes"));
    let [one, ..] = &parcels;
    let frame = office.push(Number::Counts, 1, &one.bytes, &one.fds);
    office.channel.publish();
    assert_eq!(value::<u64>(&office.outcomes(frame, 1)[0].1), 3);
    // A chunk whose items have handles that refer to the descriptors of the frame.
    let texts = ["a", "bb", "ccc"];
    let (bodies, fds) =
        crate::handles::collect(|| texts.map(|text| args(&(pipe_with(text),))).to_vec());
    assert_eq!(fds.len(), 3);
    let frame = office.push(Number::Counts, 3, &chunk(&bodies), &fds);
    drop(fds);
    office.channel.publish();
    let lengths = office.outcomes(frame, 3);
    assert_eq!(lengths.iter().map(|o| value::<u64>(&o.1)).collect::<Vec<_>>(), [1, 2, 3]);
    // Each result with descriptors comes by itself.
    let bodies = texts.map(|text| args(&(text,)));
    let frame = office.push(Number::Pipes, 3, &chunk(&bodies), &[]);
    office.channel.publish();
    for (at, text) in (0..).zip(texts) {
        let answer = office.next();
        assert_eq!((answer.frame, answer.first, answer.count), (frame, at, 1));
        let bytes = answer.items().next().expect("one").1.to_vec();
        let parcel = Parcel { bytes, fds: answer.fds.clone() };
        let mut pipe = parcel.unpack::<Passed<std::fs::File>>(Codec::Bincode).expect("decodes");
        let mut got = String::new();
        pipe.read_to_string(&mut got).expect("readable");
        assert_eq!(got, text);
    }
    office.channel.retire();
}

#[test]
fn slow_items_are_shown_before_the_chunk_is_done() {
    let (mut office, end) = Office::open();
    let _worker = start(end);
    office.ready();
    let items = [3u64, 3, 3, 400].map(|millis| args(&(millis,)));
    let begun = Instant::now();
    let frame = office.push(Number::Sleeps, 4, &chunk(&items), &[]);
    office.channel.publish();
    let answer = office.next();
    assert!(answer.frame == frame && answer.first == 0 && answer.count < 4);
    let early = answer.count;
    let progress = office.channel.progress();
    assert!(progress.running && progress.frame == frame && progress.item >= early, "{progress:?}");
    let mut seen = early;
    while seen < 4 {
        let answer = office.next();
        assert_eq!(answer.first, seen);
        seen += answer.count;
    }
    assert!(begun.elapsed() >= Duration::from_millis(400));
    while office.channel.progress().running {
        assert!(begun.elapsed() < PATIENCE);
        std::thread::yield_now();
    }
    office.channel.retire();
}

#[test]
fn the_event_tells_who_watches() {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let (mut office, end) = Office::open();
    let worker = start(end);
    office.ready();
    let readable = |office: &Office, millis: u16| {
        let mut fds = [PollFd::new(office.desk.event(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::from(millis)).expect("poll") > 0
    };
    assert!(!readable(&office, 0));
    for _ in 0..100 {
        office.desk.watch(true);
        let frame = office.send(Number::Square, 5);
        assert!(readable(&office, 30_000));
        office.desk.settle();
        assert!(!readable(&office, 0));
        let mut ready = Vec::new();
        office.desk.take_ready(|number| ready.push(number));
        assert_eq!(ready, [65]);
        office.desk.watch(false);
        office.outcomes(frame, 1);
    }
    office.channel.retire();
    assert!(worker.join().is_ok());
}

#[test]
fn places_are_counted() {
    let desk = Desk::new(2).expect("desk");
    assert!(Channel::open(&desk, 1).is_ok() && Channel::open(&desk, 2).is_err());
    assert!(Desk::new(1024).is_ok() && Desk::new(1025).is_err());
}

#[test]
fn a_task_learns_that_it_is_not_wanted() {
    let (mut office, end) = Office::open();
    let mut played = play(end);
    let running = Running::new(played.memory.state.clone());
    let frame = office.send(Number::Square, 1);
    let head = played.begin().expect("sent");
    running.set(head.frame);
    assert!(!running.is_asked_to_stop());
    office.channel.ask_to_stop(frame + 1);
    assert!(!running.is_asked_to_stop());
    office.channel.ask_to_stop(frame);
    assert!(running.is_asked_to_stop());
    running.set(0);
    assert!(!running.is_asked_to_stop());
}
