//! What is looked at on the disks and in the console when a step or the run is over.

use agent_link::filesystem::{self, FilesystemError};
use agent_protocol::message::{AfterSnapshot, HibernateMode, Workload};
use devices::disk::{Disk, Media};
use vmm::power::PowerState;

use super::Runner;
use crate::checks::record::{Place, places};
use crate::checks::{self, Check, Clause};
use crate::lab::WORKLOAD_SEED;
use crate::language::{Back, Expect, Step, StepSpec, Use};

impl Runner<'_, '_> {
    /// The first partition that is used so, and its disk.
    pub(super) fn place(&self, what: Use) -> Option<(&Disk, Place)> {
        let place = places(self.scenario, what).into_iter().next()?;
        Some((self.lab.guest.machine.board().pci.disks().nth(place.disk)?, place))
    }

    /// What has to be looked at when a step is over.
    pub(super) fn after(&mut self, spec: &StepSpec) {
        let of = || format!("cycle {}, after {}", self.cycle, spec.step.name());
        if spec.expect == Expect::Refused || (spec.expect == Expect::Cold && spec.says.is_some()) {
            self.report.checks.push(Check::pass(Clause::Refused, of()));
        }
        if spec.expect == Expect::Cold && spec.step == Step::Resume {
            let check = match self.lab.stale_image.clone() {
                None => Check::pass(Clause::GoneAfterRefusal, of()),
                Some(signature) => {
                    let evidence = vec![format!("swap signature {signature}")];
                    Check::fail(Clause::GoneAfterRefusal, of(), "image still there", evidence)
                }
            };
            self.report.checks.push(check);
        }
        if self.lab.was_cold && spec.step.begins_off() {
            if let Some(media) = self.before_boot.take() {
                self.file_system(&media, &of(), self.synced);
            }
            self.synced = 0;
        } else if spec.expect == Expect::Well {
            self.images(&spec.step);
        }
        if spec.step == Step::Check || self.lab.was_cold {
            self.synced = self.lab.synced;
        }
    }

    /// After A continues, no image that could be entered again may be there.
    fn images(&mut self, step: &Step) {
        let woke = self.lab.guest.machine.power_state() == PowerState::S0;
        let consumed = match step {
            Step::Hibernate { mode: HibernateMode::Suspend, .. }
            | Step::Snapshot { then: AfterSnapshot::SuspendToRam }
                if !woke =>
            {
                None
            }
            Step::Resume
            | Step::Recover { by: Back::Resume }
            | Step::Hibernate { mode: HibernateMode::Suspend, .. } => {
                self.place(Use::Swap).map(|(disk, place)| {
                    checks::disk::image_in_swap(disk.media(), place.bytes.start)
                        .map(|found| found.map(|signature| format!("swap signature {signature}")))
                })
            }
            Step::Restore
            | Step::SnapshotRestore
            | Step::JumpBack
            | Step::Recover { .. }
            | Step::Snapshot { then: AfterSnapshot::SuspendToRam } => {
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
    pub(super) fn file_system_at_the_end(&mut self) {
        let Some(media) = self.place(Use::Ext4).map(|(disk, _)| disk.durable().clone()) else { return };
        self.file_system(&media, "had the power failed at the end", self.lab.synced);
    }

    /// A's file system on these contents of its disk is whole, with so many records at least.
    fn file_system(&mut self, media: &Media, of: &str, synced: u64) {
        let has_journal = self.scenario.workloads.contains(&Workload::Ext4);
        let Some((_, place)) = self.place(Use::Ext4).filter(|_| has_journal) else { return };
        let judged = tempfile::tempdir().map_err(|error| error.to_string()).and_then(|directory| {
            let copy = directory.path().join("ext4");
            checks::disk::copy_out(media, &place.bytes, &copy).map_err(|error| error.to_string())?;
            Ok(filesystem::check(&copy, "/journal", WORKLOAD_SEED, synced))
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
