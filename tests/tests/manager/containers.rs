//! Lists, dicts, sets, namespaces, values, arrays and iterators: every method.

use mp::{ManagerError, Proxy};
use mpserverd_tests::suite::{passed, value};
use std::collections::BTreeSet;

#[mp::task]
fn use_all(
    list: mp::ListProxy<i32>,
    dict: mp::DictProxy<String, i32>,
    set: mp::SetProxy<i32>,
    namespace: mp::NamespaceProxy,
    array: mp::ArrayProxy<f64>,
    number: mp::ValueProxy<i32>,
) -> Result<bool, mp::TaskError> {
    list.append(&7)?;
    dict.set(&"child".to_owned(), &1)?;
    set.add(&7)?;
    namespace.set("child", &true)?;
    array.set(0, &7.5)?;
    number.update(|number| *number += 1)?;
    Ok(list.get(0)? == 1)
}

fn all_are_used_by_a_child(ctx: &mp::Context) {
    let manager = ctx.manager().unwrap();
    let list = manager.list([1]).unwrap();
    let dict = manager.dict([]).unwrap();
    let set = manager.set([1]).unwrap();
    let namespace = manager.namespace().unwrap();
    let array = manager.array([0.0, 1.0]).unwrap();
    let number = manager.value(&1).unwrap();
    let arguments =
        (list.clone(), dict.clone(), set.clone(), namespace.clone(), array.clone(), number.clone());
    assert!(value(ctx.process::<use_all>(arguments)).unwrap());
    assert_eq!(list.copy().unwrap(), [1, 7]);
    assert_eq!(dict.items().unwrap(), [("child".to_owned(), 1)]);
    assert_eq!(set.len().unwrap(), 2);
    assert_eq!(namespace.get("child").unwrap(), Some(true));
    assert_eq!(array.to_vec().unwrap(), [7.5, 1.0]);
    assert_eq!(number.get().unwrap(), 2);
    assert_eq!(manager.shutdown().unwrap(), 0);
}

#[mp::task]
fn in_a_forked_closure() {
    let ctx = mp::get_context(mp::StartMethod::Fork);
    let manager = ctx.manager().unwrap();
    let list = manager.list([1]).unwrap();
    let inherited = list.clone();
    let process = ctx.process_fn(move || inherited.append(&2).map_err(|e| e.to_string()));
    assert_eq!(value(process), Ok(()));
    let manager = std::sync::Arc::new(manager);
    let copy = manager.clone();
    let process = ctx.process_fn(move || {
        let made = copy.list([5u8]).and_then(|list| list.copy());
        made.map_err(|error| error.to_string())
    });
    assert_eq!(value(process), Ok(vec![5]));
    assert_eq!(list.copy().unwrap(), [1, 2], "the fork took nothing with it");
}

#[test]
fn a_fork_has_a_connection_of_its_own() {
    passed(mp::get_context(mp::StartMethod::Spawn).process::<in_a_forked_closure>(()));
}

mpserverd_tests::suite![all_are_used_by_a_child];

#[test]
fn lists() {
    let manager = crate::spawned();
    let list = manager.list([3, 1, 2]).unwrap();
    list.append(&1).unwrap();
    list.extend(&[9, 8]).unwrap();
    assert_eq!(list.copy().unwrap(), [3, 1, 2, 1, 9, 8]);
    assert_eq!((list.len().unwrap(), list.is_empty().unwrap()), (6, false));
    assert_eq!((list.count(&1).unwrap(), list.index(&1).unwrap()), (2, Some(1)));
    assert_eq!((list.index(&77).unwrap(), list.contains(&9).unwrap()), (None, true));
    assert_eq!((list.get(2).unwrap(), list.slice(1..=3).unwrap()), (2, vec![1, 2, 1]));
    assert_eq!(list.slice(4..).unwrap(), [9, 8]);
    list.set(0, &33).unwrap();
    list.insert(1, &44).unwrap();
    list.insert(1000, &55).unwrap();
    assert_eq!(list.copy().unwrap(), [33, 44, 1, 2, 1, 9, 8, 55]);
    assert_eq!((list.pop().unwrap(), list.pop_at(1).unwrap()), (Some(55), 44));
    assert!(list.remove(&1).unwrap() && !list.remove(&1000).unwrap());
    list.delete(0).unwrap();
    assert_eq!(list.copy().unwrap(), [2, 1, 9, 8]);
    list.reverse().unwrap();
    assert_eq!(list.copy().unwrap(), [8, 9, 1, 2]);
    list.sort().unwrap();
    list.repeat(2).unwrap();
    assert_eq!(list.copy().unwrap(), [1, 2, 8, 9, 1, 2, 8, 9]);
    list.set_slice(1..7, &[5]).unwrap();
    assert_eq!(list.copy().unwrap(), [1, 5, 9]);
    list.sort_by(|a, b| b.cmp(a)).unwrap();
    list.sort_by_key(|n| (*n == 9, *n)).unwrap();
    list.retain(|n| *n != 5).unwrap();
    assert_eq!(list.update(0, |n| std::mem::replace(n, 6)).unwrap(), 1);
    assert_eq!(list.transform(|all| all.len()).unwrap(), 2);
    assert_eq!(list.copy().unwrap(), [6, 9]);
    list.delete_slice(..1).unwrap();
    assert_eq!(list.iter().unwrap().map(Result::unwrap).collect::<Vec<_>>(), [9]);
    list.clear().unwrap();
    assert_eq!((list.pop().unwrap(), list.copy().unwrap()), (None, vec![]));
    let missing = |result: Result<i32, ManagerError>| {
        matches!(result, Err(ManagerError::Index { index: 3, length: 0, .. }))
    };
    assert!(missing(list.get(3)) && missing(list.pop_at(3)) && missing(list.update(3, |n| *n)));
    assert!(list.set(0, &1).is_err() && list.delete(0).is_err() && list.slice(0..1).is_err());
    assert_eq!(list.len().unwrap(), 0, "nothing of what failed was done");
}

