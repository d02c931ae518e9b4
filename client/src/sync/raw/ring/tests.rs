use super::atomics::{Deadline, Ordering};
use super::counters::{Blocks, End, UNIT};
use super::ring::*;
use crate::sys::mapping::{Mapping, View, sealed_memory};
use std::cell::Cell;
use std::collections::VecDeque;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

/// Memory of this process, whose user dies at the step that was chosen.
#[derive(Debug)]
struct Ram {
    bytes: Mutex<Vec<u8>>,
    list: Mutex<Vec<u32>>,
    forgotten: Cell<usize>,
    steps_left: Cell<Option<u32>>,
}

impl Ram {
    fn new(shape: &Shape) -> Self {
        let length = (shape.block_bytes * shape.blocks) as usize;
        Self {
            bytes: Mutex::new(vec![0; length]),
            list: Mutex::new(vec![0; shape.blocks as usize]),
            forgotten: Cell::new(0),
            steps_left: Cell::new(None),
        }
    }

    fn step(&self) {
        if let Some(left) = self.steps_left.get() {
            self.steps_left.set(Some(left.wrapping_sub(1)));
            assert_ne!(left, 0, "dies here");
        }
    }
}

impl Memory for Ram {
    fn write(&self, at: usize, bytes: &[u8]) {
        self.step();
        self.bytes.lock().unwrap()[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn append(&self, at: usize, length: usize, into: &mut Vec<u8>) {
        self.step();
        into.extend_from_slice(&self.bytes.lock().unwrap()[at..at + length]);
    }

    fn word(&self, at: usize) -> [u8; UNIT] {
        self.step();
        self.bytes.lock().unwrap()[at..at + UNIT].try_into().unwrap()
    }

    fn block(&self, entry: u32) -> u32 {
        self.list.lock().unwrap()[entry as usize]
    }

    fn set_block(&self, entry: u32, block: u32) {
        self.step();
        self.list.lock().unwrap()[entry as usize] = block;
        self.step();
    }

    fn forget(&self, range: Range<usize>) {
        self.bytes.lock().unwrap()[range.clone()].fill(0xff);
        self.forgotten.set(self.forgotten.get() + range.len());
    }
}

fn raw() -> View<RawRing> {
    let fd = sealed_memory(size_of::<RawRing>()).expect("memfd");
    let mapping = Arc::new(Mapping::of(&fd).expect("maps"));
    View::new(&mapping, 0).expect("large enough")
}

const SMALL: Shape = Shape { block_bytes: 64, blocks: 8, items_max: 20, units_max: 60 };

struct Fixture {
    raw: View<RawRing>,
    ram: Ram,
    shape: Shape,
}

impl Fixture {
    fn new(shape: Shape) -> Self {
        assert!(shape.is_valid());
        Self { raw: raw(), ram: Ram::new(&shape), shape }
    }

    fn ring(&self) -> Ring<'_, Ram> {
        Ring { raw: &self.raw, shape: self.shape, memory: &self.ram }
    }

    fn put(&self, items: &[Vec<u8>]) -> Result<u32, Refused> {
        let _ = self.raw.fill.lock.lock(Deadline::NEVER);
        let mut writer = self.ring().writer();
        let mut result = Ok(());
        for item in items {
            let (one, two) = item.split_at(item.len() / 2);
            result = writer.push(&[one, two], item.len() as u32 ^ 5);
            if result.is_err() {
                break;
            }
        }
        let added = writer.publish();
        self.raw.fill.lock.unlock().unwrap();
        if added == 0 { result.map(|()| 0) } else { Ok(added) }
    }

    fn get(&self, at_most: usize) -> Result<Vec<Vec<u8>>, Damaged> {
        let _ = self.raw.empty.lock.lock(Deadline::NEVER);
        let mut reader = self.ring().reader();
        let mut items = Vec::new();
        while items.len() < at_most {
            let Some(item) = reader.next()? else { break };
            let mut bytes = Vec::new();
            reader.copy(&item, 0, &mut bytes)?;
            assert_eq!(item.kind, bytes.len() as u32 ^ 5);
            reader.skip(&item);
            items.push(bytes);
        }
        assert_eq!(reader.publish() as usize, items.len());
        self.raw.empty.lock.unlock().unwrap();
        Ok(items)
    }
}

/// A generator of numbers (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn item(&mut self, longest: u64) -> Vec<u8> {
        let (length, value) = (self.below(longest + 1), self.below(256));
        (0..length).map(|at| (at + value) as u8).collect()
    }
}

