//! Dicts, sets and namespaces: pairs in the order in which their keys came.
//!
//! Keys are equal when their bytes are. A set is a dict whose values are nothing.

use super::answer::{Answer, Stored};
use super::resolve::Resolve;
use super::sequence::{Given, Iteration};
use crate::manager::wire::{Combine, Compare, Failure, Item, MapOp};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

struct Entry {
    key: Stored,
    value: Stored,
    /// That of the map when the value came.
    version: u64,
}

/// Pairs in order.
#[derive(Default)]
pub(super) struct Map {
    places: HashMap<Arc<[u8]>, u64>,
    entries: BTreeMap<u64, Entry>,
    next: u64,
    version: u64,
}

impl Map {
    pub(super) fn new(pairs: Vec<(Stored, Stored)>) -> Self {
        let mut map = Self::default();
        pairs.into_iter().for_each(|(key, value)| drop(map.insert(key, value)));
        map
    }

    fn get(&self, key: &[u8]) -> Option<&Entry> {
        self.entries.get(self.places.get(key)?)
    }

    fn insert(&mut self, key: Stored, value: Stored) -> Option<Stored> {
        self.version += 1;
        let version = self.version;
        if let Some(entry) = self.places.get(&key.bytes).and_then(|at| self.entries.get_mut(at)) {
            entry.version = version;
            return Some(std::mem::replace(&mut entry.value, value));
        }
        self.places.insert(key.bytes.clone(), self.next);
        self.entries.insert(self.next, Entry { key, value, version });
        self.next += 1;
        None
    }

    fn remove(&mut self, key: &[u8]) -> Option<Entry> {
        let at = self.places.remove(key)?;
        self.version += 1;
        self.entries.remove(&at)
    }

    fn clear(&mut self) {
        self.version += 1;
        self.places.clear();
        self.entries.clear();
    }

    fn keys(&self) -> Vec<Stored> {
        self.entries.values().map(|entry| entry.key.clone()).collect()
    }

    pub(super) fn apply(&mut self, op: MapOp<'_>, by: &impl Resolve) -> Result<Given, Failure> {
        let answer = match op {
            MapOp::Len => Answer::Count(self.entries.len() as u64),
            MapOp::Get { key } => {
                Answer::Maybe(self.get(key.bytes).map(|entry| entry.value.clone()))
            }
            MapOp::Contains { key } => Answer::Yes(self.get(key.bytes).is_some()),
            MapOp::Keys => Answer::Many(self.keys()),
            MapOp::Values => {
                Answer::Many(self.entries.values().map(|entry| entry.value.clone()).collect())
            }
            MapOp::Load { key } => match self.get(key.bytes) {
                Some(entry) => Answer::Version(entry.version, vec![entry.value.clone()]),
                None => Answer::Version(0, Vec::new()),
            },
            MapOp::LoadAll => {
                let pair = |entry: &Entry| (entry.key.clone(), entry.value.clone());
                Answer::Pairs(self.version, self.entries.values().map(pair).collect())
            }
            MapOp::Iterate => return Ok(Given::Iteration(Iteration::of(self.keys()))),
            MapOp::Compare { how, with } => Answer::Yes(self.compare(how, &with)),
            op => self.mutate(op, by)?,
        };
        Ok(answer.into())
    }

    fn mutate(&mut self, op: MapOp<'_>, by: &impl Resolve) -> Result<Answer, Failure> {
        Ok(match op {
            MapOp::Clear => {
                self.clear();
                Answer::Done
            }
            MapOp::Insert { key, value } => {
                Answer::Maybe(self.insert(by.resolve(key)?, by.resolve(value)?))
            }
            MapOp::SetDefault { key, value } => match self.get(key.bytes) {
                Some(entry) => Answer::One(entry.value.clone()),
                None => {
                    let value = by.resolve(value)?;
                    self.insert(by.resolve(key)?, value.clone());
                    Answer::One(value)
                }
            },
            MapOp::Remove { key } => Answer::Maybe(self.remove(key.bytes).map(|entry| entry.value)),
            MapOp::PopItem => {
                let last = self.entries.last_key_value().map(|(_, entry)| entry.key.bytes.clone());
                let last = last.and_then(|key| self.remove(&key));
                Answer::Pairs(0, last.map(|entry| (entry.key, entry.value)).into_iter().collect())
            }
            MapOp::Extend { pairs } => {
                let pairs = by.pairs(pairs)?;
                pairs.into_iter().for_each(|(key, value)| drop(self.insert(key, value)));
                Answer::Done
            }
            MapOp::Store { key, version, value } => {
                if self.get(key.bytes).map(|entry| entry.version) != version {
                    return Err(Failure::Conflict);
                }
                match value {
                    Some(value) => drop(self.insert(by.resolve(key)?, by.resolve(value)?)),
                    None => drop(self.remove(key.bytes)),
                }
                Answer::Done
            }
            MapOp::StoreAll { version, .. } if version != self.version => {
                return Err(Failure::Conflict);
            }
            MapOp::StoreAll { pairs, .. } => {
                let pairs = by.pairs(pairs)?;
                self.clear();
                pairs.into_iter().for_each(|(key, value)| drop(self.insert(key, value)));
                Answer::Done
            }
            MapOp::Combine { how, with, assign } => self.combine(how, by.all(with)?, assign),
            // The others only read.
            _ => return Err(Failure::WrongType),
        })
    }

