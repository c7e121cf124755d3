//! A machine through many sleeps, and what has to hold after each.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Instant;

use agent_link::filesystem;
use agent_protocol::message::{Ask, HibernateMode, Partition, ReadyWhy, SuspendState};
use devices::acpi_pm::SleepState;
use devices::disk::{BLOCK, BaseError, Disk, DiskConfig, Media};
use devices::pci::Function;
use devices::pci::nvme::Transitions;
use scenarios::Guest;
use vmm::power::{PowerState, everything_accepted, nothing_unflushed};
use vmm::{Config, Digest, Drive, Entry, FrontEnd, Machine};

use super::{
    PATIENCE, SECOND, SEED, ask, boot, command_line, depart, disk_behind, falls_asleep, give_up, memory,
    partition, returns, start_workloads_beside, wait_ready, wakes, workloads_are_clean,
};

const MIB: u64 = 1 << 20;
/// The first partition, in bytes.
pub const EXT4: std::ops::Range<u64> = MIB..65 * MIB;
/// Where the swap partition's signature is: the last bytes of its first page.
const SWAP_SIGNATURE: u64 = EXT4.end + 4096 - 10;

/// What it is while there is an image to resume from.
pub const IMAGE: [u8; 10] = *b"S1SUSPEND\0";

/// A kernel, and what it runs on.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    /// Of the catalogue.
    pub kernel: &'static str,
    /// Virtual processors.
    pub processors: u32,
    /// Of all disks.
    pub front_end: FrontEnd,
}

impl Setup {
    /// A distribution's kernel: drivers of disks are modules, and it does not jump.
    pub fn is_stock(self) -> bool {
        self.kernel.starts_with("stock-")
    }

    /// What its kernel is told. Two thirds of a hibernation are compression: the half of the matrix with two processors goes without,
    /// where the swap partition has the room.
    fn command_line(self, epoch: u32) -> String {
        let compressed = self.is_stock() || self.processors == 1;
        let more = if compressed { "" } else { " hibernate=nocompress" };
        command_line(self.front_end, epoch) + more
    }
}

/// The machine after a step, as a second run has to find it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    step: &'static str,
    instructions: u64,
    digest: Digest,
}

/// A machine and its life so far.
pub struct Lab {
    /// The machine and its agent.
    pub guest: Guest,
    /// What it was made from.
    pub setup: Setup,
    boots: u32,
    /// Records in the journal on ext4 that are known to be synced.
    pub synced: u64,
    marks: Vec<Mark>,
    /// On the host's clock, for those who read.
    begun: Instant,
}

impl Lab {
    /// Boots on a blank disk, with ext4, swap, and all workloads.
    pub fn started(setup: Setup) -> Self {
        Self::started_on(setup, DiskConfig::default())
    }

    /// The same on a blank disk that is not as disks are.
    pub fn started_on(setup: Setup, disk: DiskConfig) -> Self {
        let disk = Disk::new(disk, Media::blank(320 * MIB).unwrap()).unwrap();
        Self::of(setup, "", &[], vec![Drive { front_end: setup.front_end, disk }])
    }

    /// The same with more arguments of the kernel, with these partitions beside, and with another disk.
    pub fn started_with(setup: Setup, arguments: &str, others: &[Partition], more: Drive) -> Self {
        let room: u64 = others.iter().map(|partition| u64::from(partition.mib)).sum();
        let media = Media::blank((320 + room) * MIB).unwrap();
        Self::of(setup, arguments, others, vec![disk_behind(setup.front_end, 0, media), more])
    }

    fn of(setup: Setup, arguments: &str, others: &[Partition], drives: Vec<Drive>) -> Self {
        let Setup { processors, .. } = setup;
        let config = Config { processors, memory: memory(setup.kernel), ..Config::default() };
        let mut machine = Machine::new(config, drives).unwrap();
        let line = format!("{} {arguments}", setup.command_line(1000));
        boot(&mut machine, setup.kernel, Entry::Pvh, line.trim());
        let guest = Guest::new(machine);
        let mut lab = Self { guest, setup, boots: 1, synced: 0, marks: Vec::new(), begun: Instant::now() };
        wait_ready(&mut lab.guest);
        start_workloads_beside(&mut lab.guest, others);
        lab.holds("start");
        lab
    }

