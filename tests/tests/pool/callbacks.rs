//! Callbacks, which may do anything.

use super::{PATIENCE, get, hang, panics, pool, square};
use mpserverd_tests::suite;
use std::sync::mpsc::channel;

fn they_are_called_with_what_came(ctx: &mp::Context) {
    let pool = pool(ctx, 2);
    let (sender, receiver) = channel();
    for x in 0..20 {
        let sender = sender.clone();
        let task = pool.task::<square>((x,)).callback(move |square| sender.send(square).unwrap());
        drop(task.submit().unwrap());
    }
    let mut squares = (0..20).map(|_| receiver.recv_timeout(PATIENCE).unwrap()).collect::<Vec<_>>();
    squares.sort_unstable();
    assert!(squares.into_iter().eq((0..20).map(|x| x * x)));
    let (sender, receiver) = channel();
    let task = pool
        .task::<panics>(("told".into(),))
        .callback(|_| panic!("there is no result"))
        .error_callback(move |error| sender.send(error.to_string()).unwrap());
    drop(task.submit().unwrap());
    assert!(receiver.recv_timeout(PATIENCE).unwrap().contains("told"));
}

fn a_panic_in_one_hurts_nobody(ctx: &mp::Context) {
    let pool = pool(ctx, 1);
    let bad = pool.task::<square>((1,)).callback(|_| panic!("in a callback")).submit().unwrap();
    assert_eq!(get(&bad).unwrap(), 1);
    let (sender, receiver) = channel();
    let good = pool.task::<square>((2,)).callback(move |x| sender.send(x).unwrap()).submit();
    drop(good.unwrap());
    assert_eq!(receiver.recv_timeout(PATIENCE).unwrap(), 4);
    assert_eq!(pool.status().callback_panics, 1);
}

fn one_may_end_the_pool(ctx: &mp::Context) {
    let pool = pool(ctx, 2);
    let hanging = pool.apply_async::<hang>(()).unwrap();
    let (sender, receiver) = channel();
    let inside = pool.clone();
    let task = pool.task::<square>((3,)).callback(move |_| {
        inside.terminate();
        sender.send(inside.join_timeout(PATIENCE).is_ok()).unwrap();
    });
    drop(task.submit().unwrap());
    assert!(receiver.recv_timeout(PATIENCE).unwrap());
    assert!(get(&hanging).is_err());
    pool.join_timeout(PATIENCE).unwrap();
}

fn one_may_have_the_last_handle(ctx: &mp::Context) {
    let (sender, receiver) = channel();
    let pool = pool(ctx, 1);
    let inside = pool.clone();
    let (go, wait) = channel::<()>();
    let task = pool.task::<square>((3,)).callback(move |_| {
        wait.recv().unwrap();
        drop(inside);
        sender.send(()).unwrap();
    });
    let result = task.submit().unwrap();
    assert_eq!(get(&result).unwrap(), 9);
    drop(pool);
    go.send(()).unwrap();
    receiver.recv_timeout(PATIENCE).unwrap();
}

fn one_may_submit_more(ctx: &mp::Context) {
    let pool = pool(ctx, 1);
    let (sender, receiver) = channel();
    let inside = pool.clone();
    let task = pool.task::<square>((3,)).callback(move |nine| {
        sender.send(inside.apply::<square>((nine,)).unwrap()).unwrap();
    });
    drop(task.submit().unwrap());
    assert_eq!(receiver.recv_timeout(PATIENCE).unwrap(), 81);
}

fn a_join_waits_for_them(ctx: &mp::Context) {
    let pool = pool(ctx, 1);
    let (sender, receiver) = channel();
    let task = pool.task::<square>((3,)).callback(move |nine| {
        std::thread::sleep(std::time::Duration::from_millis(200));
        sender.send(nine).unwrap();
    });
    drop(task.submit().unwrap());
    pool.close();
    pool.join_timeout(PATIENCE).unwrap();
    assert_eq!(receiver.try_recv(), Ok(9));
}

fn a_task_that_is_given_up_is_told(ctx: &mp::Context) {
    let pool = pool(ctx, 1);
    let (sender, receiver) = channel();
    let task = pool.task::<hang>(()).error_callback(move |error| sender.send(error).unwrap());
    let result = task.submit().unwrap();
    assert!(result.cancel());
    let error = receiver.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(error, mp::TaskFailure::Cancelled), "{error}");
}

suite![
    they_are_called_with_what_came,
    a_panic_in_one_hurts_nobody,
    one_may_end_the_pool,
    one_may_have_the_last_handle,
    one_may_submit_more,
    a_join_waits_for_them,
    a_task_that_is_given_up_is_told,
];