#[test]
fn what_goes_in_comes_out_in_order() {
    for seed in 1..200 {
        let mut numbers = Numbers(seed);
        let fixture = Fixture::new(SMALL);
        let mut expected = VecDeque::new();
        for _ in 0..400 {
            if numbers.below(2) == 0 {
                let items = (0..=numbers.below(3)).map(|_| numbers.item(200)).collect::<Vec<_>>();
                match fixture.put(&items) {
                    Ok(added) => expected.extend(items.into_iter().take(added as usize)),
                    Err(Refused::Full) => assert!(!expected.is_empty()),
                    Err(Refused::Damaged) => panic!("damaged"),
                }
            } else {
                for item in fixture.get(numbers.below(4) as usize).unwrap() {
                    assert_eq!(Some(item), expected.pop_front(), "seed {seed}");
                }
            }
            assert_eq!(fixture.ring().items() as usize, expected.len());
        }
    }
}

#[test]
fn whoever_dies_at_any_step_changes_nothing() {
    for seed in 1..400 {
        let mut numbers = Numbers(seed);
        let fixture = Fixture::new(SMALL);
        let mut expected = VecDeque::new();
        for _ in 0..200 {
            let dies = (numbers.below(3) == 0).then(|| numbers.below(8) as u32);
            let items = (0..=numbers.below(3)).map(|_| numbers.item(150)).collect::<Vec<_>>();
            let puts = numbers.below(2) == 0;
            let at_most = numbers.below(5) as usize;
            fixture.ram.steps_left.set(dies);
            let done = catch_unwind(AssertUnwindSafe(|| {
                if puts { (fixture.put(&items), None) } else { (Ok(0), Some(fixture.get(at_most))) }
            }));
            fixture.ram.steps_left.set(None);
            match done {
                Err(_) => {
                    // What it held is free for the next one.
                    let _ = fixture.raw.fill.lock.unlock();
                    let _ = fixture.raw.empty.lock.unlock();
                }
                Ok((Ok(added), None)) => expected.extend(items.into_iter().take(added as usize)),
                Ok((_, Some(got))) => {
                    for item in got.unwrap() {
                        assert_eq!(Some(item), expected.pop_front(), "seed {seed}");
                    }
                }
                Ok((Err(Refused::Full), _)) => {}
                Ok((Err(Refused::Damaged), _)) => panic!("damaged, seed {seed}"),
            }
            assert_eq!(fixture.ring().items() as usize, expected.len());
        }
    }
}

#[test]
fn counters_wrap_around() {
    let shape = Shape { block_bytes: 64, blocks: 4, items_max: 100, units_max: 1000 };
    let fixture = Fixture::new(shape);
    // Just before the end of all numbers, at the beginning of a place.
    let end = End { items: u32::MAX - 10, units: u32::MAX - 63 };
    let place = shape.place(end.units);
    fixture.raw.fill.tail.store(end.to_word(), Ordering::Relaxed);
    fixture.raw.empty.head.store(end.to_word(), Ordering::Relaxed);
    fixture.raw.empty.tail_seen.store(end.to_word(), Ordering::Relaxed);
    fixture.raw.fill.head_seen.store(end.to_word(), Ordering::Relaxed);
    let blocks = Blocks { laid: place, reused: place };
    fixture.raw.fill.blocks.store(blocks.to_word(), Ordering::Relaxed);
    let mut numbers = Numbers(7);
    for _ in 0..1000 {
        let item = numbers.item(100);
        assert_eq!(fixture.put(std::slice::from_ref(&item)), Ok(1));
        assert_eq!(fixture.get(1).unwrap(), [item]);
    }
}

