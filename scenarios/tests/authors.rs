//! Who asks for the flushes that a disk sees, by the kernel's own symbols.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod common;

use std::collections::BTreeSet;

use agent_protocol::message::{Ask, HibernateMode};
use common::{
    COMMAND_LINE, PATIENCE, SECOND, boot, depart, disk, give_up, start_workloads, wait_ready,
    workloads_are_clean,
};
use devices::disk::write_log::Record;
use devices::disk::{DiskConfig, Media};
use devices::{DiskAction, DiskEvent, DiskStep, Event};
use scenarios::Guest;
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
    assert!(guest.machine.watch_flushes());
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
    assert!(guest.machine.watch_flushes());
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
            assert!(guest.machine.watch_flushes());
            authors(&mut guest, SECOND);
        } else {
            guest.rest(SECOND);
        }
        (guest.machine.instructions(), guest.machine.now())
    };
    assert_eq!(run(true), run(false));
}
