//! x
mp::enable_in_tests!();
use std::time::Duration;

#[mp::task]
fn square(x: u64) -> u64 {
    x * x
}
#[mp::task]
fn read(path: &std::path::Path) -> std::io::Result<String> {
    std::fs::read_to_string(path)
}
#[mp::task]
fn boom(text: &str) {
    panic!("boom {text}")
}
#[mp::task]
fn fails(text: &str) -> Result<u32, mp::TaskError> {
    Ok(text.parse()?)
}
#[mp::task]
fn quit(code: i32) {
    std::process::exit(code)
}
#[mp::task]
fn sleep(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms))
}

fn all(ctx: &mp::Context) {
    let p = ctx.process::<square>((7,)).start().unwrap();
    assert_eq!(p.result().unwrap(), 49);
    assert_eq!(p.join(), 0);
    let p = ctx.process::<read>(("/nonexistent".into(),)).start().unwrap();
    assert_eq!(p.result().unwrap().unwrap_err().kind(), std::io::ErrorKind::NotFound);
    assert_eq!(p.join(), 1);
    let p = ctx.process::<boom>(("x".into(),)).start().unwrap();
    println!("{}", p.result().unwrap_err());
    assert_eq!(p.join(), 1);
    let p = ctx.process::<fails>(("x".into(),)).start().unwrap();
    println!("{}", p.result().unwrap().unwrap_err());
    let p = ctx.process::<quit>((8,)).start().unwrap();
    println!("{}", p.result().unwrap_err());
    assert_eq!(p.join(), 8);
    let p = ctx.process::<sleep>((100_000,)).start().unwrap();
    assert!(p.is_alive());
    p.terminate().unwrap();
    assert_eq!(p.join(), -15);
    println!("{:?}", p);
    let p = ctx.process::<sleep>((100_000,)).deadline(Duration::from_millis(50)).start().unwrap();
    println!("{}", p.result().unwrap_err());
    assert_eq!(p.join(), -9);
}
#[test]
fn spawn() {
    all(&mp::get_context(mp::StartMethod::Spawn));
}
#[test]
fn forked() {
    let ctx = mp::get_context(mp::StartMethod::Fork);
    println!("{}", ctx.process::<square>((7,)).start().unwrap_err());
    let p = ctx.process_fn(|| 5u32).allow_threads(true).start().unwrap();
    assert_eq!(p.result().unwrap(), 5);
    let p = ctx.process::<square>((7,)).allow_threads(true).start().unwrap();
    assert_eq!(p.result().unwrap(), 49);
}

#[test]
fn served() {
    let ctx = mp::get_context(mp::StartMethod::ForkServer).with_fallback(mp::Fallback::Fail);
    if std::env::var_os("MPSERVERD_SOCKET").is_none() {
        return;
    }
    all(&ctx);
    for _ in 0..5 {
        let t = std::time::Instant::now();
        let n = 1000;
        for x in 0..n {
            let p = ctx.process::<square>((x,)).start().unwrap();
            assert_eq!(p.result().unwrap(), x * x);
            assert_eq!(p.join(), 0);
        }
        println!("{:?} each", t.elapsed() / n as u32);
    }
}
