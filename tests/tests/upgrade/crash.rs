//! What the next daemon knows after a crash.

use super::{double, hold, processes, status};
use mpserverd_proto::client::{Reply, Request};
use mpserverd_proto::ids::{PoolId, TemplateId};
use mpserverd_proto::report::TemplateRow;
use mpserverd_proto::template::{Attach, TemplateBoot};
use mpserverd_tests::daemon::Daemon;
use mpserverd_tests::eventually;
use mpserverd_tests::suite::{PATIENCE, value};
use std::os::fd::AsFd;
use std::time::Duration;

#[test]
fn the_next_daemon_knows_who_has_the_workers_and_goes_on_counting_generations() {
    let mut daemon = Daemon::start(&["--spares", "2..8"]);
    let context = daemon.context();
    let wake = context.event().unwrap();
    for _ in 0..3 {
        assert!(daemon.mpctl(&["reload"]).status.success());
    }
    let start = |code: i32| context.process::<hold>((wake.clone(), code)).start().unwrap();
    let workers = (0..5).map(start).collect::<Vec<_>>();
    let generation = status(&daemon).generation;
    assert!(generation >= 4);
    // The template is told along with the next order to fork.
    let full = || status(&daemon).templates.iter().all(|row| row.spares >= row.spares_wanted);
    assert!(eventually(PATIENCE, full));
    std::thread::sleep(Duration::from_millis(50));
    daemon.kill();
    daemon.restart();
    let known = || {
        let rows = processes(&daemon).rows;
        workers.iter().all(|worker| {
            let row = rows.iter().find(|row| row.pid == worker.pid());
            row.is_some_and(|row| row.client_pid == Some(std::process::id()) && !row.spare)
        })
    };
    assert!(eventually(PATIENCE, known), "{:?}\n{}", processes(&daemon), daemon.log());
    assert_eq!(status(&daemon).generation, generation);
    assert!(daemon.mpctl(&["reload"]).status.success());
    assert_eq!(status(&daemon).generation, generation + 1);
    wake.set();
    for (code, worker) in workers.iter().enumerate() {
        assert_eq!(worker.join_timeout(PATIENCE), Some(code as i32), "{:?}", worker.ending());
    }
    assert_eq!(value(context.process::<double>((4,))), 8);
}

#[test]
fn workers_of_an_earlier_generation_come_along_through_every_death() {
    let mut daemon = Daemon::start(&[]);
    let context = daemon.context();
    let wake = context.event().unwrap();
    let start = |code: i32| context.process::<hold>((wake.clone(), code)).start().unwrap();
    let old = start(3);
    let generation = status(&daemon).generation;
    assert!(daemon.mpctl(&["reload"]).status.success());
    let new = start(4);
    for _ in 0..3 {
        daemon.kill();
        daemon.restart();
        // The template of the first was retired before the first death.
        let known = || {
            let rows = processes(&daemon).rows;
            [(&old, generation), (&new, generation + 1)].iter().all(|(worker, generation)| {
                let row = rows.iter().find(|row| row.pid == worker.pid());
                row.is_some_and(|row| row.generation == *generation && !row.spare)
            })
        };
        assert!(eventually(PATIENCE, known), "{:?}\n{}", processes(&daemon), daemon.log());
    }
    assert_eq!(value(context.process::<double>((4,))), 8);
    wake.set();
    assert_eq!(old.join_timeout(PATIENCE), Some(3), "{:?}", old.ending());
    assert_eq!(new.join_timeout(PATIENCE), Some(4), "{:?}", new.ending());
    // With its last worker goes the template.
    // The default one may be new: a daemon that is alone begins to count anew.
    let is_old = |row: &TemplateRow| row.name != "default" && row.generation <= generation;
    let gone = || !status(&daemon).templates.iter().any(is_old);
    assert!(eventually(PATIENCE, gone), "{:?}", status(&daemon));
}

#[test]
fn an_offer_that_ran_out_of_time_is_no_template_that_ended() {
    let daemon = Daemon::start(&["--log-level", "debug"]);
    let boot = TemplateBoot {
        template: TemplateId(1),
        pool: PoolId(1),
        key: b"all/own modules nobody".to_vec(),
        generation: 1,
        name: "nobody".into(),
        modules: Vec::new(),
        socket: Vec::new(),
        orphan_grace_ms: 0,
        canary_ms: 0,
        sandbox: Vec::new(),
        birth: Default::default(),
        catch_stderr: false,
    };
    let (pid, memory) = (std::process::id(), Default::default());
    let attach = Attach { boot, pid, modules: Vec::new(), memory, retiring: false };
    for _ in 0..3 {
        let (ours, theirs) = mp::sys::fd::seqpacket_pair().unwrap();
        let request = Request::Attach(attach.clone());
        let (answer, _) = daemon.connect().call(&request, &[theirs.as_fd()], None).unwrap();
        assert!(matches!(answer, Reply::Done), "{answer:?}");
        // A template that has not waited for the answer. Were it killed, that would be this process.
        drop((ours, theirs));
        let gone = || daemon.log().contains("an offer has run out of time");
        assert!(eventually(PATIENCE, gone), "{}", daemon.log());
    }
    assert!(status(&daemon).templates.iter().all(|row| row.pid != Some(pid)));
    assert_eq!(value(daemon.context().process::<double>((4,))), 8);
}
