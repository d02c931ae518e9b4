//! `SharedMemoryManager`: the names go with it.

use crate::{sleep_on, until};
use mp::{ListItem, SharedMemory};
use mpserverd_tests::suite::{PATIENCE, end, value};
use std::path::Path;

fn exists(name: &str) -> bool {
    Path::new("/dev/shm").join(name).exists()
}

#[mp::task]
fn fill(segment: SharedMemory, list: mp::ShareableList) -> Result<(), mp::TaskError> {
    segment.write(0, b"child")?;
    list.set(0, 2.5)?;
    Ok(())
}

#[mp::task]
fn make(told: mp::Connection) {
    let manager = mp::get_context(None).shared_memory_manager();
    let segment = manager.shared_memory(100).unwrap();
    manager.shareable_list([ListItem::None]).unwrap();
    told.send(&manager.names()).unwrap();
    drop(segment);
    sleep_on();
}

fn names_go_with_it(ctx: &mp::Context) {
    let manager = ctx.shared_memory_manager();
    let segment = manager.shared_memory(4096).unwrap();
    let list = manager.shareable_list([1.into(), "text".into()]).unwrap();
    let names = manager.names();
    assert!(names.len() == 2 && names.iter().all(|name| exists(name)));
    value(ctx.process::<fill>((segment.clone(), list.clone()))).unwrap();
    manager.shutdown();
    assert!(!names.iter().any(|name| exists(name)));
    let mut bytes = [0; 5];
    segment.read(0, &mut bytes).unwrap();
    assert_eq!((&bytes, list.get(0).unwrap()), (b"child", ListItem::Float(2.5)));
}

fn names_go_with_a_killed_process(ctx: &mp::Context) {
    let (ours, theirs) = mp::pipe(false).unwrap();
    let process = ctx.process::<make>((theirs,)).daemon(true).start().unwrap();
    let names: Vec<String> = ours.recv_timeout(PATIENCE).unwrap();
    assert!(names.iter().all(|name| exists(name)));
    process.kill().unwrap();
    assert_eq!(end(&process), -9);
    until("whoever sees the death removes them", || !names.iter().any(|name| exists(name)));
}

mpserverd_tests::suite![names_go_with_it, names_go_with_a_killed_process];