#[test]
fn limits_hold_and_memory_is_given_back() {
    let shape = Shape { block_bytes: 64, blocks: 256, items_max: 120, units_max: u32::MAX };
    let fixture = Fixture::new(shape);
    let item = vec![7; 80];
    for _ in 0..120 {
        assert_eq!(fixture.put(std::slice::from_ref(&item)), Ok(1));
    }
    assert_eq!(fixture.put(&[Vec::new()]), Err(Refused::Full));
    assert_eq!(fixture.get(usize::MAX).unwrap().len(), 120);
    assert_eq!(fixture.put(&[vec![1; 200]]), Ok(1));
    // 120 times 11 units, in blocks of 8.
    let forgotten = (165 - BLOCKS_KEPT as usize) * 64;
    assert_eq!(fixture.ram.forgotten.get(), forgotten);
    assert_eq!(fixture.get(1).unwrap(), [vec![1; 200]]);
    assert_eq!(fixture.put(&[vec![1; 256 * 64]]), Err(Refused::Full));
    assert_eq!(fixture.put(&[vec![1; 254 * 64]]), Ok(1));
    assert_eq!(fixture.get(1).unwrap().len(), 1);
}

#[test]
fn large_items_go_through_all_blocks_that_are_kept() {
    let shape = Shape { block_bytes: 512, blocks: 256, items_max: 100, units_max: u32::MAX };
    for (length, blocks) in [(8, 1), (512, BLOCKS_KEPT as usize)] {
        let fixture = Fixture::new(shape);
        for _ in 0..2000 {
            assert_eq!(fixture.put(&[vec![7; length]]), Ok(1));
            assert_eq!(fixture.get(1).unwrap(), [vec![7; length]]);
        }
        let used = fixture.ram.bytes.lock().unwrap().chunks(512).filter(|b| b.contains(&7)).count();
        assert_eq!(used, blocks);
        assert_eq!(fixture.ram.forgotten.get(), 0);
    }
    // A ring with fewer blocks has no more of them.
    let fixture = Fixture::new(Shape { blocks: 4, ..shape });
    for _ in 0..100 {
        assert_eq!(fixture.put(&[vec![7; 512]]), Ok(1));
        assert_eq!(fixture.get(1).unwrap(), [vec![7; 512]]);
    }
}

#[test]
fn scribbles_are_bounded() {
    for seed in 1..3000 {
        let mut numbers = Numbers(seed);
        let fixture = Fixture::new(SMALL);
        for _ in 0..numbers.below(20) {
            let _ = fixture.put(&[numbers.item(100)]);
        }
        for _ in 0..numbers.below(4) {
            let words = [
                &fixture.raw.fill.tail,
                &fixture.raw.fill.blocks,
                &fixture.raw.fill.head_seen,
                &fixture.raw.empty.head,
                &fixture.raw.empty.tail_seen,
            ];
            let scribble = numbers.below(u64::MAX) >> numbers.below(64);
            words[numbers.below(5) as usize].store(scribble, Ordering::Relaxed);
            fixture.ram.bytes.lock().unwrap()[numbers.below(500) as usize] = seed as u8;
            fixture.ram.list.lock().unwrap()[numbers.below(8) as usize] = seed as u32;
        }
        // Whatever comes out, nothing panics, hangs or leaves the memory.
        for _ in 0..20 {
            let _ = put_without_lock(&fixture, &mut numbers);
            let mut reader = fixture.ring().reader();
            if let Ok(Some(item)) = reader.next() {
                let mut bytes = Vec::new();
                let _ = reader.copy(&item, 0, &mut bytes);
                assert!(bytes.len() <= 64 * 8);
                reader.skip(&item);
                reader.publish();
            }
        }
    }
}

fn put_without_lock(fixture: &Fixture, numbers: &mut Numbers) -> Result<(), Refused> {
    let mut writer = fixture.ring().writer();
    writer.push(&[&numbers.item(100)], 0)?;
    writer.publish();
    Ok(())
}
