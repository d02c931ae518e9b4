//! Calls of our manager's objects.

use super::case::Call;
use super::turns::{Run, each};
use mpserverd_tests::bench::text;

type Once = Box<dyn FnMut() -> Result<(), mp::ManagerError>>;

/// A server of its own, and the same call again and again.
pub(crate) fn calls(call: Call) -> Result<Run, String> {
    let manager = mp::get_context(mp::StartMethod::Spawn).manager().map_err(text)?;
    let numbers = manager.list([7u64]).map_err(text)?;
    let name = "one".to_owned();
    let by_name = manager.dict([(name.clone(), 7u64)]).map_err(text)?;
    let grown = numbers.clone();
    let mut once: Once = match call {
        Call::ListGet => Box::new(move || numbers.get(0).map(drop)),
        Call::ListSet => Box::new(move || numbers.set(0, &7)),
        Call::ListAppend => Box::new(move || numbers.append(&7)),
        Call::DictGet => Box::new(move || by_name.get(&name).map(drop)),
        Call::DictSet => Box::new(move || by_name.set(&name, &7)),
    };
    Ok(Box::new(move |count| {
        let _alive = &manager;
        let turn = each(count, || (0..count).try_for_each(|_| once()).map_err(text))?;
        // What one turn has appended does not weigh on the next one.
        grown.clear().and_then(|()| grown.append(&7)).map_err(text)?;
        Ok(turn)
    }))
}
