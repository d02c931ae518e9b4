//! Items and messages that are awaited.

use mp::{Queue, Reducer, SimpleQueue};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

#[test]
fn items_come_through() {
    for reducer in Reducer::all() {
        let numbers = Queue::<u16>::with_reducer(reducer).unwrap();
        let bytes = Queue::<Vec<u8>>::with_reducer(reducer).unwrap();
        let texts = SimpleQueue::<Option<String>>::with_reducer(reducer).unwrap();
        block_on(async {
            numbers.put_async(&500).await.unwrap();
            numbers.put(&501).unwrap();
            bytes.put_async(&vec![0, 200]).await.unwrap();
            texts.put(&Some("text".into())).unwrap();
            assert_eq!(numbers.get_async().await.unwrap(), 500, "{reducer}");
            assert_eq!(numbers.get_many_async(9).await.unwrap(), [501], "{reducer}");
            assert_eq!(bytes.get_async().await.unwrap(), [0, 200], "{reducer}");
            bytes.put(&vec![7]).unwrap();
            assert_eq!(bytes.get().unwrap(), [7], "{reducer}");
        });
        assert_eq!(texts.get().unwrap().unwrap(), "text");
    }
}

#[test]
fn messages_come_through_or_are_named() {
    for reducer in Reducer::all() {
        let (ours, theirs) = mp::pipe(true).unwrap();
        let (ours, mut theirs) = (ours.with_reducer(reducer), theirs.with_reducer(reducer));
        block_on(async {
            ours.send_async(&(1u8, "two")).await.unwrap();
            let back = theirs.recv_async::<(u8, String)>().await.unwrap();
            assert_eq!(back, (1, "two".to_owned()), "{reducer}");
        });
        theirs.set_reducer(super::DRAFT);
        if reducer != super::DRAFT {
            let error = block_on(async {
                ours.send_async(&3).await.unwrap();
                theirs.recv_async::<u8>().await.unwrap_err().to_string()
            });
            assert!(error.contains(&format!("`{reducer}`")), "{error}");
            assert!(error.contains("`draft/2`"), "{error}");
        }
    }
}
