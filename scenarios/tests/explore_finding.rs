//! A finding that was made by hand is told: taken down to its smallest witness, reproduced, logged and reported.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::sync::Arc;

use devices::{DiskAction, DiskStep};
use scenarios::Scenario;
use scenarios::checks::Record;
use scenarios::explore::cuts::cuts;
use scenarios::explore::family::{Choice, Origin};
use scenarios::explore::finding::{Context, Options, boot, logs, loss, tell};
use scenarios::explore::judge::{Class, Finding, Judge};
use scenarios::explore::recovery::Outcome;
use scenarios::explore::subject::Subject;
use scenarios::explore::survey::Recording;
use scenarios::history::Happening;
use scenarios::kernels::{Kernels, Loaded};
use scenarios::report::{Phase, PowerHappening};
use scenarios::repro::{Booted, Repro};
use scenarios::run::{self, Listener};

struct Silent;

impl Listener for Silent {
    fn phase(&mut self, _: &Phase) {}
    fn power(&mut self, _: &PowerHappening) {}
}

const TEXT: &str = r#"version = 1
cycles = 1
steps = [{ do = "hibernate", mode = "shutdown" }, "resume", "check"]
workloads = ["memory", "tmpfs", "ext4"]

[kernel]
primary = "primary-6.12"

[[disk]]
name = "system"
size = "256M"
partitions = [{ use = "ext4", size = "64M" }, { use = "swap", size = "128M" }]
"#;

/// What Linux does as it is: the header of swap is written before the last page of the map. A cut between them loses the session, though
/// nothing is lost that the disk accepted. The witness that is given is a larger one: the map page is accepted, and lost with what else
/// came last.
#[test]
fn a_finding_is_taken_down_reproduced_and_reported() {
    let scenario = Scenario::read(TEXT, &[]).unwrap_or_else(|(mistake, _)| panic!("{mistake:?}"));
    let kernels =
        Kernels::gather(&scenario, |name, _, is_saver| Loaded::new(name, is_saver, &|_| {}).map(Arc::new))
            .unwrap();
    let recording = Recording::of("by-hand", &scenario, &kernels, &mut Silent).unwrap();
    let subject = Subject::of(&recording.scenario, &kernels, &recording.finished).unwrap();
    let record = recording.record();
    let cuts = cuts(&record, 0..record.entries().len());
    let judge = Judge::new(&record, &cuts, subject.commit.clone()).unwrap();
    let narrative = scenarios::explore::finding::narrative("by-hand", &recording.scenario, &kernels);
    // The last write of the boot that hibernates: the map's last page.
    let entries = record.entries();
    let last = cuts.iter().rposition(|cut| {
        matches!(&entries[cut.entry].what, Happening::Disk(event)
            if cut.step == "hibernate" && event.step == DiskStep::Accepted && matches!(event.action, DiskAction::Write { .. }))
    });
    let cut = last.unwrap();
    let then = loss::Then::at(&record, cuts[cut].entry).unwrap();
    let pending = then.disks[0].pending.len();
    assert!(pending > 2, "{pending}");
    let finding = Finding {
        class: Class {
            clause: "O5.C1".into(),
            what: "a header before its map".into(),
            step: "hibernate".into(),
        },
        state: 0,
        origin: Origin::at(cut, vec![Choice::Drop(pending - 1)], 1),
        observed: Outcome::Lost("PM: hibernation: Failed to load image, recovering.".into()),
        seen: 7,
    };
    let context = Context {
        name: "by-hand",
        text: TEXT,
        scenario: &recording.scenario,
        kernels: &kernels,
        record: &record,
        cuts: &cuts,
        judge: &judge,
        subject: &subject,
        narrative: Some(&narrative),
        fixed: None,
    };
    let directory = match std::env::var_os("KJVM_KEEP_FINDING") {
        Some(kept) => kept.into(),
        None => tempfile::tempdir().unwrap().keep(),
    };
    let options = Options { boots: 24, report: true, ..Options::default() };
    let mut boots = 0;
    let mut execute = |disks: &[devices::disk::Media]| {
        boots += 1;
        boot(&context, disks)
    };
    let found = tell(&context, &finding, 1, &directory, &options, &mut execute).unwrap();
    eprintln!("{}", found.text(1));
    assert_eq!(found.said, [""; 0], "{found:#?}");
    // Nothing need be lost: the power only has to fail in between.
    assert_eq!((found.lost_writes.len(), found.weakest_fault.as_str()), (0, "cut only"));
    assert!(
        found.cut.event.starts_with("write #") && found.cut.event.ends_with(" accepted"),
        "{}",
        found.cut.event
    );
    assert!(found.cut.words.contains("header S1SUSPEND; no FLUSH since #"), "{}", found.cut.words);
    assert!(matches!(found.observed, Outcome::Lost(_)) && found.minimal.is_proven && found.window > 0);
    assert_eq!(boots, found.minimal.boots + 1);
    let again: scenarios::explore::finding::Found =
        serde_json::from_str(&serde_json::to_string(&found).unwrap()).unwrap();
    assert_eq!(again, found);

    let files = found.repro.as_ref().unwrap();
    let read = |name: &str| std::fs::read(directory.join(name)).unwrap();
    let text = |name: &str| String::from_utf8(read(name)).unwrap();
    // The run that was recorded is the same again, and again.
    let repro = Repro::read(&text(&files.replay)).unwrap();
    let again = Scenario::read(&text(&files.scenario), &[]).unwrap();
    assert_eq!(repro.scenario, text(&files.scenario));
    for _ in 0..2 {
        let run = run::run(&repro.name, &again, &kernels, &mut Silent);
        let now = Repro::of(&repro.scenario, "", Booted::all(&kernels), &run.report, &run.history);
        assert_eq!(repro.differs_from(&now, &run.history), None);
    }
    // The log gives the very contents.
    let cut = cuts.iter().find(|cut| cut.entry == found.cut.entry).unwrap();
    let then = loss::Then::at(&record, cut.entry).unwrap();
    let state = loss::Loss::default().media(&then.disks).unwrap();
    let log = read(&files.logs[0]);
    assert!(loss::is_same(&logs::rebuilt(&log, state[0].bytes()).unwrap(), &state[0]));
    assert!(logs::rebuilt(&log[..log.len() - 1], state[0].bytes()).is_none());

    let report = text(&files.report);
    eprintln!("{report}");
    assert!(report.lines().count() <= 80, "{report}");
    for wanted in [
        "swsusp_write",
        "sha256",
        "header S1SUSPEND",
        "======== the power fails here",
        "session goes on",
        "not checked",
    ] {
        assert!(report.contains(wanted), "{wanted} is not in the report");
    }
    if std::env::var_os("KJVM_KEEP_FINDING").is_none() {
        std::fs::remove_dir_all(directory).unwrap();
    }
}

