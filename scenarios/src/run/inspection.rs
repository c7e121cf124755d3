//! What is looked at on the disks and in the console when a step or the run is over.

use agent_link::filesystem::{self, FilesystemError};
use agent_protocol::message::Workload;
use devices::disk::Disk;

use super::Runner;
use crate::checks::record::{Place, places};
use crate::checks::{self, Check, Clause};
use crate::lab::WORKLOAD_SEED;
use crate::language::{Step, Use};

impl Runner<'_, '_> {
    /// The first partition that is used so, and its disk.
    fn place(&self, what: Use) -> Option<(&Disk, Place)> {
        let place = places(self.scenario, what).into_iter().next()?;
        Some((self.lab.guest.machine.board().pci.disks().nth(place.disk)?, place))
    }

    /// After A continues, no image that could be entered again may be there.
    pub(super) fn images(&mut self, step: &Step) {
        let consumed = match step {
            Step::Resume => self.place(Use::Swap).map(|(disk, place)| {
                checks::disk::image_in_swap(disk.media(), place.bytes.start)
                    .map(|found| found.map(|signature| format!("swap signature {signature}")))
            }),
            Step::Restore | Step::SnapshotRestore | Step::JumpBack => {
                self.place(Use::Image).map(|(disk, place)| {
                    checks::disk::holds_valid_image(disk.media(), place.bytes.start)
                        .map(|valid| valid.then(|| "the image's header is still valid".to_owned()))
                })
            }
            _ => None,
        };
        let of = format!("cycle {}, after {}", self.cycle, step.name());
        self.report.checks.extend(consumed.map(|found| match found {
            Ok(None) => Check::pass(Clause::ImageGone, of),
            Ok(Some(evidence)) => Check::fail(Clause::ImageGone, of, "image still valid", vec![evidence]),
            Err(error) => Check::not_observed(Clause::ImageGone, of, error.to_string()),
        }));
    }

    /// The power fails under the workloads: what is then on the disk has to be whole, with every record that was synced.
    pub(super) fn file_system(&mut self) {
        let has_journal = self.scenario.workloads.contains(&Workload::Ext4);
        let Some((disk, place)) = self.place(Use::Ext4).filter(|_| has_journal) else { return };
        let of = "had the power failed at the end";
        let judged = tempfile::tempdir().map_err(|error| error.to_string()).and_then(|directory| {
            let copy = directory.path().join("ext4");
            checks::disk::copy_out(disk.durable(), &place.bytes, &copy).map_err(|error| error.to_string())?;
            Ok(filesystem::check(&copy, "/journal", WORKLOAD_SEED, self.synced))
        });
        let failed = |clause: Clause, error: String| Check::fail(clause, of, "file system", vec![error]);
        let clauses = [Clause::FileSystemWhole, Clause::SyncedRecords];
        let checks = match judged {
            Ok(Ok(_)) => clauses.map(|clause| Check::pass(clause, of)).to_vec(),
            Ok(Err(error)) if error.is_hosts() => {
                clauses.map(|clause| Check::not_observed(clause, of, error.to_string())).to_vec()
            }
            Ok(Err(error @ FilesystemError::Journal(_))) => {
                vec![
                    Check::pass(Clause::FileSystemWhole, of),
                    failed(Clause::SyncedRecords, error.to_string()),
                ]
            }
            Ok(Err(error)) => vec![failed(Clause::FileSystemWhole, error.to_string())],
            Err(error) => clauses.map(|clause| Check::not_observed(clause, of, error.clone())).to_vec(),
        };
        self.report.checks.extend(checks);
    }

    pub(super) fn kernel_log(&mut self) {
        let console = self.lab.guest.tape.console();
        let found = checks::complaints(&console, &self.scenario.allow);
        let check = match found.first() {
            None => Check::pass(Clause::QuietLog, ""),
            Some(first) => {
                let lines = found.iter().map(|complaint| complaint.line.clone()).collect();
                Check::fail(Clause::QuietLog, "", first.class, lines)
            }
        };
        self.report.checks.push(check);
    }
}
