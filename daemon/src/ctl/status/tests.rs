use super::*;
use mpserverd_proto::ids::TemplateId;
use mpserverd_proto::quota::{HeldRow, Holder};
use mpserverd_proto::report::PenaltyRow;
use mpserverd_proto::template::Memory;
use mpserverd_proto::upkeep::{Change, GenerationRow, Upkeep};
use unicode_width::UnicodeWidthStr;

fn template(name: &str, state: TemplateState, error: Option<&str>) -> TemplateRow {
    TemplateRow {
        template: TemplateId(3),
        name: name.to_owned(),
        state,
        pid: Some(4_194_304),
        generation: 2,
        spares: 2,
        spares_wanted: 4,
        workers: 1,
        queued: 0,
        starts: 90,
        spare_hits: 60,
        memory: Memory { rss_kib: 8192, private_kib: 4608, huge_kib: 0, fork_us: 85 },
        age_ms: 125_000,
        error: error.map(str::to_owned),
    }
}

fn report() -> StatusReport {
    StatusReport {
        version: "0.1.0".to_owned(),
        pid: 4711,
        uptime_ms: 3_600_000,
        socket: "/run/user/1000/mpserverd/mpserverd.sock".to_owned(),
        generation: 2,
        stopping: false,
        clients: 1,
        workers: 1,
        workers_max: 4096,
        queued: 0,
        starts: 90,
        spare_hits: 60,
        ends: 89,
        refused: 0,
        templates: vec![
            template("default", TemplateState::Ready, None),
            template(&"very-long-name-".repeat(9), TemplateState::Failed, Some("no such file")),
        ],
        penalties: vec![
            PenaltyRow {
                uid: 1001,
                times: 4,
                why: "malformed request".to_owned(),
                penalty_ms: 8000,
                left_ms: 5000,
            },
            PenaltyRow {
                uid: 1002,
                times: 1,
                why: "half a frame".to_owned(),
                penalty_ms: 1000,
                left_ms: 0,
            },
        ],
        reload: Upkeep {
            running_ms: Some(2500),
            last: Some(Change {
                ago_ms: 61_000,
                took_ms: 40,
                pause_us: None,
                error: Some("/etc/mpserverd/mpserverd.toml:3: `spares` is no option".to_owned()),
            }),
        },
        upgrade: Upkeep {
            running_ms: None,
            last: Some(Change { ago_ms: 3000, took_ms: 80, pause_us: Some(4200), error: None }),
        },
        generations: vec![GenerationRow { generation: 1, templates: 1, workers: 2 }],
        held: vec![
            held("memory", Holder::Cgroup, true),
            held("pids", Holder::Cgroup, true),
            held("fds", Holder::Rlimit, true),
            held("nice", Holder::Process, false),
        ],
        quotas: vec![quota_row("workers", "uid 1000", 4, 4), quota_row("queue", "host", 0, 9)],
    }
}

fn held(limit: &str, by: Holder, configured: bool) -> HeldRow {
    HeldRow { limit: limit.to_owned(), by, configured }
}

fn quota_row(limit: &str, scope: &str, used: u64, max: u64) -> QuotaRow {
    let set_in = "/etc/mpserverd/mpserverd.toml:7 ([limits])".to_owned();
    QuotaRow { limit: limit.to_owned(), scope: scope.to_owned(), used, max, set_in }
}

#[test]
fn everything_is_there_where_there_is_room() {
    let screen = Screen { width: Some(300), colours: false, json: false };
    let text = text(&report(), &screen);
    for part in [
        "mpserverd 0.1.0, pid 4711, up 1h00m, generation 2\n",
        "mpserverd.sock, 1 client\n",
        "1 of 4096 workers run, 0 queued; 90 starts so far, 66% spare hits, 0 refused\n",
        "uid 1001: refused for 5s more, 4 times of misbehaviour, the last: malformed request\n",
        "uid 1002: noted (1s), 1 time of misbehaviour, the last: half a frame\n",
        "reload under way for 2.5s\n",
        "last reload 1m01s ago FAILED, all is as it was: /etc/mpserverd/mpserverd.toml:3: `spares`",
        "last upgrade 3s ago, took 80ms, pause 4.2ms\n",
        "generation 1: 2 workers and 1 template left\n",
        "limits held: memory, pids by the control group; fds by rlimits\n",
        "workers  uid 1000     4    4  /etc/mpserverd/mpserverd.toml:7 ([limits])\n",
        "2/4",
        "66%",
        "4.5M",
        "85µs",
        "2m05s",
        "t3",
        ": no such file\n",
    ] {
        assert!(text.contains(part), "{part}:\n{text}");
    }
}

#[test]
fn it_fits() {
    for width in [40, 80, 200] {
        let screen = Screen { width: Some(width), colours: false, json: false };
        let text = text(&report(), &screen);
        let widest = text.lines().map(UnicodeWidthStr::width).max();
        assert!(widest <= Some(usize::from(width)), "{width}:\n{text}");
        assert!(text.contains("ready") && text.contains("default"), "{text}");
    }
}

#[test]
fn json_has_stable_names() {
    let value = serde_json::to_value(report()).expect("json");
    assert_eq!(value["templates"][0]["state"], "ready");
    assert_eq!(value["templates"][0]["memory"]["private_kib"], 4608);
    assert_eq!(value["templates"][0]["template"], 3);
    assert_eq!(value["workers_max"], 4096);
}

#[test]
fn a_quiet_daemon_has_nothing_to_note() {
    let mut report = report();
    (report.reload, report.upgrade) = (Upkeep::default(), Upkeep::default());
    report.generations.clear();
    report.held.retain(|row| !row.configured);
    report.penalties.clear();
    assert_eq!(notes::lines(&report), Vec::<String>::new());
}
