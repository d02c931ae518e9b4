//! `ShareableList` between processes.

use super::{Wide, is_gone, path};
use mp::{ListItem, ShareableList};
use mpserverd_tests::suite;
use mpserverd_tests::suite::{outcome, value};

#[mp::task]
fn change(list: ShareableList) -> Vec<String> {
    let before = list.iter().map(|item| format!("{:?}", item.unwrap())).collect();
    list.set(0, "öß\0").unwrap();
    list.set(1, ListItem::None).unwrap();
    before
}

#[mp::task]
fn find(name: &str) -> Option<usize> {
    ShareableList::attach(name).unwrap().index(&ListItem::from(3)).unwrap()
}

#[mp::task]
fn write_for_ever(list: ShareableList, byte: u8) {
    let mut length = 0;
    loop {
        list.set(0, vec![byte; length]).unwrap();
        length = (length + 1) % 200;
    }
}

suite![what_a_child_writes_is_seen, a_list_is_found_by_name, items_are_not_torn];

fn what_a_child_writes_is_seen(ctx: &mp::Context) {
    let list = ShareableList::new(["a\0b".into(), 1.into(), ListItem::None]).unwrap();
    let before = value(ctx.process::<change>((list.clone(),)));
    assert_eq!(before, [r#"Str("a\0b")"#, "Int(1)", "None"]);
    assert_eq!(list.to_vec().unwrap(), ["öß\0".into(), ListItem::None, ListItem::None]);
}

fn a_list_is_found_by_name(ctx: &mp::Context) {
    let list = ShareableList::new([1, 2, 3].map(ListItem::from)).unwrap();
    assert_eq!(value(ctx.process::<find>((list.name().to_owned(),))), Some(2));
    let name = list.name().to_owned();
    assert!(path(&name).exists());
    drop(list);
    assert!(is_gone(&name));
}

fn items_are_not_torn(ctx: &mp::Context) {
    let list = ShareableList::new([vec![0; 200].into()]).unwrap();
    let start =
        |byte| ctx.process::<write_for_ever>((list.clone(), byte)).daemon(true).start().unwrap();
    let writers = [1, 2].map(start);
    for _ in 0..5000 {
        let ListItem::Bytes(bytes) = list.get(0).unwrap() else { panic!("another type") };
        assert!(bytes.iter().all(|byte| *byte == bytes[0]), "{bytes:?}");
    }
    for writer in writers {
        writer.kill().unwrap();
        assert!(matches!(outcome(&writer), Err(mp::ProcessError::Died { .. })));
    }
    list.set(0, Wide::of(1).first as i64).unwrap();
    assert_eq!(list.get(0).unwrap(), ListItem::Int(1));
}
