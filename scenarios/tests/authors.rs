//! Who asks for the flushes that a disk sees, by the kernel's own symbols.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use agent_protocol::message::{Ask, HibernateMode};
use common::{
    COMMAND_LINE, PATIENCE, SECOND, boot, depart, disk, give_up, start_workloads, wait_ready,
    workloads_are_clean,
};
use devices::disk::write_log::Record;
use devices::disk::{DiskConfig, Media};
use devices::{DiskAction, DiskEvent, DiskStep, Event};
use scenarios::checks::Record as RunRecord;
use scenarios::explore::finding::Narrative;
use scenarios::history::Happening;
use scenarios::kernels::{Kernels, Loaded};
use scenarios::report::{Phase, PowerHappening};
use scenarios::run::{self, Listener};
use scenarios::{Guest, Scenario};
use vmm::{Config, Entry, Limit, Machine, Stop};

fn started(kernel: &str) -> Guest {
    let mut drive = disk(0, Media::blank(320 << 20).unwrap());
    let config = DiskConfig { log: true, ..drive.disk.config().clone() };
    drive.disk = devices::disk::Disk::new(config, Media::blank(320 << 20).unwrap()).unwrap();
    let mut machine = Machine::new(Config::default(), vec![drive]).unwrap();
    boot(&mut machine, kernel, Entry::Pvh, COMMAND_LINE);
    let mut guest = Guest::new(machine);
    wait_ready(&mut guest);
    start_workloads(&mut guest);
    workloads_are_clean(&mut guest);
    guest
}

/// Runs until it sleeps or this time is over, and names the authors of every flush on the way.
fn authors(guest: &mut Guest, within: u64) -> (Stop, Vec<String>) {
    let limit = Limit { time: Some(guest.machine.now().after(within)), instructions: None };
    let mut named = Vec::new();
    loop {
        let flush = std::rc::Rc::new(std::cell::Cell::new(None));
        let seen = std::rc::Rc::clone(&flush);
        guest.tape.watch(Box::new(move |_, event| match event {
            Event::Disk(DiskEvent { disk, request, action: DiskAction::Flush, step: DiskStep::Accepted }) => {
                seen.set(Some((*disk, *request)));
                true
            }
            _ => false,
        }));
        match guest.machine.run(limit, &mut guest.tape) {
            Stop::Triggered => {
                if let Some((disk, request)) = flush.get() {
                    let authors = guest.machine.record_flush_authors(disk, request);
                    assert!(!authors.is_empty(), "nobody asked for flush {request}");
                    named.extend(authors.iter().map(ToString::to_string));
                }
            }
            stop => return (stop, named),
        }
    }
}

#[test]
fn flushes_have_the_names_of_those_who_asked() {
    let mut guest = started("primary-6.12");
    assert!(guest.machine.watch_authors());
    let (stop, named) = authors(&mut guest, 2 * SECOND);
    assert_eq!(stop, Stop::Time);
    let different: BTreeSet<&str> = named.iter().map(String::as_str).collect();
    eprintln!("{} flushes of {different:#?}", named.len());
    // A workload appends to a file and syncs it: by the journal's commit, or, with nothing to commit, by itself.
    let fsync = "blkdev_issue_flush < ext4_sync_file < fdatasync";
    let journal = "journal_submit_commit_record < jbd2_journal_commit_transaction < kjournald2";
    assert!(different.contains(fsync) && different.contains(journal), "{different:?}");
    assert!(different.iter().all(|name| !name.contains("guessed") && *name != "unknown"), "{different:?}");
    // The write log says the same.
    let disk = guest.machine.board().pci.disks().next().unwrap();
    let logged =
        disk.log().unwrap().entries().filter(|entry| matches!(entry.record, Record::Author { .. })).count();
    assert!(logged > 0);
}

