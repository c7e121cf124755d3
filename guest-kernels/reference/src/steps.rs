//! The steps runs are made of: A's start, the kexec-jump sequence, and ends without sleep.

use std::time::{Duration, Instant};

use agent_protocol::layout::SAVER_REGION;
use agent_protocol::message::{Answer, Ask, Bulk, ReadyWhy, Role, Workload};

use crate::error::RunError;
use crate::machine::Machine;
use crate::sleeps::SLEEP_EVENT;

/// Where A's file system is mounted.
pub const MOUNT: &str = "/data";
/// Of every pattern the workloads write.
pub const SEED: u64 = 0x6b6a_766d;
/// mke2fs leaves inode tables to be zeroed by a kernel thread of the mounted file system. `kernel_kexec` freezes no kernel threads: what this
/// one writes after virtio-blk was told to freeze stays in the stopped queue, and the kernel, taking that queue's processor offline, waits
/// for it for ever (`blk_mq_hctx_notify_offline`). One jump in some ten on two processors hung so, in the seconds that the thread lives.
const NO_LAZY_INIT: [&str; 2] = ["-E", "lazy_itable_init=0"];
/// What the memory and the swap workload hold, each, in KiB.
const HOLD_KIB: u32 = 4096;

impl Machine {
    /// Cold boot of A on blank disks: partitions, ext4, swap, all workloads.
    ///
    /// # Errors
    /// [`RunError`], as of every step.
    pub fn start_primary(&mut self) -> Result<(), RunError> {
        self.power_on(Role::Primary, ReadyWhy::Boot)?;
        let begun = Instant::now();
        let [ext4, swap] = [1, 2].map(|partition| self.device(partition));
        self.read_memory_map()?;
        self.make_partitions()?;
        let arguments = NO_LAZY_INIT.map(str::to_owned).into();
        self.ask(&Ask::MakeExt4 { device: ext4.clone(), arguments })?;
        self.mount(ext4)?;
        self.ask(&Ask::MakeSwap { device: swap.clone() })?;
        self.ask(&Ask::SwapOn { device: swap, priority: None })?;
        self.start_workloads()?;
        self.note(Role::Primary, "ext4, swap, workloads started", begun);
        self.check_workloads()
    }

    pub(crate) fn make_partitions(&mut self) -> Result<(), RunError> {
        let (disk, partitions) = (self.device(0), self.disk.layout().partitions());
        self.ask(&Ask::Partition { disk, partitions })?;
        Ok(())
    }

    fn mount(&mut self, device: String) -> Result<(), RunError> {
        let (at, fstype) = (MOUNT.to_owned(), "ext4".to_owned());
        self.ask(&Ask::Mount { device, at, fstype, options: String::new() })?;
        Ok(())
    }

    fn start_workloads(&mut self) -> Result<(), RunError> {
        let (workloads, directory) = (Workload::ALL.to_vec(), MOUNT.to_owned());
        self.ask(&Ask::StartWorkloads { workloads, directory, kib: HOLD_KIB, seed: SEED })?;
        self.progress.clear();
        Ok(())
    }

    pub(crate) fn read_memory_map(&mut self) -> Result<(), RunError> {
        let mut map = Vec::new();
        loop {
            let skip = u32::try_from(map.len()).unwrap_or(u32::MAX);
            match self.ask(&Ask::MemoryMap { skip })? {
                Answer::MemoryMap { total, ranges } => {
                    let got = ranges.len();
                    map.extend(ranges);
                    if map.len() >= total as usize || got == 0 {
                        self.firmware = map;
                        return Ok(());
                    }
                }
                other => return Err(RunError::Check(format!("not a memory map: {other:?}"))),
            }
        }
    }

