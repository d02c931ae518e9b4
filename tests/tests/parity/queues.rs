//! Queues, as queues.py tries them.

use mp::{GetError, JoinableQueue, Producer, PutError, Queue, SimpleQueue};
use mpserverd_tests::parity::{Difference, alone, compare};
use mpserverd_tests::suite::{PATIENCE, end};
use nix::sys::signal::{Signal, raise};
use std::path::Path;
use std::time::Duration;

const SOON: Duration = Duration::from_millis(100);

const DIFFERENCES: [Difference; 9] = [
    Difference {
        name: "empty_right_after_put",
        theirs: "sometimes true",
        ours: "never true",
        why: "an item is visible when put returns; there is no feeder thread",
    },
    Difference {
        name: "put_of_what_cannot_be_serialised",
        theirs: "None",
        ours: "Encode",
        why: "put serialises, and gives the error to who can do something about it (#79423)",
    },
    Difference {
        name: "put_closed",
        theirs: "ValueError",
        ours: "Closed",
        why: "an error of its own, which names the queue",
    },
    Difference {
        name: "get_closed",
        theirs: "ValueError",
        ours: "Closed",
        why: "an error of its own, which names the queue",
    },
    Difference {
        name: "simple_empty_closed",
        theirs: "OSError",
        ours: "Closed",
        why: "an error of its own, which names the queue",
    },
    Difference {
        name: "task_done_too_often",
        theirs: "ValueError",
        ours: "TooManyTasksDone",
        why: "an error of its own, which names the queue",
    },
    Difference {
        name: "task_done_again",
        theirs: "ValueError",
        ours: "TooManyTasksDone",
        why: "an error of its own, which names the queue",
    },
    Difference {
        name: "get_after_the_only_producer_died",
        theirs: "Empty",
        ours: "ProducersGone",
        why: "nobody waits for who will never come (#87971)",
    },
    Difference {
        name: "exit_before_anybody_gets",
        theirs: "None",
        ours: "0",
        why: "what was put keeps nobody from exiting (#73983, #91594)",
    },
];

fn put<R>(result: Result<R, PutError>) -> String {
    match result {
        Ok(_) => "None".to_owned(),
        Err(PutError::Full { .. }) => "Full".to_owned(),
        Err(PutError::Closed { .. }) => "Closed".to_owned(),
        Err(PutError::Encode { .. }) => "Encode".to_owned(),
        Err(other) => other.to_string(),
    }
}

fn got<R: ToString>(result: Result<R, GetError>) -> String {
    match result {
        Ok(item) => item.to_string(),
        Err(GetError::Empty { .. }) => "Empty".to_owned(),
        Err(GetError::Closed { .. }) => "Closed".to_owned(),
        Err(GetError::ProducersGone { .. }) => "ProducersGone".to_owned(),
        Err(other) => other.to_string(),
    }
}

fn truth(value: bool) -> String {
    if value { "True" } else { "False" }.to_owned()
}

#[mp::task]
fn produce(queue: Producer<u32>, count: u32) {
    for number in 0..count {
        queue.put(&number).unwrap();
    }
}

#[mp::task]
fn die(queue: Producer<u32>) {
    queue.put(&1).unwrap();
    raise(Signal::SIGKILL).unwrap();
}

#[mp::task]
fn put_and_exit(queue: Producer<Vec<u8>>) {
    queue.put(&vec![b'x'; 1_000_000]).unwrap();
}

/// Cannot be serialised if it says so.
#[derive(serde::Deserialize)]
struct Fussy(bool);

impl serde::Serialize for Fussy {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 {
            return Err(serde::ser::Error::custom("not this one"));
        }
        serializer.serialize_bool(self.0)
    }
}

