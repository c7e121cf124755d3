//! The kexec-jump sequence on the software engine: A jumps to B, B saves A and sleeps, and A continues, whatever became of the power.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod common;

use std::sync::Arc;

use agent_protocol::layout::{MemoryRange, SAVER_REGION, primary_arguments, restorer_arguments};
use agent_protocol::message::{Answer, Ask, Bulk, Partition, PartitionKind, ReadyWhy, Role};
use common::lab::{Lab, Mark, Setup, twice};
use common::{
    PATIENCE, ask, boot, depart, device_behind, disk_behind, falls_asleep, give_up, partition, returns, wakes,
};
use devices::acpi_pm::SleepState;
use devices::disk::{Media, MemoryBase};
use devices::pci::nvme::Transitions;
use guest_kernels::provision;
use scenarios::image::find::{Contents, find};
use vmm::{Entry, FrontEnd};

const PRIMARY: &str = "primary-6.12";
const SAVER: &str = "saver-6.12";

/// A guest of the sequence, and what it is told of itself.
struct Sequence {
    lab: Lab,
    /// Asks for B to be loaded, all but the epoch of its command line.
    saver: [Bulk; 2],
    firmware: Vec<MemoryRange>,
    savers: u32,
}

impl Sequence {
    /// A, with all workloads, and B preloaded.
    fn started(setup: Setup) -> Self {
        let provided = provision::kernel(SAVER, &|text| eprintln!("{text}")).unwrap();
        let mut bytes = Vec::new();
        let saver = [std::fs::read(&provided.bzimage).unwrap(), provided.initrd].map(|file| {
            let (offset, len, crc32) = (bytes.len() as u64, file.len() as u64, Some(crc32fast::hash(&file)));
            bytes.extend_from_slice(&file);
            bytes.resize(bytes.len().next_multiple_of(4096), 0);
            Bulk::Scratch { device: device_behind(setup.front_end, 1, None), offset, len, crc32 }
        });
        let scratch = disk_behind(setup.front_end, 1, Media::over(Arc::new(MemoryBase(bytes))).unwrap());
        let image = Partition { mib: 256, kind: PartitionKind::Image };
        let mut lab = Lab::started_with(setup, &primary_arguments(SAVER_REGION), &[image], scratch);
        let Answer::MemoryMap { ranges, total } = ask(&mut lab.guest, &Ask::MemoryMap { skip: 0 }) else {
            give_up(&lab.guest, "no memory map")
        };
        assert_eq!(ranges.len(), total as usize);
        let mut sequence = Self { lab, saver, firmware: ranges, savers: 0 };
        sequence.preload();
        sequence
    }

    fn image(&self) -> String {
        partition(&self.lab.guest.machine, 3)
    }

    /// A loads B. After a cold restore it has to do it again: what it had loaded was not part of the image.
    fn preload(&mut self) {
        self.savers += 1;
        let [kernel, initrd] = self.saver.clone();
        let cmdline = format!("console=ttyS0 kjvm.role=B kjvm.epoch={}", 100_000 + self.savers * 1000);
        let preload = Ask::Preload { kernel, initrd, region: SAVER_REGION, cmdline };
        let Answer::Preloaded { .. } = ask(&mut self.lab.guest, &preload) else {
            give_up(&self.lab.guest, "not preloaded")
        };
    }

    fn arrives(&mut self, role: Role, why: ReadyWhy) {
        match self.lab.guest.wait_ready(PATIENCE) {
            Ok(ready) if (ready.session.role, ready.why) == (role, why) => {}
            other => give_up(&self.lab.guest, &format!("expected {role} after {why:?}, found {other:?}")),
        }
    }

    /// A jumps to B, which boots, or is still there from the time before.
    fn jump(&mut self, why: ReadyWhy) {
        let ask = Ask::Jump { image: Some(self.image()) };
        depart(&mut self.lab.guest, &ask);
        self.arrives(Role::Saver, why);
    }

    /// B saves A.
    fn save(&mut self) {
        let disk = device_behind(self.lab.setup.front_end, 0, None).trim_start_matches("/dev/").to_owned();
        let save = Ask::SaveImage { device: self.image(), disks: vec![disk] };
        let Answer::Saved { pages, stored, .. } = ask(&mut self.lab.guest, &save) else {
            give_up(&self.lab.guest, "not saved")
        };
        assert!(pages > 10_000 && stored > 1_000, "{stored} of {pages} pages");
    }

    fn jump_and_save(&mut self) {
        self.jump(ReadyWhy::Boot);
        self.save();
    }

    /// Power is gone for a minute; C boots cold and restores A, once and not twice.
    fn restore_after_power_loss(&mut self) {
        let epoch = self.lab.loses_power();
        let command_line = format!(
            "console=ttyS0 kjvm.role=C kjvm.epoch={epoch} {}",
            restorer_arguments(&self.firmware, SAVER_REGION)
        );
        boot(&mut self.lab.guest.machine, SAVER, Entry::Pvh, &command_line);
        self.arrives(Role::Restorer, ReadyWhy::Boot);
        let ask = Ask::RestoreImage { device: self.image() };
        depart(&mut self.lab.guest, &ask);
        returns(&mut self.lab.guest);
    }