#[test]
fn a_hibernation_syncs_file_systems_by_name() {
    let mut guest = started("primary-6.12");
    assert!(guest.machine.watch_authors());
    depart(&mut guest, &Ask::Hibernate { mode: HibernateMode::Shutdown, pm_test: None });
    let (stop, named) = authors(&mut guest, PATIENCE);
    let different: BTreeSet<&str> = named.iter().map(String::as_str).collect();
    eprintln!("{stop:?}: {} flushes of {different:#?}", named.len());
    if !matches!(stop, Stop::Power(_)) {
        give_up(&guest, &format!("{stop:?}"));
    }
    // The file system is synced before the image is written; the image itself is not flushed by anybody.
    assert!(
        different.contains("journal_submit_commit_record < jbd2_journal_commit_transaction < kjournald2")
    );
    assert!(different.iter().all(|name| !name.contains("swap")), "{different:?}");
}

#[test]
fn looking_on_changes_nothing() {
    let run = |watch: bool| {
        let mut guest = started("primary-6.12");
        if watch {
            assert!(guest.machine.watch_authors());
            authors(&mut guest, SECOND);
        } else {
            guest.rest(SECOND);
        }
        (guest.machine.instructions(), guest.machine.now())
    };
    assert_eq!(run(true), run(false));
}

/// A hibernation that is watched goes as one that is not, and each of its writes has a name.
fn hibernation_is_told(front_end: &str) {
    struct Silent;
    impl Listener for Silent {
        fn phase(&mut self, _: &Phase) {}
        fn power(&mut self, _: &PowerHappening) {}
    }
    let text = format!(
        r#"
        version = 1
        cycles = 1
        steps = [{{ do = "hibernate", mode = "shutdown" }}, "resume"]
        workloads = ["memory", "ext4"]
        [kernel]
        primary = "primary-6.12"
        [[disk]]
        name = "system"
        size = "256M"
        front-end = "{front_end}"
        partitions = [{{ use = "ext4", size = "64M" }}, {{ use = "swap", size = "128M" }}]
        "#
    );
    let scenario = Scenario::read(&text, &[]).unwrap_or_else(|(mistake, _)| panic!("{mistake:?}"));
    let kernels =
        Kernels::gather(&scenario, |name, _, is_saver| Loaded::new(name, is_saver, &|_| {}).map(Arc::new))
            .unwrap();
    let told = run::narrate("told", &scenario, &kernels, &mut Silent);
    let plain = run::run("told", &scenario, &kernels, &mut Silent);
    assert_eq!(told.report.digest, plain.report.digest);
    let others: Vec<_> = told
        .history
        .entries()
        .iter()
        .filter(|entry| !matches!(entry.what, Happening::Authors { .. }))
        .collect();
    assert!(others.into_iter().eq(plain.history.entries()), "watching changed what happened");
    let narrative = Narrative::read(&told.history);
    let record = RunRecord { scenario: &scenario, history: &plain.history, logs: &plain.logs };
    let mut names: BTreeMap<String, u32> = BTreeMap::new();
    let mut nameless = 0;
    for request in record.requests().iter().filter(|request| !matches!(request.action, DiskAction::Read(_))) {
        match narrative.of(request.boot, request.disk, request.number) {
            Some(name) => *names.entry(name).or_default() += 1,
            None if request.action == DiskAction::Flush => {}
            None => nameless += 1,
        }
    }
    eprintln!("{front_end}: {nameless} writes without a name; {names:#?}");
    assert_eq!(nameless, 0);
    for wanted in
        ["swap_write_page < save", "swsusp_write", "swsusp_check", "jbd2_journal_commit_transaction"]
    {
        assert!(names.keys().any(|name| name.contains(wanted)), "{wanted} is not among {names:#?}");
    }
}

#[test]
fn every_write_of_a_hibernation_has_a_name_on_virtio() {
    hibernation_is_told("virtio");
}

#[test]
fn every_write_of_a_hibernation_has_a_name_on_nvme() {
    hibernation_is_told("nvme");
}