/// A write that survives in part, and one on the same disk that does not, as a scenario says it.
#[test]
fn a_cut_may_tear_a_write() {
    let cut = |survives: &str| {
        let text = TEXT.replace("\"resume\", \"check\"", "\"recover\"");
        let text = format!(
            "{text}\n[[power]]\nwhen = {{ write = 1, region = \"swap-header\", during = \"hibernate\" }}\ndo = \"cut\"\nsurvives = {survives}\n"
        );
        Scenario::read(&text, &[]).unwrap_or_else(|(mistake, _)| panic!("{mistake:?}"))
    };
    let whole = cut("\"everything\"");
    let kernels =
        Kernels::gather(&whole, |name, _, is_saver| Loaded::new(name, is_saver, &|_| {}).map(Arc::new))
            .unwrap();
    let run = |scenario: &Scenario| {
        let finished = run::run("torn", scenario, &kernels, &mut Silent);
        let power =
            |entry: &scenarios::history::Entry| entry.what == Happening::Power(devices::PowerEvent::Cut);
        let at = finished.history.entries().iter().position(power).unwrap();
        let record = Record { scenario, history: &finished.history, logs: &finished.logs };
        [at - 1, at].map(|at| loss::Then::at(&record, at).unwrap().disks)
    };
    let [before, after] = run(&whole);
    assert!(loss::is_same(&after[0].durable, &loss::Loss::default().media(&before).unwrap()[0]));
    let last = before[0].pending.len() - 1;
    let torn = loss::Loss::of(&before, &[Choice::Torn { write: last - 1, units: 3 }]).unwrap();
    let (_, request) = torn.requests().next().unwrap();
    let [part] = torn.sectors(0, request) else { panic!("{torn:?}") };
    let survives = format!(
        "[{{ lose = [{{ request = {request}, sectors = [{}, {}] }}], disk = \"system\" }}]",
        part.sector,
        part.end()
    );
    let [_, after] = run(&cut(&survives));
    assert!(loss::is_same(&after[0].durable, &torn.media(&before).unwrap()[0]));
    assert!(!loss::is_same(&after[0].durable, &loss::Loss::default().media(&before).unwrap()[0]));
}
