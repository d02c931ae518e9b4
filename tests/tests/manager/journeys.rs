//! Proxies on their ways: through processes, queues, pipes, other proxies.

use mp::{ListProxy, ManagerError, Proxy};
use mpserverd_tests::suite::{end, value};

#[mp::task]
fn make(
    manager: mp::NamespaceProxy,
    list: ListProxy<u32>,
) -> Result<ListProxy<u32>, mp::TaskError> {
    manager.set("seen", &list.copy()?)?;
    list.append(&2)?;
    Ok(list)
}

#[mp::task]
fn receive(
    queue: mp::Queue<ListProxy<u32>>,
    connection: mp::Connection,
) -> Result<(), mp::TaskError> {
    let by_queue = queue.get()?;
    by_queue.append(&10)?;
    let by_pipe: ListProxy<u32> = connection.recv()?;
    by_pipe.append(&20)?;
    connection.send(&(by_pipe, by_queue.copy()?))?;
    Ok(())
}

fn by_tasks_queues_and_pipes(ctx: &mp::Context) {
    let manager = ctx.manager_builder().authkey(b"its own key").start().unwrap();
    let (namespace, list) = (manager.namespace().unwrap(), manager.list([1]).unwrap());
    let back = value(ctx.process::<make>((namespace.clone(), list.clone()))).unwrap();
    assert!(back.is_same(&list));
    assert_eq!(back.copy().unwrap(), [1, 2]);
    assert_eq!(namespace.get::<Vec<u32>>("seen").unwrap().unwrap(), [1]);

    let queue = mp::Queue::new().unwrap();
    let (ours, theirs) = mp::pipe(true).unwrap();
    let process = ctx.process::<receive>((queue.clone(), theirs)).start().unwrap();
    let (first, second) = (manager.list([0]).unwrap(), manager.list([0]).unwrap());
    queue.put(&first).unwrap();
    ours.send(&second).unwrap();
    // A lease keeps them on their way.
    drop((first, second));
    let (second, first) = ours.recv::<(ListProxy<u32>, Vec<u32>)>().unwrap();
    assert_eq!((first, second.copy().unwrap()), (vec![0, 10], vec![0, 20]));
    assert_eq!(end(&process), 0);
}

#[mp::task]
fn grandchild(list: ListProxy<u32>) -> Result<(), mp::TaskError> {
    Ok(list.append(&3)?)
}

#[mp::task]
fn child(list: ListProxy<u32>) -> Result<(), mp::TaskError> {
    list.append(&2)?;
    let process = mp::get_context(None).process::<grandchild>((list.clone(),)).start()?;
    process.result()?
}

fn to_grandchildren(ctx: &mp::Context) {
    let manager = ctx.manager().unwrap();
    let list = manager.list([1]).unwrap();
    value(ctx.process::<child>((list.clone(),))).unwrap();
    assert_eq!(list.copy().unwrap(), [1, 2, 3]);
}

type Rows = ListProxy<mp::DictProxy<String, u32>>;

#[mp::task]
fn use_nested(rows: Rows) -> Result<u32, mp::TaskError> {
    let row = rows.get(0)?;
    row.set(&"b".to_owned(), &2)?;
    let fresh = rows.pop_at(1)?;
    drop(rows);
    Ok(row.len()? as u32 + fresh.get(&"c".to_owned())?.unwrap_or(0))
}

fn nested(ctx: &mp::Context) {
    let manager = ctx.manager_builder().lease(std::time::Duration::from_millis(100)).start();
    let manager = manager.unwrap();
    let row = manager.dict([("a".to_owned(), 1)]).unwrap();
    let rows: Rows = manager.list([row]).unwrap();
    // Nobody but the list refers to it.
    rows.append(&manager.dict([("c".to_owned(), 30)]).unwrap()).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(value(ctx.process::<use_nested>((rows.clone(),))).unwrap(), 32);
    let row = rows.get(0).unwrap();
    assert_eq!(row.get(&"b".to_owned()).unwrap(), Some(2));
    rows.clear().unwrap();
    assert_eq!(row.len().unwrap(), 2, "a proxy keeps what the list has forgotten");
}

mpserverd_tests::suite![by_tasks_queues_and_pipes, to_grandchildren, nested];

#[test]
fn every_container_keeps_what_is_in_it() {
    let manager = crate::spawned();
    let inner = || manager.value(&5u8).unwrap();
    let list = manager.list([inner()]).unwrap();
    let dict = manager.dict([(1u8, inner())]).unwrap();
    let namespace = manager.namespace().unwrap();
    namespace.set("value", &inner()).unwrap();
    let outer = manager.value(&inner()).unwrap();
    let array = manager.array([inner()]).unwrap();
    let queue = manager.queue(0).unwrap();
    queue.put(&inner()).unwrap();
    let found = [
        list.get(0).unwrap(),
        dict.get(&1).unwrap().unwrap(),
        namespace.get("value").unwrap().unwrap(),
        outer.get().unwrap(),
        array.get(0).unwrap(),
        queue.get().unwrap(),
    ];
    assert!(found.iter().all(|inner| inner.get().unwrap() == 5));
    assert_eq!(list.index(&found[0]).unwrap(), Some(0), "a proxy is equal to itself");
}

#[test]
fn a_proxy_of_a_manager_that_is_gone_says_so_at_once() {
    let spawn = mp::get_context(mp::StartMethod::Spawn);
    let manager = crate::spawned();
    let list = manager.list([1u32]).unwrap();
    let bytes = serde_json::to_vec(&list).unwrap();
    assert_eq!(manager.shutdown().unwrap(), 0);
    assert!(matches!(list.append(&1), Err(ManagerError::Gone { .. })));
    let read: ListProxy<u32> = serde_json::from_slice(&bytes).unwrap();
    assert!(matches!(read.append(&1), Err(ManagerError::Gone { .. })));
    let error = value(spawn.process::<grandchild>((list,))).unwrap_err();
    assert!(error.to_string().contains("is gone"), "{error}");
}

#[test]
fn managers_hold_proxies_of_each_other() {
    let (one, other) = (crate::spawned(), crate::spawned());
    let list = one.list([1]).unwrap();
    let dict = other.dict([("list".to_owned(), list.clone())]).unwrap();
    let found = dict.get(&"list".to_owned()).unwrap().unwrap();
    found.append(&2).unwrap();
    assert_eq!(list.copy().unwrap(), [1, 2]);
    assert!(!other.list([1]).unwrap().is_same(&list));
    assert!(matches!(other.publish("x", &list), Err(ManagerError::NoObject { .. })));
}
