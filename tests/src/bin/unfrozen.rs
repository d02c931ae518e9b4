//! A program that starts processes without having called `freeze_support`.

#[mp::task]
fn nothing() {}

fn main() {
    for method in [mp::StartMethod::Spawn, mp::StartMethod::ForkServer] {
        match mp::get_context(method).process::<nothing>(()).start() {
            Err(error @ mp::StartError::NoFreezeSupport) => println!("{method}: {error}"),
            other => println!("{method}: unexpected {other:?}"),
        }
    }
    #[cfg(target_os = "linux")]
    {
        // A fork needs no other program, so nothing has to be frozen.
        let process = mp::get_context(mp::StartMethod::Fork).process_fn(|| 7).start();
        println!("fork: {:?}", process.map(|process| process.result().ok()));
    }
}
