//! Floods: the collector lives, its memory is bounded, and what is lost is counted to the last one.

use crate::{alone, record};
use mp::logging::Level;
use mpserverd_tests::seeds;
use mpserverd_tests::suite::outcome;

alone![a_flood_is_counted_to_the_last_event, a_limit_is_kept];

#[mp::task]
fn flood(count: u64) {
    for number in 0..count {
        tracing::info!(number, text = "some text that makes it longer", "drop in the flood");
    }
}

fn resident_kib() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4
}

/// Events are counted here, not kept.
struct Counter(mp::Value<u64>, mp::Value<u64>);

struct Lost<'a>(&'a mp::Value<u64>);

impl tracing::field::Visit for Lost<'_> {
    fn record_u64(&mut self, field: &tracing::field::Field, value: u64) {
        if field.name() == "lost" {
            self.0.fetch_add(value);
        }
    }

    fn record_debug(&mut self, _: &tracing::field::Field, _: &dyn std::fmt::Debug) {}
}

impl tracing::Subscriber for Counter {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        if event.metadata().target() == mp::logging::TARGET {
            event.record(&mut Lost(&self.1));
        } else {
            self.0.fetch_add(1);
        }
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

/// So many events of four workers; those that arrived and those that were said to be lost.
fn after_a_flood(ctx: &mp::Context, each: u64) -> (u64, u64) {
    let (count, lost) = (mp::Value::new(0u64).unwrap(), mp::Value::new(0u64).unwrap());
    let counter = Counter(count.clone(), lost.clone());
    tracing::subscriber::set_global_default(counter).unwrap();
    mp::logging::forward(Level::INFO);
    let before = resident_kib();
    let start = |_| ctx.process::<flood>((each,)).start().unwrap();
    let processes = (0..4).map(start).collect::<Vec<_>>();
    for process in &processes {
        outcome(process).unwrap();
        assert_eq!(mpserverd_tests::suite::end(process), 0);
    }
    let grown = resident_kib().saturating_sub(before);
    assert!(grown < 64 << 10, "{grown} KiB more");
    let (arrived, lost) = (count.value(), lost.value());
    println!("{arrived} arrived, {lost} lost, {grown} KiB more");
    (arrived, lost)
}

fn a_flood_is_counted_to_the_last_event(ctx: &mp::Context) {
    mp::logging::set_rate_limit(0);
    let each = seeds::count(25_000);
    let (arrived, lost) = after_a_flood(ctx, each);
    assert_eq!(arrived + lost, 4 * each);
    assert!(arrived > 0);
}

fn a_limit_is_kept(ctx: &mp::Context) {
    mp::logging::set_rate_limit(50);
    let begun = std::time::Instant::now();
    let (arrived, lost) = after_a_flood(ctx, 5_000);
    assert_eq!(arrived + lost, 20_000);
    // The last eight of each process and second come beside the limit.
    let periods = begun.elapsed().as_secs() + 2;
    assert!(arrived <= 4 * periods * (50 + 2 * 8), "{arrived} in {periods} s");
}

#[mp::task]
fn a_million(method: crate::Method) {
    mp::logging::set_rate_limit(0);
    let (arrived, lost) = after_a_flood(&method.context(), 250_000);
    assert_eq!(arrived + lost, 1_000_000);
}

#[test]
#[ignore = "long: a million events under each start method"]
fn a_million_events_are_counted() {
    for method in mp::get_all_start_methods() {
        crate::in_own_process(*method, |spawn, method| spawn.process::<a_million>((method,)));
    }
}

/// Nanoseconds of an event that is off, of one that is on, and of one in a span.
#[mp::task]
fn costs() -> [f64; 3] {
    let rounds = 2_000;
    let each = |event: &dyn Fn(u32)| {
        let begun = std::time::Instant::now();
        (0..rounds).for_each(event);
        begun.elapsed().as_nanos() as f64 / f64::from(rounds)
    };
    each(&|number| tracing::info!(number, "to be known"));
    std::thread::sleep(std::time::Duration::from_millis(200));
    let off = each(&|number| tracing::debug!(number, "off"));
    let on = each(&|number| tracing::info!(number, "on"));
    std::thread::sleep(std::time::Duration::from_millis(200));
    let _span = tracing::info_span!("span", a = 1).entered();
    let inside = each(&|number| tracing::info!(number, "in a span"));
    [off, on, inside]
}

#[mp::task]
fn print_costs(method: crate::Method) {
    let (count, lost) = (mp::Value::new(0u64).unwrap(), mp::Value::new(0u64).unwrap());
    tracing::subscriber::set_global_default(Counter(count.clone(), lost.clone())).unwrap();
    mp::logging::forward(Level::INFO);
    let [off, on, inside] = mpserverd_tests::suite::value(method.context().process::<costs>(()));
    println!("off {off:.1} ns, on {on:.0} ns, in a span {inside:.0} ns, lost {}", lost.value());
}

#[test]
#[ignore = "prints what events cost"]
fn what_events_cost() {
    for method in mp::get_all_start_methods() {
        crate::in_own_process(*method, |spawn, method| spawn.process::<print_costs>((method,)));
    }
}

#[mp::task]
fn log_from_a_handler() -> u64 {
    use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
    extern "C" fn handler(_: i32) {
        tracing::info!("from a handler");
    }
    tracing::info!("first");
    let action = SigAction::new(SigHandler::Handler(handler), SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: what the handler does is what is tested: it takes no lock that this thread holds.
    unsafe { sigaction(Signal::SIGUSR1, &action) }.unwrap();
    // Once while this thread says nothing itself.
    nix::sys::signal::raise(Signal::SIGUSR1).unwrap();
    let me = nix::unistd::gettid().as_raw();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..2_000 {
                // SAFETY: sends a signal to a thread of this process that waits for this one.
                unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), me, libc::SIGUSR1) };
                std::thread::sleep(std::time::Duration::from_micros(20));
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        let mut logged = 0;
        while !stop.load(std::sync::atomic::Ordering::Relaxed) {
            let _span = tracing::info_span!("interrupted", logged).entered();
            tracing::info!(logged, "from the thread");
            logged += 1;
        }
        logged
    })
}

fn handlers_body(ctx: &mp::Context) {
    let seen = record(Level::INFO);
    mp::logging::set_rate_limit(0);
    let process = ctx.process::<log_from_a_handler>(()).start().unwrap();
    let logged = outcome(&process).unwrap();
    let messages = seen.messages();
    let of = |text: &str| messages.iter().filter(|message| *message == text).count() as u64;
    let (thread, handler) = (of("from the thread"), of("from a handler"));
    // What a handler said while its thread said something is counted as lost.
    assert!(handler > 0 && thread + seen.lost() >= logged, "{handler}, {thread} of {logged}");
}

#[mp::task]
fn handlers(method: crate::Method) {
    handlers_body(&method.context());
}

#[test]
fn signal_handlers_may_log() {
    crate::in_own_process(mp::StartMethod::Spawn, |spawn, method| {
        spawn.process::<handlers>((method,))
    });
}
