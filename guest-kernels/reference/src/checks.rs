//! What has to hold, judged from outside where possible.

use std::time::{Duration, Instant};

use agent_protocol::image::State;
use agent_protocol::message::{Answer, Ask, Ready, ReadyWhy, Role, Workload};

use crate::error::RunError;
use crate::filesystem;
use crate::machine::Machine;
use crate::steps::SEED;
use crate::write_log;

/// Bytes of a sector in the write log.
const SECTOR: u64 = 512;
/// How long a workload may need to show progress.
const PROGRESS: Duration = Duration::from_secs(20);

fn check(holds: bool, text: impl FnOnce() -> String) -> Result<(), RunError> {
    if holds { Ok(()) } else { Err(RunError::Check(text())) }
}

impl Machine {
    /// All workloads are clean and further than at the last check.
    ///
    /// # Errors
    /// [`RunError::Check`] names what differs.
    pub fn check_workloads(&mut self) -> Result<(), RunError> {
        let begun = Instant::now();
        loop {
            let Answer::Workloads(reports) = self.ask(&Ask::CheckWorkloads)? else {
                return Err(RunError::Check("no workload reports".into()));
            };
            let differences: Vec<String> = reports
                .iter()
                .flat_map(|report| report.differences.iter().map(|text| (report.workload, text)))
                .map(|(workload, text)| format!("{}: {text}", workload.name()))
                .collect();
            check(differences.is_empty(), || format!("workloads differ: {}", differences.join("; ")))?;
            check(reports.len() == Workload::ALL.len(), || format!("not all workloads: {reports:?}"))?;
            let before = |workload| self.progress.get(&workload).copied().unwrap_or(0);
            let standing: Vec<&str> = reports
                .iter()
                .filter(|report| report.progress <= before(report.workload))
                .map(|report| report.workload.name())
                .collect();
            if standing.is_empty() {
                self.progress = reports.iter().map(|report| (report.workload, report.progress)).collect();
                self.note(Role::Primary, "workloads clean", begun);
                return Ok(());
            }
            check(begun.elapsed() < PROGRESS, || format!("workloads stand still: {}", standing.join(", ")))?;
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// A kernel came back from where it went, and says that all went well.
    ///
    /// # Errors
    /// [`RunError::Check`].
    pub fn expect_returned(&self, ready: &Ready, role: Role) -> Result<(), RunError> {
        let well = ready.outcome.as_ref().is_some_and(|outcome| outcome.result.is_ok());
        let there = ready.session.role == role && ready.why == ReadyWhy::Return;
        check(well && there, || format!("expected a clean return to {role}, found {ready:?}"))
    }

    /// The image's state, from its header on disk: `valid` or `consumed`.
    ///
    /// # Errors
    /// [`RunError::Check`].
    pub fn expect_image(&self, expected: &str) -> Result<(), RunError> {
        let header = self.disk.image_header()?;
        let state = match &header {
            Ok(header) => match header.state {
                State::Valid => "valid",
                State::Consumed => "consumed",
                State::Writing => "being written",
                State::Failed(_) => "failed",
            },
            Err(_) => "unreadable",
        };
        check(state == expected, || format!("the image is {state}, not {expected}: {header:?}"))
    }

    /// Since the saver took over, nothing outside the image partition has changed.
    ///
    /// # Errors
    /// [`RunError::Check`] says where.
    pub fn expect_only_image_written(&self, when: &str) -> Result<(), RunError> {
        let Some(before) = &self.before_saver else { return Ok(()) };
        match before.difference(&self.disk.outside_image()?) {
            None => Ok(()),
            Some((place, pieces)) => Err(RunError::Check(format!(
                "{when}: the disk differs outside the image partition at byte {place:#x}, {pieces} pieces of 64 KiB in all"
            ))),
        }
    }

    /// The end of every run in which A is alive: workloads clean, power cut under their hands, file system clean with
    /// everything that was synced.
    ///
    /// # Errors
    /// [`RunError`].
    pub fn finish(&mut self) -> Result<(), RunError> {
        self.check_workloads()?;
        self.power_cut();
        self.note_power("power cut under the running workloads");
        self.expect_clean_file_system()
    }

    /// The file system is clean and holds everything that was synced at the last check of the workloads. Only while the machine
    /// is off and no image owns the file system.
    ///
    /// # Errors
    /// [`RunError::Filesystem`].
    pub fn expect_clean_file_system(&mut self) -> Result<(), RunError> {
        let begun = Instant::now();
        let synced = self.progress.get(&Workload::Ext4).copied().unwrap_or(0);
        let partition = self.disk.partition(1)?;
        let found = filesystem::check(&partition, "/journal", SEED, synced)?;
        let text = format!("file system clean, journal holds {found} records, {synced} known to be synced");
        self.note(Role::Primary, &text, begun);
        Ok(())
    }

    /// The swap partition holds no image that a kernel would resume from: the one there was has been consumed.
    ///
    /// # Errors
    /// [`RunError::Check`].
    pub fn expect_no_image_in_swap(&self) -> Result<(), RunError> {
        let signature = self.disk.swap_signature()?;
        check(signature == *b"SWAPSPACE2", || {
            format!("the swap partition says {:?}", String::from_utf8_lossy(&signature))
        })
    }

    /// The swap partition holds a complete image.
    ///
    /// # Errors
    /// [`RunError::Check`].
    pub fn expect_image_in_swap(&self) -> Result<(), RunError> {
        let signature = self.disk.swap_signature()?;
        check(signature.starts_with(b"S1SUSPEND"), || {
            format!("the swap partition says {:?}", String::from_utf8_lossy(&signature))
        })
    }

    /// [`Machine::finish`] after an image was entered: a cold restorer has to refuse it now.
    ///
    /// # Errors
    /// [`RunError`].
    pub fn finish_consumed(&mut self) -> Result<(), RunError> {
        self.finish()?;
        self.expect_image("consumed")?;
        self.expect_commit_order()?;
        self.refuse_restore("already consumed")
    }

    /// From the first boot on the image's header was written in the order its format promises: the old one durably gone before the new
    /// image, everything on the disk durable before the header becomes valid, the consumed header durable before A writes anything.
    ///
    /// # Errors
    /// [`RunError::Check`] says which write came too early.
    pub fn expect_commit_order(&self) -> Result<(), RunError> {
        let mut requests = Vec::new();
        for path in &self.write_logs {
            let log =
                std::fs::File::open(path).map_err(|error| RunError::Host { what: "write log", error })?;
            let read = write_log::read(std::io::BufReader::new(log));
            requests.extend(read.map_err(|error| RunError::Check(error.to_string()))?);
        }
        let image = self.disk.layout().range(3);
        let life = write_log::check_commit_order(&requests, image.start / SECTOR..image.end / SECTOR)
            .map_err(|error| RunError::Check(error.to_string()))?;
        let consumed = life.ends_with(&[State::Valid, State::Consumed]);
        check(consumed, || format!("the image's header went through {life:?}"))
    }

    /// A cold boot of A's kernel refuses the image made through /dev/snapshot, which was entered before.
    ///
    /// # Errors
    /// [`RunError`].
    pub fn refuse_snapshot_restore(&mut self) -> Result<(), RunError> {
        self.expect_image("consumed")?;
        self.expect_commit_order()?;
        self.power_on(Role::Primary, ReadyWhy::Boot)?;
        let failure = self.refused(&Ask::SnapshotRestore { device: self.device(3) })?;
        let reason = "already consumed";
        check(failure.text.contains(reason), || format!("refused, but not for `{reason}`: {failure}"))
    }

    /// A cold restorer refuses the image, for the reason named, and leaves the disk alone.
    ///
    /// # Errors
    /// [`RunError`].
    pub fn refuse_restore(&mut self, reason: &str) -> Result<(), RunError> {
        let before = self.disk.outside_image()?;
        self.power_on(Role::Restorer, ReadyWhy::Boot)?;
        let begun = Instant::now();
        let failure = self.refused(&Ask::RestoreImage { device: self.device(3) })?;
        check(failure.text.contains(reason), || format!("refused, but not for `{reason}`: {failure}"))?;
        self.note(Role::Restorer, &format!("restore refused: {reason}"), begun);
        self.power_off(Role::Restorer)?;
        let difference = before.difference(&self.disk.outside_image()?);
        check(difference.is_none(), || format!("the restorer wrote outside the image: {difference:?}"))
    }
}
