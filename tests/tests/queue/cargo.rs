//! What goes through a queue to other processes: values, handles, a great many of them.

use mp::{Consumer, Producer, Queue, QueueOptions};
use mpserverd_tests::suite;
use mpserverd_tests::suite::{end, outcome, value};
use std::fs::File;
use std::io::{PipeWriter, Read, Write};
use std::os::fd::AsFd;

suite![
    values_come_in_order_from_one_and_once_from_many,
    handles_are_items,
    many_descriptors_in_one_item,
    large_items,
    a_queue_is_an_item_of_a_queue,
    a_process_may_end_right_after_a_put,
];

#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Numbered {
    from: u32,
    number: u64,
    text: String,
}

#[mp::task]
fn produce(from: u32, count: u64, queue: Producer<Numbered>) {
    for number in 0..count {
        let text = format!("{from} {number}");
        queue.put(&Numbered { from, number, text }).unwrap();
    }
}

/// Takes until the end; gives the count and the sum, and says whether each producer's came in
/// order.
#[mp::task]
fn consume(queue: Consumer<Numbered>) -> (u64, u64, bool) {
    let mut last = [None; 8];
    let mut ordered = true;
    let (mut count, mut sum) = (0, 0);
    for item in queue.iter() {
        let item = item.unwrap();
        ordered &= item.text == format!("{} {}", item.from, item.number);
        let before = last[item.from as usize].replace(item.number);
        ordered &= before < Some(item.number);
        count += 1;
        sum += item.number;
    }
    (count, sum, ordered)
}

fn values_come_in_order_from_one_and_once_from_many(ctx: &mp::Context) {
    const COUNT: u64 = 3000;
    let queue = Queue::bounded(50).unwrap();
    let consumers = (0..3)
        .map(|_| ctx.process::<consume>((queue.consumer(),)).start().unwrap())
        .collect::<Vec<_>>();
    let producers = (0..4)
        .map(|from| ctx.process::<produce>((from, COUNT, queue.producer())).start().unwrap())
        .collect::<Vec<_>>();
    drop(queue);
    for producer in producers {
        assert_eq!(end(&producer), 0);
    }
    let (mut count, mut sum) = (0, 0);
    for consumer in consumers {
        let (its_count, its_sum, ordered) = outcome(&consumer).unwrap();
        assert!(ordered);
        count += its_count;
        sum += its_sum;
    }
    assert_eq!((count, sum), (4 * COUNT, 4 * COUNT * (COUNT - 1) / 2));
}

#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Job {
    name: String,
    lock: mp::Lock,
    outputs: Vec<mp::Passed<PipeWriter>>,
    answers: Queue<String>,
}

#[mp::task]
fn work(jobs: Consumer<Job>) -> Vec<String> {
    let mut names = Vec::new();
    while let Ok(mut job) = jobs.get() {
        let guard = job.lock.lock().unwrap();
        for output in &mut job.outputs {
            write!(output.0, "{} ", job.name).unwrap();
        }
        drop(guard);
        job.answers.put(&job.name).unwrap();
        names.push(job.name);
    }
    names
}

fn handles_are_items(ctx: &mp::Context) {
    let (jobs, taken) = Queue::<Job>::new().unwrap().split();
    let lock = mp::Lock::new().unwrap();
    let answers = Queue::<String>::new().unwrap();
    let worker = ctx.process::<work>((taken,)).start().unwrap();
    let mut readers = Vec::new();
    let held = lock.lock().unwrap();
    for name in ["a", "b", "c"] {
        let pipes = (0..3).map(|_| std::io::pipe().unwrap());
        let (inputs, outputs): (Vec<_>, Vec<_>) = pipes.unzip();
        readers.push((name, inputs));
        let outputs = outputs.into_iter().map(mp::Passed).collect();
        let (lock, answers) = (lock.clone(), answers.clone());
        jobs.put(&Job { name: name.to_owned(), lock, outputs, answers }).unwrap();
    }
    assert!(answers.empty());
    drop(held);
    for (name, inputs) in readers {
        assert_eq!(answers.get().unwrap(), name);
        for mut input in inputs {
            let mut text = String::new();
            input.read_to_string(&mut text).unwrap();
            assert_eq!(text, format!("{name} "));
        }
    }
    drop(jobs);
    assert_eq!(outcome(&worker).unwrap(), ["a", "b", "c"]);
}