type Outcomes = Vec<(&'static str, String)>;

fn test_put(say: &mut Outcomes) {
    let queue = Queue::<u32>::bounded(6).unwrap();
    (0..6).for_each(|number| queue.put(&number).unwrap());
    say.push(("put_nowait_full", put(queue.put_nowait(&7))));
    say.push(("put_timeout_full", put(queue.put_with(&7, true, Some(SOON)))));
    let without_block = queue.put_with(&7, false, Some(1000 * SOON));
    say.push(("put_timeout_without_block_full", put(without_block)));
    say.push(("full", truth(queue.full())));
}

fn test_get(say: &mut Outcomes) {
    let queue = Queue::<u32>::new().unwrap();
    (0..5).for_each(|number| queue.put(&number).unwrap());
    let items = [
        queue.get_with(true, None).unwrap(),
        queue.get().unwrap(),
        queue.get_timeout(PATIENCE).unwrap(),
        queue.get_with(false, None).unwrap(),
        queue.get_nowait().unwrap(),
    ];
    say.push(("get_in_order", format!("{items:?}")));
    say.push(("get_nowait_empty", got(queue.get_nowait())));
    say.push(("get_timeout_empty", got(queue.get_with(true, Some(SOON)))));
    say.push(("empty", truth(queue.empty())));
}

fn test_visible(say: &mut Outcomes) {
    let queue = Queue::<u32>::new().unwrap();
    let misses = (0..2000).filter(|number| {
        queue.put(number).unwrap();
        let missed = queue.empty();
        queue.get().unwrap();
        missed
    });
    let text = if misses.count() > 0 { "sometimes true" } else { "never true" };
    say.push(("empty_right_after_put", text.to_owned()));
}

fn test_qsize(say: &mut Outcomes) {
    let queue = Queue::<u32>::new().unwrap();
    let mut sizes = vec![queue.qsize()];
    for item in [1, 5] {
        queue.put(&item).unwrap();
        sizes.push(queue.qsize());
    }
    for _ in 0..2 {
        queue.get().unwrap();
        sizes.push(queue.qsize());
    }
    say.push(("qsize", format!("{sizes:?}")));
}

fn test_task_done(say: &mut Outcomes) {
    let queue = JoinableQueue::<u32>::new().unwrap();
    let done = || match queue.task_done() {
        Ok(()) => "None".to_owned(),
        Err(mp::TooManyTasksDone { .. }) => "TooManyTasksDone".to_owned(),
    };
    say.push(("task_done_too_often", done()));
    queue.put(&1).unwrap();
    queue.get().unwrap();
    queue.task_done().unwrap();
    queue.join().unwrap();
    say.push(("join_when_done", "None".to_owned()));
    say.push(("task_done_again", done()));
}

fn test_queue_feeder_donot_stop_onexc(say: &mut Outcomes) {
    let queue = Queue::<Fussy>::bounded(1).unwrap();
    say.push(("put_of_what_cannot_be_serialised", put(queue.put(&Fussy(true)))));
    queue.put(&Fussy(false)).unwrap();
    let item = queue.get_timeout(PATIENCE).map(|item| truth(!item.0));
    say.push(("item_after_it", got(item)));
}

fn test_closed(say: &mut Outcomes) {
    let queue = Queue::<u32>::new().unwrap();
    queue.close();
    say.push(("put_closed", put(queue.put(&1))));
    say.push(("get_closed", got(queue.get())));
    queue.close();
    say.push(("close_twice", "None".to_owned()));
    let simple = SimpleQueue::<u32>::new().unwrap();
    simple.close();
    say.push(("simple_empty_closed", got(simple.empty())));
    simple.close();
    say.push(("simple_close_twice", "None".to_owned()));
}

fn test_empty(say: &mut Outcomes) {
    let simple = SimpleQueue::<bool>::new().unwrap();
    let mut states = vec![simple.empty().unwrap()];
    simple.put(&true).unwrap();
    let item = |_| simple.get().unwrap();
    states.extend([simple.empty().unwrap(), item(()), simple.empty().unwrap()]);
    let states = states.into_iter().map(truth).collect::<Vec<_>>().join(", ");
    say.push(("simple_empty", format!("[{states}]")));
}

fn test_processes(ctx: &mp::Context, say: &mut Outcomes) {
    let (producer, consumer) = Queue::<u32>::new().unwrap().split();
    let start = |_| ctx.process::<produce>((producer.clone(), 50)).start().unwrap();
    let children = (0..3).map(start).collect::<Vec<_>>();
    let total = (0..150).map(|_| consumer.get_timeout(PATIENCE).unwrap()).sum::<u32>();
    children.iter().for_each(|child| assert_eq!(end(child), 0));
    say.push(("sum_of_three_producers", total.to_string()));
}

fn test_join_before_get(ctx: &mp::Context, say: &mut Outcomes) {
    let (producer, consumer) = Queue::new().unwrap().split();
    let child = ctx.process::<put_and_exit>((producer,)).start().unwrap();
    say.push(("exit_before_anybody_gets", end(&child).to_string()));
    consumer.get().unwrap();
}

fn test_producer_died(ctx: &mp::Context, say: &mut Outcomes) {
    let (producer, consumer) = Queue::<u32>::new().unwrap().split();
    let child = ctx.process::<die>((producer,)).start().unwrap();
    assert_eq!(end(&child), -9);
    say.push(("item_of_a_dead_producer", got(consumer.get_timeout(PATIENCE))));
    say.push(("get_after_the_only_producer_died", got(consumer.get_timeout(PATIENCE))));
}

#[test]
fn queues_do_what_those_of_cpython_do_but_for_what_is_listed() {
    let _turn = alone();
    let ctx = mp::get_context(mp::StartMethod::Spawn);
    let mut say = Outcomes::new();
    test_put(&mut say);
    test_get(&mut say);
    test_visible(&mut say);
    test_qsize(&mut say);
    test_task_done(&mut say);
    test_queue_feeder_donot_stop_onexc(&mut say);
    test_closed(&mut say);
    test_empty(&mut say);
    test_processes(&ctx, &mut say);
    test_join_before_get(&ctx, &mut say);
    test_producer_died(&ctx, &mut say);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity/queues.py");
    compare(&script, &say, &DIFFERENCES);
}