    /// A loads the saver.
    ///
    /// # Errors
    /// [`RunError`].
    pub fn preload(&mut self) -> Result<(), RunError> {
        let begun = Instant::now();
        let ask = self.preload_ask()?;
        match self.ask(&ask)? {
            Answer::Preloaded { swapped_bytes, vmcore_bytes, .. } => {
                let reserved = self.setup.reserve_region;
                if reserved != (swapped_bytes < SAVER_REGION.len) {
                    return Err(RunError::Check(format!(
                        "region reserved: {reserved}, but {swapped_bytes} bytes will be swapped"
                    )));
                }
                let text = format!(
                    "preload saver ({} KiB to be swapped, {} MiB to be saved)",
                    swapped_bytes >> 10,
                    vmcore_bytes >> 20
                );
                self.note(Role::Primary, &text, begun);
                Ok(())
            }
            other => Err(RunError::Check(format!("not preloaded: {other:?}"))),
        }
    }

    /// The request of [`Machine::preload`].
    ///
    /// # Errors
    /// [`RunError::Needs`].
    pub fn preload_ask(&mut self) -> Result<Ask, RunError> {
        let saver = self.scratch().saver(&self.scratch_device());
        let (kernel, initrd) = saver.ok_or(RunError::Needs("a saver kernel"))?;
        Ok(Ask::Preload { kernel, initrd, region: SAVER_REGION, cmdline: self.cmdline(Role::Saver) })
    }

    /// A jumps into the saver it preloaded, which boots.
    ///
    /// # Errors
    /// [`RunError`].
    pub fn jump(&mut self) -> Result<(), RunError> {
        let begun = Instant::now();
        self.depart(&Ask::Jump { image: Some(self.device(3)) })?;
        let ready = self.arrive(Role::Saver, ReadyWhy::Boot)?;
        let own = Duration::from_millis(ready.boottime_ms).as_secs_f64();
        self.note(Role::Saver, &format!("quiesce, jump, saver ready ({own:.2} s of its own)"), begun);
        self.before_saver = Some(self.disk.outside_image()?);
        Ok(())
    }

    /// A jumps into the kernel that stayed in memory since A was entered from it: B after a jump back.
    ///
    /// # Errors
    /// [`RunError`].
    pub fn jump_to_resident(&mut self, role: Role) -> Result<(), RunError> {
        let begun = Instant::now();
        self.depart(&Ask::Jump { image: Some(self.device(3)) })?;
        self.arrive(role, ReadyWhy::Return)?;
        self.note(role, "entered again", begun);
        self.before_saver = Some(self.disk.outside_image()?);
        Ok(())
    }

    /// B saves the image of A.
    ///
    /// # Errors
    /// [`RunError`].
    pub fn save(&mut self) -> Result<(), RunError> {
        let begun = Instant::now();
        match self.ask(&self.save_ask())? {
            Answer::Saved { pages, stored, flushed, .. } => {
                let disk = self.device(0).trim_start_matches("/dev/").to_owned();
                if !flushed.contains(&disk) {
                    return Err(RunError::Check(format!("{disk} was not flushed, only {flushed:?}")));
                }
                let text = format!("image of A: {} MiB, {} MiB not zero", pages >> 8, stored >> 8);
                self.note(Role::Saver, &text, begun);
                self.expect_image("valid")
            }
            other => Err(RunError::Check(format!("not saved: {other:?}"))),
        }
    }

    /// The request of [`Machine::save`].
    pub fn save_ask(&self) -> Ask {
        let disk = self.device(0).trim_start_matches("/dev/").to_owned();
        Ask::SaveImage { device: self.device(3), disks: vec![disk] }
    }

    /// B goes back to A.
    ///
    /// # Errors
    /// [`RunError`].
    pub fn jump_back(&mut self) -> Result<(), RunError> {
        self.expect_only_image_written("B before it jumps back")?;
        let begun = Instant::now();
        self.depart(&Ask::JumpBack { image: Some(self.device(3)) })?;
        self.arrive(Role::Primary, ReadyWhy::Return)?;
        self.note(Role::Primary, "continues", begun);
        Ok(())
    }

    /// The kernel that listens powers the machine off in order.
    ///
    /// # Errors
    /// [`RunError`].
    pub fn power_off(&mut self, role: Role) -> Result<(), RunError> {
        let begun = Instant::now();
        self.depart(&Ask::PowerOff)?;
        self.wait_off()?;
        self.note(role, "power off", begun);
        Ok(())
    }