    fn jump_back(&mut self) {
        let ask = Ask::JumpBack { image: Some(self.image()) };
        depart(&mut self.lab.guest, &ask);
        returns(&mut self.lab.guest);
    }

    /// B sleeps in S3, wakes by alarm, and jumps back.
    fn sleep_and_return(&mut self) {
        self.lab.falls_asleep();
        wakes(&mut self.lab.guest);
        self.arrives(Role::Saver, ReadyWhy::Return);
        self.jump_back();
    }
}

/// B sleeps, wakes and returns; the second time A jumps into the B that is still in memory.
fn wakes_and_returns(setup: Setup) -> Vec<Mark> {
    let mut sequence = Sequence::started(setup);
    for why in [ReadyWhy::Boot, ReadyWhy::Return] {
        sequence.jump(why);
        sequence.save();
        sequence.sleep_and_return();
        sequence.lab.holds("jump, save, S3 in B, return");
    }
    sequence.lab.finish()
}

/// The flagship: the power fails while B sleeps, and A continues all the same; and then once more.
fn power_fails_in_s3(setup: Setup) -> Vec<Mark> {
    let mut sequence = Sequence::started(setup);
    for cycle in 0..2 {
        if cycle > 0 {
            sequence.preload();
        }
        sequence.jump_and_save();
        sequence.lab.falls_asleep();
        sequence.restore_after_power_loss();
        sequence.lab.holds("jump, save, power lost in S3, restore");
    }
    sequence.lab.finish()
}

macro_rules! matrix {
    ($($name:ident: $processors:literal, $front_end:ident;)*) => {$(
        mod $name {
            const SETUP: super::Setup = super::Setup {
                kernel: super::PRIMARY,
                processors: $processors,
                front_end: super::FrontEnd::$front_end,
            };

            #[test]
            fn wakes_and_returns() {
                super::twice(SETUP, super::wakes_and_returns);
            }

            #[test]
            fn power_fails_in_s3() {
                super::twice(SETUP, super::power_fails_in_s3);
            }
        }
    )*};
}

matrix! {
    cpus_1_virtio: 1, Virtio;
    cpus_2_virtio: 2, Virtio;
    cpus_1_nvme: 1, Nvme;
    cpus_2_nvme: 2, Nvme;
}

const ONE_VIRTIO: Setup = Setup { kernel: PRIMARY, processors: 1, front_end: FrontEnd::Virtio };

#[test]
fn jump_save_return() {
    let mut sequence = Sequence::started(ONE_VIRTIO);
    sequence.jump_and_save();
    sequence.jump_back();
    sequence.lab.holds("jump, save, return");
}

#[test]
fn jump_save_off_restore() {
    let mut sequence = Sequence::started(ONE_VIRTIO);
    sequence.jump_and_save();
    depart(&mut sequence.lab.guest, &Ask::PowerOff);
    falls_asleep(&mut sequence.lab.guest, SleepState::S5);
    sequence.restore_after_power_loss();
    sequence.lab.holds("jump, save, off, restore");
}

/// What B wrote is what A left: B changed nothing of it meanwhile, so that it can be held against memory, page by page.
#[test]
fn the_image_is_the_memory_of_a() {
    let mut sequence = Sequence::started(ONE_VIRTIO);
    sequence.jump_and_save();
    let found = find(sequence.lab.disk().media()).unwrap();
    let Some(Contents::Ours(image)) = found.last().map(|found| &found.contents) else { panic!("no image") };
    assert!(image.is_valid(), "{:?}", image.flaw);
    let ram = sequence.lab.guest.machine.ram();
    let (mut pages, mut memory) = (0, [0; 4096]);
    for page in image.pages() {
        let (frame, page) = page.unwrap();
        ram.read(frame * 4096, &mut memory).unwrap();
        assert!(*page.bytes() == memory, "page frame {frame:#x}");
        pages += 1;
    }
    assert!(pages > 40_000, "{pages} pages");
    let entry = image.header.as_ref().unwrap().entry;
    assert!(image.locate(entry / 4096).is_some(), "{entry:#x}");
}

/// What a sequence costs a drive: A stops it before the jump, B before S3 and again before it jumps back, each with notice and
/// without touching the drive's own power states.
#[test]
fn a_drive_is_stopped_once_by_each_kernel_that_leaves_it() {
    let mut sequence = Sequence::started(Setup { front_end: FrontEnd::Nvme, ..ONE_VIRTIO });
    let mut seen = vec![sequence.lab.transitions()];
    sequence.jump_and_save();
    seen.push(sequence.lab.transitions());
    sequence.sleep_and_return();
    seen.push(sequence.lab.transitions());
    let stops = |shutdowns| Transitions { shutdowns, ..Transitions::default() };
    assert_eq!(seen, [stops(0), stops(1), stops(3)]);
}