    fn combine(&mut self, how: Combine, with: Vec<Stored>, assign: bool) -> Answer {
        let theirs = with.iter().map(|one| one.bytes.clone()).collect::<HashSet<_>>();
        let keeps = |key: &Stored| match how {
            Combine::Union => true,
            Combine::Intersection => theirs.contains(&key.bytes),
            Combine::Difference | Combine::SymmetricDifference => !theirs.contains(&key.bytes),
        };
        let mut kept = self.keys().into_iter().filter(keeps).collect::<Vec<_>>();
        if matches!(how, Combine::Union | Combine::SymmetricDifference) {
            let mut seen = HashSet::new();
            kept.extend(with.into_iter().filter(|one| {
                !self.places.contains_key(&one.bytes) && seen.insert(one.bytes.clone())
            }));
        }
        if !assign {
            return Answer::Many(kept);
        }
        self.clear();
        kept.into_iter().for_each(|key| drop(self.insert(key, Stored::nothing())));
        Answer::Done
    }

    fn compare(&self, how: Compare, with: &[Item<'_>]) -> bool {
        let theirs = with.iter().map(|item| item.bytes.as_ref()).collect::<HashSet<&[u8]>>();
        match how {
            Compare::Disjoint => !theirs.iter().any(|key| self.places.contains_key(*key)),
            Compare::Superset => theirs.iter().all(|key| self.places.contains_key(*key)),
            Compare::Subset => self.places.keys().all(|key| theirs.contains(&**key)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Stored {
        Stored { bytes: Arc::from(text.as_bytes()), refs: None }
    }

    fn set(text: &[&str]) -> Map {
        Map::new(text.iter().map(|text| (one(text), Stored::nothing())).collect())
    }

    fn texts(keys: &[Stored]) -> Vec<String> {
        keys.iter().map(|key| String::from_utf8_lossy(&key.bytes).into_owned()).collect()
    }

    #[test]
    fn order_is_that_of_the_first_insertion() {
        let mut map = set(&["b", "a", "c"]);
        assert!(map.insert(one("a"), one("1")).is_some());
        assert!(map.remove(b"b").is_some() && map.remove(b"b").is_none());
        assert!(map.insert(one("b"), one("2")).is_none());
        assert_eq!(texts(&map.keys()), ["a", "c", "b"]);
    }

    #[test]
    fn sets_combine_and_compare() {
        let theirs = || ["b", "x", "x"].map(one).to_vec();
        for (how, expected) in [
            (Combine::Union, &["a", "b", "x"][..]),
            (Combine::Intersection, &["b"]),
            (Combine::Difference, &["a"]),
            (Combine::SymmetricDifference, &["a", "x"]),
        ] {
            let mut map = set(&["a", "b"]);
            let Answer::Many(made) = map.combine(how, theirs(), false) else { panic!() };
            assert_eq!(texts(&made), expected, "{how:?}");
            map.combine(how, theirs(), true);
            assert_eq!(texts(&map.keys()), expected, "{how:?}");
        }
        let items = |text: &[&'static str]| {
            let item = |text: &&'static str| Item {
                bytes: serde_bytes::Bytes::new(text.as_bytes()),
                refs: Vec::new(),
            };
            text.iter().map(item).collect::<Vec<_>>()
        };
        let map = set(&["a", "b"]);
        assert!(map.compare(Compare::Subset, &items(&["a", "b", "c"])));
        assert!(!map.compare(Compare::Subset, &items(&["a"])));
        assert!(map.compare(Compare::Superset, &items(&["a"])));
        assert!(!map.compare(Compare::Superset, &items(&["a", "c"])));
        assert!(map.compare(Compare::Disjoint, &items(&["c"])));
        assert!(!map.compare(Compare::Disjoint, &items(&["c", "a"])));
    }
}
