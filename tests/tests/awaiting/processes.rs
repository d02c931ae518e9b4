//! Processes: results, ends, and several objects at once.

use crate::{SHORT, in_tokio, in_vain, soon};
use mp::{Event, ProcessError, Queue};
use mpserverd_tests::suite;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;
use tokio::io::unix::AsyncFd;

suite![results_and_ends, several_objects_at_once, descriptors_for_runtimes];

#[mp::task]
fn answer_when_told(go: Event, number: u32) -> u32 {
    go.wait(None);
    number + 1
}

fn results_and_ends(ctx: &mp::Context) {
    let go = Event::new().unwrap();
    in_tokio(async {
        let start = |number| ctx.process::<answer_when_told>((go.clone(), number)).start().unwrap();
        let processes = [1, 2, 3].map(start);
        in_vain("they wait", processes[0].result_async()).await;
        in_vain("they wait", processes[0].join_async()).await;
        go.set();
        for (process, number) in processes.iter().zip([2, 3, 4]) {
            assert_eq!(soon("a result", process.result_async()).await.unwrap(), number);
            assert!(matches!(process.result_async().await, Err(ProcessError::Taken)));
            assert_eq!(soon("an end", process.join_async()).await, 0);
            assert_eq!(soon("an end", process.handle().join_async()).await, 0);
        }
        go.clear();
        let process = start(1);
        let (result, ()) = soon("killed", async {
            tokio::join!(process.result_async(), async {
                tokio::time::sleep(SHORT).await;
                process.kill().unwrap();
            })
        })
        .await;
        let error = result.unwrap_err();
        let ProcessError::Died { pid, .. } = error else { panic!("{error}") };
        assert_eq!((pid, process.join_async().await), (process.pid(), -9));
    });
}

fn several_objects_at_once(ctx: &mp::Context) {
    let go = Event::new().unwrap();
    let process = ctx.process::<answer_when_told>((go.clone(), 1)).start().unwrap();
    let (ours, theirs) = mp::pipe(true).unwrap();
    let queue = Queue::<u32>::new().unwrap();
    let listener = mp::Listener::builder().bind().unwrap();
    in_tokio(async {
        assert!(mp::wait_async(&[]).await.is_empty());
        let any = || async { mp::wait_async(&[&process, &ours, &queue, &listener, &ours]).await };
        in_vain("nothing happens", any()).await;
        let later = |then: fn(&Queue<u32>)| {
            let queue = queue.clone();
            async move {
                tokio::time::sleep(Duration::from_millis(5)).await;
                then(&queue);
            }
        };
        let put = later(|queue| queue.put(&1).unwrap());
        let (ready, ()) = soon("an item", async { tokio::join!(any(), put) }).await;
        assert_eq!(ready, [2]);
        assert_eq!(queue.get().unwrap(), 1);
        theirs.send(&1u8).unwrap();
        assert_eq!(soon("a message", any()).await, [1, 4]);
        let _caller = mp::Client::connect(listener.address(), None).unwrap();
        assert_eq!(soon("a caller too", any()).await, [1, 3, 4]);
        assert_eq!(ours.recv::<u8>().unwrap(), 1);
        drop(listener.accept().unwrap());
        go.set();
        assert_eq!(soon("an end", any()).await, [0]);
        ours.close();
        assert_eq!(soon("what is closed is ready", any()).await, [0, 1, 4]);
    });
}

/// The descriptors that runtimes can watch themselves.
fn descriptors_for_runtimes(ctx: &mp::Context) {
    async fn readable(fd: BorrowedFd<'_>) {
        #[allow(deprecated, reason = "its replacement is unsafe; the descriptor outlives this")]
        let watch = AsyncFd::new(fd.as_raw_fd()).unwrap();
        drop(soon("readable", watch.readable()).await.unwrap());
    }
    let go = Event::new().unwrap();
    let process = ctx.process::<answer_when_told>((go.clone(), 6)).start().unwrap();
    let (ours, theirs) = mp::pipe(true).unwrap();
    let listener = mp::Listener::builder().bind().unwrap();
    in_tokio(async {
        go.set();
        readable(process.result_fd()).await;
        assert_eq!(process.result().unwrap(), 7);
        readable(process.sentinel()).await;
        theirs.send(&1u8).unwrap();
        readable(ours.as_fd()).await;
        let _caller = mp::Client::connect(listener.address(), None).unwrap();
        readable(listener.as_fd()).await;
    });
}
