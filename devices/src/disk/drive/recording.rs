//! What a disk remembers for those who look at it from outside: its write log and its crash space. No guest sees any of it.

use super::Disk;
use crate::disk::write_log::{Operation, Record};
use crate::disk::{
    BLOCK, Change, Command, Contents, CrashSpace, CrashSpaceError, Extent, Media, SECTOR, WriteLog,
};
use crate::{DiskAction, DiskStep, VirtualTime};

impl Disk {
    /// What may be on the disk if its power fails now. [`Disk::power_on`] goes on with the [`CrashSpace::media`] of the state that
    /// was chosen.
    ///
    /// # Errors
    /// [`CrashSpaceError`]: the host cannot read the base.
    pub fn crash_space(&self) -> Result<CrashSpace, CrashSpaceError> {
        let changes: Vec<Change> = self.changes().cloned().collect();
        CrashSpace::new(self.durable().clone(), changes, self.config.atomic_unit, self.config.tie)
    }

    /// The write log, if one is kept ([`DiskConfig::log`](crate::disk::DiskConfig::log)).
    pub fn log(&self) -> Option<&WriteLog> {
        self.config.log.then_some(&self.log)
    }

    /// The same, for marks, notes and authors.
    pub fn log_mut(&mut self) -> Option<&mut WriteLog> {
        self.config.log.then_some(&mut self.log)
    }

    /// A request was accepted, and the cache has what it changes.
    pub(super) fn record_accepted(&mut self, request: u64, command: &Command, now: VirtualTime) {
        if !self.config.log || matches!(command, Command::Read { .. }) {
            return;
        }
        let operation = match command {
            Command::Flush => Operation::Flush,
            _ => {
                let changes = self.cache.changes_of(request).iter();
                let changes = changes.map(|change| (change.extent, change.contents.clone())).collect();
                Operation::Change { fua: command.is_fua(), changes }
            }
        };
        self.log.push(now, Record::Accepted { request, operation });
    }

    /// A request went a step further.
    pub(super) fn record_step(&mut self, request: u64, action: DiskAction, step: DiskStep, now: VirtualTime) {
        if !self.config.log || matches!(action, DiskAction::Read(_)) {
            return;
        }
        let record = match step {
            DiskStep::Accepted => return,
            DiskStep::Completed => Record::Completed { request },
            DiskStep::Failed => Record::Failed { request },
            DiskStep::Durable => Record::Durable { request },
        };
        self.log.push(now, record);
    }

    /// The power is gone, and these are the contents now.
    pub(super) fn record_loss(&mut self, media: &Media) {
        if !self.config.log {
            return;
        }
        let mut reverted: Vec<(Extent, Contents)> = Vec::new();
        for (number, _) in self.media().differences(media) {
            let sector = number * (BLOCK / SECTOR);
            let sectors = (BLOCK / SECTOR).min(self.sectors().saturating_sub(sector));
            let mut contents = vec![0; (sectors * SECTOR) as usize];
            // If the base cannot be read, the guest sees an error there as well; the log says zeros.
            if let Err(error) = media.read(sector * SECTOR, &mut contents) {
                tracing::warn!(disk = self.config.id, %error, "the write log lacks what a loss of power brought back");
            }
            reverted.push((Extent { sector, sectors }, Contents::Data(contents.into())));
        }
        let last = self.log.entries().next_back().map(|entry| entry.at);
        self.log.push(last.unwrap_or_default(), Record::Lost { reverted });
    }
}