#[mp::task]
fn count_descriptors(queue: Consumer<Vec<mp::SharedFd>>) -> Vec<usize> {
    mp::sys::attributes::raise_descriptor_limit().unwrap();
    let kind = |fd: &mp::SharedFd| nix::sys::stat::fstat(fd).unwrap().st_rdev;
    let null = kind(&File::open("/dev/null").unwrap().into());
    queue.iter().map(|fds| fds.unwrap().iter().filter(|fd| kind(fd) == null).count()).collect()
}

fn many_descriptors_in_one_item(ctx: &mp::Context) {
    mp::sys::attributes::raise_descriptor_limit().unwrap();
    let file = File::open("/dev/null").unwrap();
    let copies = |count| {
        let copy = |_| mp::SharedFd::from(file.as_fd().try_clone_to_owned().unwrap());
        (0..count).map(copy).collect::<Vec<_>>()
    };
    let (producer, consumer) = Queue::new().unwrap().split();
    let worker = ctx.process::<count_descriptors>((consumer,)).start().unwrap();
    let counts = [1, 253, 254, 0, 600, 2, 1];
    for count in counts {
        producer.put(&copies(count)).unwrap();
    }
    drop(producer);
    assert_eq!(outcome(&worker).unwrap(), counts);
}

#[mp::task]
fn sums(queue: Consumer<Vec<u8>>) -> Vec<(usize, u64)> {
    let sum = |item: Vec<u8>| (item.len(), item.iter().map(|byte| u64::from(*byte)).sum());
    queue.iter().map(|item| sum(item.unwrap())).collect()
}

fn large_items(ctx: &mp::Context) {
    let options = QueueOptions::new().max_bytes(1 << 20);
    let (producer, consumer) = Queue::with_options(options).unwrap().split();
    let worker = ctx.process::<sums>((consumer,)).start().unwrap();
    let lengths = [1 << 19, (1 << 20) - 16, (1 << 20) - 15, 1 << 20, 5 << 20, 3, 40 << 20];
    let mut expected = Vec::new();
    for length in lengths {
        let item = vec![3; length];
        expected.push((length, 3 * length as u64));
        producer.put(&item).unwrap();
    }
    drop(producer);
    assert_eq!(outcome(&worker).unwrap(), expected);
}

#[mp::task]
fn answer_each(questions: Consumer<(u32, Producer<u32>)>) {
    for question in questions.iter() {
        let (number, answers) = question.unwrap();
        answers.put(&(number * 2)).unwrap();
    }
}

fn a_queue_is_an_item_of_a_queue(ctx: &mp::Context) {
    let (questions, taken) = Queue::new().unwrap().split();
    let worker = ctx.process::<answer_each>((taken,)).start().unwrap();
    for number in 0..20 {
        let (put, answers) = Queue::<u32>::new().unwrap().split();
        questions.put(&(number, put)).unwrap();
        let all = answers.iter().collect::<Result<Vec<_>, _>>().unwrap();
        assert_eq!(all, [number * 2]);
    }
    drop(questions);
    outcome(&worker).unwrap();
}

#[mp::task]
fn put_and_vanish(queue: Producer<Vec<u8>>) {
    // More than any pipe holds; nobody takes it before this process is gone.
    for _ in 0..50 {
        queue.put(&vec![1; 100_000]).unwrap();
    }
    nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap();
}

fn a_process_may_end_right_after_a_put(ctx: &mp::Context) {
    let queue = Queue::new().unwrap();
    let process = ctx.process::<put_and_vanish>((queue.producer(),)).start().unwrap();
    assert_eq!(end(&process), -9);
    assert_eq!(queue.qsize(), 50);
    let (_, consumer) = queue.split();
    assert_eq!(consumer.iter().map(|item| item.unwrap().len()).sum::<usize>(), 5_000_000);
}

#[mp::task]
fn nested(depth: u32, mut path: Vec<Queue<u32>>) -> u32 {
    if depth == 0 {
        let last = path.pop().unwrap();
        return last.get().unwrap();
    }
    let queue = Queue::new().unwrap();
    queue.put(&depth).unwrap();
    path.push(queue);
    let ctx = mp::get_context(mp::StartMethod::Spawn);
    value(ctx.process::<nested>((depth - 1, path))) + depth
}

#[test]
fn queues_of_queues_of_processes_of_processes() {
    let ctx = mp::get_context(mp::StartMethod::Spawn);
    assert_eq!(value(ctx.process::<nested>((3, Vec::new()))), 1 + 1 + 2 + 3);
}