#[test]
fn dicts() {
    let manager = crate::spawned();
    let key = str::to_owned;
    let dict = manager.dict([(key("b"), 1), (key("a"), 2), (key("b"), 3)]).unwrap();
    assert_eq!(dict.items().unwrap(), [(key("b"), 3), (key("a"), 2)]);
    assert_eq!((dict.get(&key("b")).unwrap(), dict.get(&key("z")).unwrap()), (Some(3), None));
    dict.set(&key("c"), &4).unwrap();
    assert_eq!(dict.insert(&key("c"), &5).unwrap(), Some(4));
    assert_eq!(dict.insert(&key("d"), &6).unwrap(), None);
    assert_eq!(dict.setdefault(&key("d"), &7).unwrap(), 6);
    assert_eq!(dict.setdefault(&key("e"), &7).unwrap(), 7);
    dict.update([(&key("e"), &8), (&key("f"), &9)]).unwrap();
    assert_eq!(dict.keys().unwrap(), ["b", "a", "c", "d", "e", "f"]);
    assert_eq!(dict.values().unwrap(), [3, 2, 5, 6, 8, 9]);
    assert_eq!(dict.popitem().unwrap(), Some((key("f"), 9)));
    assert_eq!((dict.pop(&key("a")).unwrap(), dict.pop(&key("a")).unwrap()), (Some(2), None));
    assert!(dict.contains(&key("b")).unwrap() && !dict.contains(&key("a")).unwrap());
    assert_eq!(dict.update_value(&key("b"), |n| n.map(|n| n + 1)).unwrap(), Some(4));
    assert_eq!(dict.update_value(&key("n"), |n| Some(n.unwrap_or(0) + 1)).unwrap(), Some(1));
    assert_eq!(dict.update_value(&key("n"), |_| None).unwrap(), None);
    dict.retain(|key, value| key != "c" && *value != 8).unwrap();
    assert_eq!(dict.items().unwrap(), [(key("b"), 4), (key("d"), 6)]);
    let keys = dict.iter().unwrap();
    assert_eq!(keys.take_next().unwrap(), Some(key("b")));
    let same = keys.clone();
    assert_eq!(same.take_many(9).unwrap(), [key("d")]);
    assert_eq!(keys.take_next().unwrap(), None);
    dict.clear().unwrap();
    assert!(dict.is_empty().unwrap() && dict.popitem().unwrap().is_none());
    let filled = manager.dict_from_keys([1u8, 2], &'x').unwrap();
    assert_eq!(filled.items().unwrap(), [(1, 'x'), (2, 'x')]);
    assert!(filled.is_same(&filled.clone()));
}