    /// Everything is as it has to be while the guest is up.
    pub fn holds(&mut self, step: &'static str) {
        self.synced = workloads_are_clean(&mut self.guest);
        let signature = self.swap_signature();
        assert_eq!(signature, *b"SWAPSPACE2", "after {step} the image in swap has not been consumed");
        self.mark(step);
    }

    /// Remembers the machine as it is.
    pub fn mark(&mut self, step: &'static str) {
        let machine = &mut self.guest.machine;
        let (instructions, digest) = (machine.instructions(), machine.digest());
        eprintln!("{:6.2} s  {step}  {:.16}", self.begun.elapsed().as_secs_f64(), digest.to_string());
        self.marks.push(Mark { step, instructions, digest });
    }

    /// The first disk.
    pub fn disk(&self) -> &Disk {
        self.guest.machine.board().pci.disks().next().unwrap()
    }

    fn swap_signature(&self) -> [u8; 10] {
        swap_signature(self.disk().media())
    }

    /// How often the driver of the first disk, which is NVMe, has stopped and started it since power came on.
    pub fn transitions(&self) -> Transitions {
        match self.guest.machine.board().pci.function(1) {
            Some(Function::Nvme(nvme)) => nvme.transitions(),
            _ => panic!("the first disk is not NVMe"),
        }
    }

    /// Asks for S3 and an alarm to wake from it; the machine sleeps then.
    pub fn falls_asleep(&mut self) {
        ask(&mut self.guest, &Ask::SetAlarm { seconds: 30 });
        depart(&mut self.guest, &Ask::Suspend { state: SuspendState::Mem, pm_test: None });
        falls_asleep(&mut self.guest, SleepState::S3);
    }

    /// Power is gone for a minute, and of disks nothing survives that was not durable. A number for what boots next: its lines are not
    /// taken for those of earlier boots.
    pub fn loses_power(&mut self) -> u32 {
        self.loses_power_and(nothing_unflushed)
    }

    fn loses_power_and(&mut self, survives: fn(&Disk) -> Result<Media, BaseError>) -> u32 {
        let Guest { machine, tape, .. } = &mut self.guest;
        if matches!(machine.power_state(), PowerState::S0 | PowerState::S3) {
            machine.power_cut(&mut { survives }, tape).unwrap();
        }
        machine.power_on(60 * SECOND, tape).unwrap();
        self.guest.power_lost();
        self.boots += 1;
        self.boots * 1000
    }

    /// A cold boot finds the image in swap and becomes the kernel that slept. If the power failed in S3, the disk had the time to destage:
    /// Linux flushes neither the image nor, on virtio-blk, the disk on its way to S3.
    fn resumes_after_a_cold_boot(&mut self) {
        assert_eq!(self.swap_signature(), IMAGE, "no image in swap");
        let epoch = self.loses_power_and(everything_accepted);
        let line = self.setup.command_line(epoch);
        boot(&mut self.guest.machine, self.setup.kernel, Entry::Pvh, &line);
        if self.setup.is_stock() {
            // Its drivers are modules: they come too late for the resume at boot.
            match self.guest.wait_ready(2 * PATIENCE) {
                Ok(ready) if ready.why == ReadyWhy::Boot => {}
                other => give_up(&self.guest, &format!("expected a boot, found {other:?}")),
            }
            let device = partition(&self.guest.machine, 2);
            depart(&mut self.guest, &Ask::Resume { device, offset: 0 });
        }
        returns(&mut self.guest);
    }

    fn hibernates(&mut self, mode: HibernateMode, state: SleepState) {
        depart(&mut self.guest, &Ask::Hibernate { mode, pm_test: None });
        falls_asleep(&mut self.guest, state);
        self.resumes_after_a_cold_boot();
    }

    /// S3, and the alarm.
    pub fn s3_by_alarm(&mut self) {
        self.falls_asleep();
        wakes(&mut self.guest);
        returns(&mut self.guest);
        self.holds("S3 by alarm");
    }

    /// s2idle, and the alarm.
    pub fn s2idle_by_alarm(&mut self) {
        ask(&mut self.guest, &Ask::SetAlarm { seconds: 5 });
        depart(&mut self.guest, &Ask::Suspend { state: SuspendState::Freeze, pm_test: None });
        returns(&mut self.guest);
        self.holds("s2idle by alarm");
    }

    /// Hibernation into S4.
    pub fn swsusp_platform(&mut self) {
        self.hibernates(HibernateMode::Platform, SleepState::S4);
        self.holds("swsusp platform");
    }