    /// B enters S4 through /dev/snapshot.
    ///
    /// # Errors
    /// [`RunError`].
    pub fn enter_s4(&mut self) -> Result<(), RunError> {
        let begun = Instant::now();
        self.depart(&Ask::EnterS4)?;
        self.qemu()?.wait_event("SUSPEND_DISK", SLEEP_EVENT)?;
        self.wait_off()?;
        self.note(Role::Saver, "S4", begun);
        Ok(())
    }

    /// Cold boot of C, which restores A.
    ///
    /// # Errors
    /// [`RunError`].
    pub fn cold_restore(&mut self) -> Result<(), RunError> {
        self.expect_only_image_written("B until the power was off")?;
        self.power_on(Role::Restorer, ReadyWhy::Boot)?;
        let begun = Instant::now();
        self.depart(&Ask::RestoreImage { device: self.device(3) })?;
        self.arrive(Role::Primary, ReadyWhy::Return)?;
        self.expect_image("consumed")?;
        self.note(Role::Primary, "image consumed, jump to A, A continues", begun);
        Ok(())
    }

    /// A executes a fresh copy of its own kernel, without a sleep.
    ///
    /// # Errors
    /// [`RunError`].
    pub fn plain_kexec(&mut self) -> Result<(), RunError> {
        let begun = Instant::now();
        let (kernel, initrd) = self.scratch().primary(&self.scratch_device());
        let cmdline = self.cmdline(Role::Primary);
        self.depart(&Ask::Kexec { kernel, initrd, cmdline })?;
        self.arrive(Role::Primary, ReadyWhy::Boot)?;
        self.note(Role::Primary, "plain kexec, ready", begun);
        Ok(())
    }

    /// A panics; the machine resets.
    ///
    /// # Errors
    /// [`RunError`].
    pub fn crash(&mut self) -> Result<(), RunError> {
        let begun = Instant::now();
        self.depart(&Ask::Crash)?;
        self.wait_off()?;
        self.note(Role::Primary, "panic, reset", begun);
        Ok(())
    }

    /// A, after another boot: its file system and its swap are taken up again, with new workloads.
    ///
    /// # Errors
    /// [`RunError`].
    pub fn take_up_disk(&mut self) -> Result<(), RunError> {
        let [ext4, swap] = [1, 2].map(|partition| self.device(partition));
        self.mount(ext4)?;
        self.ask(&Ask::SwapOn { device: swap, priority: None })?;
        self.start_workloads()?;
        self.check_workloads()
    }

    /// Fills A's memory with what cannot be swapped out, until no more than `left` bytes are available.
    ///
    /// # Errors
    /// [`RunError`].
    pub fn fill_memory(&mut self, left: u64) -> Result<(), RunError> {
        let begun = Instant::now();
        let (at, fstype) = ("/filler".to_owned(), "ramfs".to_owned());
        self.ask(&Ask::Mount { device: "none".into(), at, fstype, options: String::new() })?;
        // The image partition is blank and larger than the memory.
        let from = Bulk::Scratch { device: self.device(3), offset: 0, len: FILLER, crc32: Some(zeros()) };
        for piece in 0.. {
            let Answer::Text(meminfo) = self.ask(&Ask::ReadText { path: "/proc/meminfo".into() })? else {
                break;
            };
            let available = meminfo
                .lines()
                .find_map(|line| {
                    line.strip_prefix("MemAvailable:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok()
                })
                .ok_or_else(|| RunError::Check(format!("no MemAvailable in {meminfo:?}")))?;
            if available * 1024 <= left {
                break;
            }
            let to = Bulk::File { path: format!("/filler/{piece}") };
            self.ask(&Ask::CopyBulk { from: from.clone(), to })?;
        }
        self.note(Role::Primary, &format!("memory filled: {} MiB left", left >> 20), begun);
        Ok(())
    }
}

/// Bytes of a piece that fills memory.
const FILLER: u64 = 4 << 20;

fn zeros() -> u32 {
    crc32fast::hash(&vec![0; FILLER as usize])
}