#[test]
fn sets() {
    let manager = crate::spawned();
    let set = manager.set([1, 2, 2, 3]).unwrap();
    let sorted = |values: Vec<i32>| values.into_iter().collect::<BTreeSet<_>>();
    assert_eq!(set.len().unwrap(), 3);
    assert!(set.add(&4).unwrap() && !set.add(&4).unwrap());
    assert!(set.discard(&4).unwrap() && !set.discard(&4).unwrap());
    assert!(set.contains(&1).unwrap() && !set.contains(&4).unwrap());
    let other = [2, 3, 9];
    assert_eq!(sorted(set.union(&other).unwrap()), [1, 2, 3, 9].into());
    assert_eq!(sorted(set.intersection(&other).unwrap()), [2, 3].into());
    assert_eq!(sorted(set.difference(&other).unwrap()), [1].into());
    assert_eq!(sorted(set.symmetric_difference(&other).unwrap()), [1, 9].into());
    assert!(set.is_subset(&[1, 2, 3, 4]).unwrap() && set.is_superset(&[1]).unwrap());
    assert!(set.is_disjoint(&[7]).unwrap() && !set.is_disjoint(&[1]).unwrap());
    set.update(&[10]).unwrap();
    set.intersection_update(&[1, 2, 10]).unwrap();
    set.difference_update(&[2]).unwrap();
    set.symmetric_difference_update(&[10, 11]).unwrap();
    assert_eq!(sorted(set.copy().unwrap()), [1, 11].into());
    assert_eq!(set.iter().unwrap().map(Result::unwrap).count(), 2);
    let (first, second) = (set.pop().unwrap().unwrap(), set.pop().unwrap().unwrap());
    assert_eq!(sorted(vec![first, second]), [1, 11].into());
    assert!(set.pop().unwrap().is_none() && set.is_empty().unwrap());
    set.add(&1).unwrap();
    set.clear().unwrap();
    assert!(set.copy().unwrap().is_empty());
}

#[test]
fn namespaces_values_and_arrays() {
    let manager = crate::spawned();
    let namespace = manager.namespace().unwrap();
    namespace.set("x", &1u8).unwrap();
    namespace.set("name", "fern").unwrap();
    assert_eq!(namespace.get::<u8>("x").unwrap(), Some(1));
    assert_eq!(namespace.get::<String>("name").unwrap().unwrap(), "fern");
    assert!(matches!(namespace.get::<u64>("x"), Err(ManagerError::Codec { .. })));
    assert_eq!(namespace.update("x", |x: Option<u8>| x.unwrap_or(0) + 1).unwrap(), 2);
    assert_eq!(namespace.names().unwrap(), ["x", "name"]);
    assert!(namespace.delete("x").unwrap() && !namespace.delete("x").unwrap());
    assert!(!namespace.contains("x").unwrap() && namespace.contains("name").unwrap());

    let number = manager.value(&5i64).unwrap();
    assert_eq!((number.get().unwrap(), number.swap(&6).unwrap()), (5, 5));
    number.set(&7).unwrap();
    assert!(number.compare_exchange(&7, &8).unwrap() && !number.compare_exchange(&7, &9).unwrap());
    assert_eq!(number.update(|n| std::mem::replace(n, 1)).unwrap(), 8);
    assert_eq!(number.get().unwrap(), 1);

    let array = manager.array([1u16, 2, 3]).unwrap();
    array.set(1, &20).unwrap();
    array.set_slice(1, &[21, 31]).unwrap();
    assert_eq!(array.update(0, |n| *n + 1).unwrap(), 2);
    array.update(0, |n| *n = 9).unwrap();
    assert_eq!((array.get(0).unwrap(), array.slice(1..).unwrap()), (9, vec![21, 31]));
    assert_eq!((array.len().unwrap(), array.to_vec().unwrap()), (3, vec![9, 21, 31]));
    assert!(matches!(array.get(3), Err(ManagerError::Index { index: 3, length: 3, .. })));
    assert!(array.set_slice(2, &[1, 2]).is_err() && array.update(5, |_| ()).is_err());
}

#[test]
fn an_array_keeps_its_length_whoever_thinks_it_is_a_list() {
    let manager = crate::spawned();
    let array = manager.array([1, 2]).unwrap();
    assert!(manager.publish("array", &array).unwrap());
    let wrong = manager.find::<mp::ListProxy<i32>>("array");
    assert!(matches!(wrong, Err(ManagerError::WrongType { .. })));
    let bytes = serde_json::to_vec(&array).unwrap();
    let list: mp::ListProxy<i32> = serde_json::from_slice(&bytes).unwrap();
    assert!(matches!(list.append(&3), Err(ManagerError::FixedLength { .. })));
    let dict: mp::DictProxy<i32, i32> = serde_json::from_slice(&bytes).unwrap();
    assert!(matches!(dict.len(), Err(ManagerError::WrongType { .. })));
}

#[test]
fn large_values_and_many() {
    let manager = crate::spawned();
    let large = vec![7u8; 32 << 20];
    let list = manager.list([large.clone()]).unwrap();
    list.append(&large).unwrap();
    assert!(list.copy().unwrap().iter().all(|value| *value == large));
    let many = manager.list(0..100_000u64).unwrap();
    assert_eq!(many.copy().unwrap().into_iter().sum::<u64>(), (0..100_000).sum::<u64>());
    let handle = mp::Lock::new().unwrap();
    let refused = manager.list([handle]);
    assert!(matches!(refused, Err(ManagerError::Codec { .. })), "{refused:?}");
}