    /// Hibernation and off.
    pub fn swsusp_shutdown(&mut self) {
        self.hibernates(HibernateMode::Shutdown, SleepState::S5);
        self.holds("swsusp shutdown");
    }

    /// Writes an image, and then sleeps in S3, out of which an alarm would wake it.
    pub fn falls_into_hybrid_sleep(&mut self) {
        ask(&mut self.guest, &Ask::SetAlarm { seconds: 30 });
        depart(&mut self.guest, &Ask::Hibernate { mode: HibernateMode::Suspend, pm_test: None });
        falls_asleep(&mut self.guest, SleepState::S3);
    }

    /// Hybrid sleep, out of which the alarm wakes the machine.
    pub fn swsusp_suspend_wakes(&mut self) {
        self.falls_into_hybrid_sleep();
        assert_eq!(self.swap_signature(), IMAGE, "no image in swap");
        wakes(&mut self.guest);
        returns(&mut self.guest);
        self.holds("swsusp suspend, woken from RAM");
    }

    /// Hybrid sleep, in which power fails.
    pub fn swsusp_suspend_loses_power(&mut self) {
        self.falls_into_hybrid_sleep();
        self.resumes_after_a_cold_boot();
        self.holds("swsusp suspend, power lost");
    }

    /// An image that is written and loaded at once.
    ///
    /// # Errors
    /// What the guest says went wrong. Its workloads are clean all the same.
    pub fn swsusp_test_resume(&mut self) -> Result<(), String> {
        depart(&mut self.guest, &Ask::Hibernate { mode: HibernateMode::TestResume, pm_test: None });
        let outcome = match self.guest.wait_ready(PATIENCE) {
            Ok(ready) if ready.why == ReadyWhy::Return => ready.outcome.map(|outcome| outcome.result),
            other => give_up(&self.guest, &format!("expected a return, found {other:?}")),
        };
        match outcome {
            Some(Ok(_)) => {
                self.holds("swsusp test_resume");
                Ok(())
            }
            Some(Err(failure)) => {
                self.synced = workloads_are_clean(&mut self.guest);
                self.mark("swsusp test_resume, refused");
                Err(failure.to_string())
            }
            None => Err("came back without a word on how it went".into()),
        }
    }

    /// The power fails under the running workloads: the file system is whole, and has every record that was synced. Returns the life of
    /// the machine.
    pub fn finish(mut self) -> Vec<Mark> {
        self.loses_power();
        self.mark("power cut");
        let directory = tempfile::tempdir().unwrap();
        let copy = directory.path().join("ext4");
        copy_out(self.disk().media(), EXT4, &copy);
        let found = filesystem::check(&copy, "/journal", SEED, self.synced);
        let found = found.unwrap_or_else(|error| panic!("after the last power cut: {error}"));
        eprintln!("{found} records in the journal, {} known to be synced", self.synced);
        self.marks
    }
}

/// What the swap partition says it holds.
pub fn swap_signature(media: &Media) -> [u8; 10] {
    let mut signature = [0; 10];
    media.read(SWAP_SIGNATURE, &mut signature).unwrap();
    signature
}

/// Writes a stretch of a disk to a file.
pub fn copy_out(media: &Media, range: std::ops::Range<u64>, path: &std::path::Path) {
    let file = File::create(path).unwrap();
    file.set_len(range.end - range.start).unwrap();
    let blocks = range.start / BLOCK..range.end / BLOCK;
    let mut block = [0; BLOCK as usize];
    for number in media.changed_blocks().filter(|number| blocks.contains(number)) {
        media.read(number * BLOCK, &mut block).unwrap();
        file.write_all_at(&block, number * BLOCK - range.start).unwrap();
    }
}

/// Two lives of equal machines are one life.
pub fn twice(setup: Setup, life: fn(Setup) -> Vec<Mark>) {
    let (one, other) = (life(setup), life(setup));
    assert!(one.len() > 3, "{one:?}");
    assert_eq!(one, other);
}

/// A part of the matrix that always runs.
pub fn always(_: Setup) -> bool {
    true
}

/// A part of the matrix whose kernels take long to boot.
pub fn in_full(setup: Setup) -> bool {
    let full = std::env::var_os("KJVM_FULL").is_some_and(|value| !value.is_empty());
    if !full {
        eprintln!("SKIPPED {setup:?}: set KJVM_FULL=1");
    }
    full
}
