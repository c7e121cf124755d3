//! The kexec-jump sequence on the software engine: A jumps to B, B saves A and sleeps, and A continues, whatever became of the power.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod common;

use std::sync::Arc;

use agent_protocol::layout::{MemoryRange, SAVER_REGION, primary_arguments, restorer_arguments};
use agent_protocol::message::{Answer, Ask, Bulk, Partition, PartitionKind, ReadyWhy, Role, SuspendState};
use common::{
    COMMAND_LINE, PATIENCE, SECOND, ask, boot, depart, disk, falls_asleep, give_up, returns,
    start_workloads_beside, wait_ready, wakes, workloads_are_clean,
};
use devices::acpi_pm::SleepState;
use devices::disk::{Media, MemoryBase};
use guest_kernels::provision;
use scenarios::Guest;
use vmm::{Config, Entry, Machine};

const PRIMARY: &str = "primary-6.12";
const SAVER: &str = "saver-6.12";
const IMAGE: &str = "/dev/vda3";

/// A guest of the sequence, and what it is told of itself.
struct Sequence {
    guest: Guest,
    saver: Ask,
    firmware: Vec<MemoryRange>,
    boots: u32,
}

impl Sequence {
    /// A, with all workloads, and B preloaded.
    fn started(processors: u32) -> Self {
        let provided = provision::kernel(SAVER, &|text| eprintln!("{text}")).unwrap();
        let mut bytes = Vec::new();
        let [kernel, initrd] = [std::fs::read(&provided.bzimage).unwrap(), provided.initrd].map(|file| {
            let (offset, len, crc32) = (bytes.len() as u64, file.len() as u64, Some(crc32fast::hash(&file)));
            bytes.extend_from_slice(&file);
            bytes.resize(bytes.len().next_multiple_of(4096), 0);
            Bulk::Scratch { device: "/dev/vdb".into(), offset, len, crc32 }
        });
        let cmdline = "console=ttyS0 kjvm.role=B kjvm.epoch=2000".into();
        let saver = Ask::Preload { kernel, initrd, region: SAVER_REGION, cmdline };
        let disks = vec![
            disk(0, Media::blank(520 << 20).unwrap()),
            disk(1, Media::over(Arc::new(MemoryBase(bytes))).unwrap()),
        ];
        let mut machine = Machine::new(Config { processors, ..Config::default() }, disks).unwrap();
        let command_line = format!("{COMMAND_LINE} {}", primary_arguments(SAVER_REGION));
        boot(&mut machine, PRIMARY, Entry::Pvh, &command_line);
        let mut guest = Guest::new(machine);
        wait_ready(&mut guest);
        start_workloads_beside(&mut guest, &[Partition { mib: 256, kind: PartitionKind::Image }]);
        workloads_are_clean(&mut guest);
        let Answer::MemoryMap { ranges, total } = ask(&mut guest, &Ask::MemoryMap { skip: 0 }) else {
            give_up(&guest, "no memory map")
        };
        assert_eq!(ranges.len(), total as usize);
        let mut sequence = Self { guest, saver, firmware: ranges, boots: 2 };
        sequence.preload();
        sequence
    }

    fn preload(&mut self) {
        let Answer::Preloaded { .. } = ask(&mut self.guest, &self.saver) else {
            give_up(&self.guest, "not preloaded")
        };
    }

    fn arrives(&mut self, role: Role, why: ReadyWhy) {
        match self.guest.wait_ready(PATIENCE) {
            Ok(ready) if (ready.session.role, ready.why) == (role, why) => {}
            other => give_up(&self.guest, &format!("expected {role} after {why:?}, found {other:?}")),
        }
    }

    /// A jumps to B, which saves A.
    fn jump_and_save(&mut self) {
        depart(&mut self.guest, &Ask::Jump { image: Some(IMAGE.into()) });
        self.arrives(Role::Saver, ReadyWhy::Boot);
        let save = Ask::SaveImage { device: IMAGE.into(), disks: vec!["vda".into()] };
        let Answer::Saved { pages, stored, .. } = ask(&mut self.guest, &save) else {
            give_up(&self.guest, "not saved")
        };
        assert!(pages > 10_000 && stored > 1_000, "{stored} of {pages} pages");
    }

    /// B suspends to RAM.
    fn suspend(&mut self) {
        ask(&mut self.guest, &Ask::SetAlarm { seconds: 30 });
        depart(&mut self.guest, &Ask::Suspend { state: SuspendState::Mem, pm_test: None });
        falls_asleep(&mut self.guest, SleepState::S3);
    }

    /// Power is gone for a minute; C boots cold and restores A, once and not twice.
    fn restore_after_power_loss(&mut self) {
        self.boots += 1;
        self.guest.machine.power_cycle(60 * SECOND, &mut self.guest.tape).unwrap();
        self.guest.power_lost();
        let command_line = format!(
            "console=ttyS0 kjvm.role=C kjvm.epoch={} {}",
            self.boots * 1000,
            restorer_arguments(&self.firmware, SAVER_REGION)
        );
        boot(&mut self.guest.machine, SAVER, Entry::Pvh, &command_line);
        self.arrives(Role::Restorer, ReadyWhy::Boot);
        depart(&mut self.guest, &Ask::RestoreImage { device: IMAGE.into() });
        returns(&mut self.guest);
    }

    fn jump_back(&mut self) {
        depart(&mut self.guest, &Ask::JumpBack { image: Some(IMAGE.into()) });
        returns(&mut self.guest);
    }
}

fn jump_save_return(processors: u32) {
    let mut sequence = Sequence::started(processors);
    sequence.jump_and_save();
    sequence.jump_back();
    workloads_are_clean(&mut sequence.guest);
}

#[test]
fn jump_save_return_cpus_1() {
    jump_save_return(1);
}

#[test]
fn jump_save_return_cpus_2() {
    jump_save_return(2);
}

#[test]
fn jump_save_s3_wake_return() {
    let mut sequence = Sequence::started(2);
    sequence.jump_and_save();
    sequence.suspend();
    wakes(&mut sequence.guest);
    sequence.arrives(Role::Saver, ReadyWhy::Return);
    sequence.jump_back();
    workloads_are_clean(&mut sequence.guest);
}

/// The flagship: the power fails while B sleeps, and A continues all the same.
fn power_lost_in_s3(processors: u32) {
    let mut sequence = Sequence::started(processors);
    sequence.jump_and_save();
    sequence.suspend();
    sequence.restore_after_power_loss();
    workloads_are_clean(&mut sequence.guest);
}

#[test]
fn power_lost_in_s3_cpus_1() {
    power_lost_in_s3(1);
}

#[test]
fn power_lost_in_s3_cpus_2() {
    power_lost_in_s3(2);
}

#[test]
fn jump_save_off_restore() {
    let mut sequence = Sequence::started(1);
    sequence.jump_and_save();
    depart(&mut sequence.guest, &Ask::PowerOff);
    falls_asleep(&mut sequence.guest, SleepState::S5);
    sequence.restore_after_power_loss();
    workloads_are_clean(&mut sequence.guest);
}
