//! What comes as a queue and is none, and what others write over one.

use mp::{GetError, Queue};
use mpserverd_tests::seeds::Moments;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// A queue as it travels, with one of its descriptors replaced.
fn forged(queue: &Queue<u64>, at: usize, other: mp::SharedFd) -> Result<Queue<u64>, String> {
    let (bytes, mut fds) = mp::handles::collect(|| serde_json::to_vec(queue).unwrap());
    assert_eq!(fds.len(), 4);
    fds[at] = other;
    mp::handles::provide(fds, || serde_json::from_slice(&bytes)).map_err(|error| error.to_string())
}

fn file(length: u64) -> mp::SharedFd {
    let file = tempfile::tempfile().unwrap();
    file.set_len(length).unwrap();
    file.into()
}

#[test]
fn foreign_descriptors_are_refused() {
    let queue = Queue::<u64>::new().unwrap();
    for length in [0, 1, 4096, 1 << 31] {
        let error = forged(&queue, 0, file(length)).unwrap_err();
        assert!(error.contains("no shared memory of this library"), "{error}");
    }
    let (reader, _writer) = std::io::pipe().unwrap();
    let error = forged(&queue, 0, reader.into()).unwrap_err();
    assert!(error.contains("Queue"), "{error}");
    let (reader, _writer) = std::io::pipe().unwrap();
    let error = forged(&queue, 1, reader.into()).unwrap_err();
    assert!(error.contains("none of ours"), "{error}");
    let sealed = mp::sys::fd::sealed_memfd(&[&[0; 100]]).unwrap();
    assert!(forged(&queue, 0, sealed.into()).is_err());
    // Another object of ours.
    let lock = mp::Lock::new().unwrap();
    let (_, fds) = mp::handles::collect(|| serde_json::to_vec(&lock).unwrap());
    let error = forged(&queue, 0, fds[0].clone()).unwrap_err();
    assert!(error.contains("no such object"), "{error}");
}

#[test]
fn one_kind_is_not_another() {
    let queue = Queue::<u64>::new().unwrap();
    let (bytes, fds) = mp::handles::collect(|| serde_json::to_vec(&queue.producer()).unwrap());
    let back = mp::handles::provide(fds, || serde_json::from_slice::<mp::Consumer<u64>>(&bytes));
    assert!(back.unwrap_err().to_string().contains("another kind of queue"));
    assert!(serde_json::to_vec(&queue).unwrap_err().to_string().contains("can only be shared"));
    queue.close();
    let (closed, _) = mp::handles::collect(|| serde_json::to_vec(&queue));
    assert!(closed.unwrap_err().to_string().contains("closed"));
}

#[test]
fn a_lost_descriptor_costs_its_item() {
    let queue = Queue::<(u32, mp::SharedFd)>::new().unwrap();
    let null = || mp::SharedFd::from(File::open("/dev/null").unwrap());
    for number in 0..3 {
        queue.put(&(number, null())).unwrap();
    }
    // Somebody reads the socket who should not: the second and the third item lose theirs.
    let (_, fds) = mp::handles::collect(|| serde_json::to_vec(&queue).unwrap());
    assert_eq!(queue.get().unwrap().0, 0);
    let mut got = Vec::new();
    use std::os::fd::AsFd;
    mp::sys::scm::receive(fds[3].as_fd(), &mut [0; 64], &mut got, true).unwrap();
    drop(got);
    let error = queue.get().unwrap_err();
    assert!(matches!(error, GetError::DescriptorsLost { queue: "Queue", .. }), "{error}");
    // Looking for the lost one has thrown away what was before it, not what belongs to others.
    let third = queue.get();
    assert!(matches!(third, Ok((2, _)) | Err(GetError::DescriptorsLost { .. })), "{third:?}");
    queue.put(&(3, null())).unwrap();
    assert_eq!(queue.get().unwrap().0, 3);
}

/// Writes over the memory of a queue, at random places.
#[test]
fn scribbles_are_errors_and_no_more() {
    for seed in 0..300 {
        let mut moments = Moments::of(seed);
        let options = mp::QueueOptions::new().max_bytes(1 << 16);
        let queue = Queue::<u64>::with_options(options).unwrap();
        let (_, fds) = mp::handles::collect(|| serde_json::to_vec(&queue).unwrap());
        let memory = File::from(fds[0].clone().into_owned().unwrap());
        for round in 0..20 {
            let at = 64 + 16 + 8 * moments.below(40);
            let word = moments.below(u64::MAX) >> moments.below(64);
            // Not the locks: who scribbles there can make others wait, until their deadline.
            if ![48, 112].contains(&(at - 80)) {
                memory.write_all_at(&word.to_ne_bytes(), at).unwrap();
            }
            let _ = queue.put_nowait(&round);
            let _ = queue.get_nowait();
            let _ = queue.get_many_timeout(10, std::time::Duration::ZERO);
            let _ = (queue.qsize(), queue.empty(), queue.full());
        }
    }
}
