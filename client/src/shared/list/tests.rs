use super::*;

fn all() -> Vec<ListItem> {
    let long = "ü".repeat(300);
    vec![
        ListItem::None,
        true.into(),
        i64::MIN.into(),
        f64::INFINITY.into(),
        "text\0\0".into(),
        long.into(),
        "".into(),
        vec![0u8; 5].into(),
        vec![0xff; 1000].into(),
    ]
}

#[test]
fn items_come_back_as_they_were() {
    let list = ShareableList::new(all()).unwrap();
    assert_eq!(list.to_vec().unwrap(), all());
    for (index, item) in all().into_iter().enumerate() {
        list.set(index, 0).unwrap();
        assert_eq!(list.get(index).unwrap(), ListItem::Int(0));
        list.set(index, item).unwrap();
    }
    assert_eq!(ShareableList::attach(list.name()).unwrap().to_vec().unwrap(), all());
    assert_eq!(list.format().unwrap(), "xxxxxx?xxxxxxxx?qd8s608s8s8s1008s");
    assert_eq!((list.count(&ListItem::from("")).unwrap(), list.len()), (1, 9));
    assert_eq!(list.index(&ListItem::from(2)).unwrap(), None);
    assert!(ShareableList::new([]).unwrap().is_empty());
}

#[test]
fn what_does_not_fit_changes_nothing() {
    let list = ShareableList::new(["1234567".into(), 1.into()]).unwrap();
    for index in 0..2 {
        let error = list.set(index, "123456789").unwrap_err();
        assert!(matches!(error, ShareError::TooLong { bytes: 9, room: 8, .. }), "{error}");
        assert!(list.set(index, [7; 9]).is_err());
        list.set(index, "12345678").unwrap();
    }
    for index in [2, usize::MAX] {
        let error = list.get(index).unwrap_err();
        assert!(matches!(error, ShareError::OutOfRange { length: 2, .. }), "{error}");
        assert!(list.set(index, ()).is_err());
    }
}

#[test]
fn nonsense_in_the_memory_is_an_error() {
    let list = ShareableList::new(["text".into(), 1.into()]).unwrap();
    let record = HEADER + 2 * ENTRY;
    let put = |at: usize, word: u64| list.shm().write(at, &[word]).unwrap();
    let error = |index: usize| list.get(index).unwrap_err();

    list.shm().write(record + RECORD + COPY, &[0xffu8]).unwrap();
    assert!(matches!(error(0), ShareError::NotText { index: 0, .. }));
    put(record + RECORD, 99);
    assert!(matches!(error(0), ShareError::Damaged { .. }), "a kind that there is not");
    put(record + RECORD, Tag::Bytes as u64);
    for length in [9, u64::MAX] {
        put(record + RECORD + 8, length);
        assert!(matches!(error(0), ShareError::Damaged { .. }), "a length of {length}");
    }
    for (offset, capacity) in [(u64::MAX, 8), (1, 8), (64, u64::MAX), (64, 1 << 40), (1 << 40, 8)] {
        put(HEADER, offset);
        put(HEADER + 8, capacity);
        assert!(matches!(error(0), ShareError::Damaged { .. }), "{offset} {capacity}");
        assert!(list.set(0, 1).is_err());
    }
    assert_eq!(list.get(1).unwrap(), ListItem::Int(1));
}

#[test]
fn what_is_no_list_is_refused() {
    let refused = |bytes: &[u64]| {
        let shm = SharedMemory::create(None, 64).unwrap();
        shm.write(0, bytes).unwrap();
        ShareableList::from_shm(shm).unwrap_err()
    };
    let namespace = identity::pid_namespace();
    assert!(matches!(refused(&[0]), ShareError::Foreign { .. }));
    assert!(matches!(refused(&[MAGIC, namespace + 1]), ShareError::OtherNamespace { .. }));
    for length in [3, 1 << 24, u64::MAX] {
        assert!(matches!(refused(&[MAGIC, namespace, length]), ShareError::Foreign { .. }));
    }
    let tiny = SharedMemory::create(None, 20).unwrap();
    assert!(matches!(ShareableList::from_shm(tiny), Err(ShareError::Foreign { .. })));
}

#[test]
fn a_list_that_was_cut_off_is_an_error() {
    let list = ShareableList::new([vec![1u8; 10_000].into()]).unwrap();
    let path = std::path::Path::new("/dev/shm").join(list.name());
    std::fs::File::options().write(true).open(path).unwrap().set_len(100).unwrap();
    assert!(matches!(list.get(0), Err(ShareError::Truncated { now: 100, .. })));
    assert!(matches!(list.set(0, 1), Err(ShareError::Truncated { .. })));
}
