//! A's disks: made once, taken up at each boot that is cold.

use agent_protocol::message::{Answer, Ask, Partition, PartitionKind, Workload};
use errno::{EINVAL, ENODATA};

use super::{Lab, Trouble, WORKLOAD_KIB, WORKLOAD_SEED, unexpected};
use crate::checks::disk::image_in_swap;
use crate::checks::record::places;
use crate::guest::GuestError;
use crate::language::Use;

/// Numbers of Linux.
mod errno {
    pub const EINVAL: i32 = 22;
    pub const ENODATA: i32 = 61;
}

impl Lab<'_> {
    /// Partitions, file systems, swap: on blank disks.
    pub(super) fn make_disks(&mut self) -> Result<(), Trouble> {
        for number in 0..self.scenario.disks.len() {
            let disk = self.device(number, 0);
            let spec = &self.scenario.disks[number];
            if spec.partitions.is_empty() {
                continue;
            }
            let partitions = spec.partitions.iter().map(|partition| Partition {
                mib: partition.mib,
                kind: match partition.what {
                    Use::Ext4 => PartitionKind::Linux,
                    Use::Swap => PartitionKind::Swap,
                    Use::Image => PartitionKind::Image,
                },
            });
            self.ask(&Ask::Partition { disk, partitions: partitions.collect() })?;
            for (partition, at) in spec.partitions.iter().zip(1..) {
                let device = self.device(number, at);
                match partition.what {
                    Use::Ext4 => {
                        // Pages of a swap file have to be whole blocks.
                        let blocks = ["-b", "4096"].map(str::to_owned);
                        let arguments =
                            if partition.swap_file.is_some() { blocks.to_vec() } else { Vec::new() };
                        self.ask(&Ask::MakeExt4 { device, arguments })?;
                    }
                    Use::Swap => {
                        self.ask(&Ask::MakeSwap { device })?;
                    }
                    Use::Image => {}
                }
            }
        }
        Ok(())
    }

    /// File systems are mounted, swap is on, and workloads run.
    pub(super) fn take_up(&mut self) -> Result<(), Trouble> {
        self.stale_image = self.signature();
        let mut directory = None;
        for number in 0..self.scenario.disks.len() {
            let spec = &self.scenario.disks[number];
            for (partition, at) in spec.partitions.iter().zip(1..) {
                let device = self.device(number, at);
                match partition.what {
                    Use::Ext4 => {
                        let other = || format!("{number}-{at}");
                        let mount = format!("/data{}", directory.as_ref().map_or(String::new(), |_| other()));
                        let (fstype, options) = ("ext4".into(), String::new());
                        self.ask(&Ask::Mount { device, at: mount.clone(), fstype, options })?;
                        if let Some(mib) = partition.swap_file {
                            self.take_up_swap_file(&mount, mib)?;
                        }
                        directory.get_or_insert(mount);
                    }
                    Use::Swap => self.swap_on(device, partition.priority)?,
                    Use::Image => {}
                }
            }
        }
        let workloads = self.workloads(directory.is_some());
        if !workloads.is_empty() {
            let directory = directory.unwrap_or_else(|| "/".into());
            let (kib, seed) = (WORKLOAD_KIB, WORKLOAD_SEED);
            self.ask(&Ask::StartWorkloads { workloads, directory, kib, seed })?;
        }
        Ok(())
    }

    /// Those workloads that this machine has a place for.
    fn workloads(&self, has_ext4: bool) -> Vec<Workload> {
        let has_swap = self.scenario.partition(Use::Swap).is_some() || self.scenario.swap_file().is_some();
        let can = |workload: &Workload| match workload {
            Workload::Ext4 => has_ext4,
            Workload::Swap => has_swap,
            _ => true,
        };
        self.scenario.workloads.iter().copied().filter(can).collect()
    }

    /// Swap is on. An image that nobody took is in the way of that: whoever boots cold clears it, as swapon(8) does.
    pub(super) fn swap_on(&mut self, device: String, priority: Option<u16>) -> Result<(), Trouble> {
        let ask = Ask::SwapOn { device: device.clone(), priority };
        match self.ask(&ask) {
            Err(Trouble::Guest(GuestError::Refused(failure))) if failure.errno == Some(EINVAL) => {
                self.ask(&Ask::MakeSwap { device })?;
                self.ask(&ask).map(|_| ())
            }
            other => other.map(|_| ()),
        }
    }

    fn take_up_swap_file(&mut self, mount: &str, mib: u32) -> Result<(), Trouble> {
        let path = format!("{mount}/swapfile");
        if self.swap_file.is_none() {
            let Answer::SwapFile { offset } = self.ask(&Ask::MakeSwapFile { path: path.clone(), mib })?
            else {
                return Err(unexpected("a swap file", "something else"));
            };
            self.swap_file = Some(offset);
        }
        self.ask(&Ask::SwapOn { device: path, priority: None })?;
        // The kernel learns where to hibernate to; at its next boot its command line says so.
        if let Some((device, offset)) = self.hibernates_to().filter(|(_, offset)| *offset != 0) {
            match self.depart(&Ask::Resume { device, offset }) {
                Err(Trouble::Guest(GuestError::Refused(failure))) if failure.errno == Some(ENODATA) => {}
                Ok(()) => return Err(unexpected("no image in the swap file", "one")),
                Err(trouble) => return Err(trouble),
            }
        }
        Ok(())
    }

    /// Device, and page of it where swap begins, that A hibernates to.
    pub fn hibernates_to(&self) -> Option<(String, u64)> {
        if let Some(device) = self.named(Use::Swap) {
            return Some((device, 0));
        }
        let (disk, partition, _) = self.scenario.swap_file()?;
        self.swap_file.map(|offset| (self.device(disk, partition), offset))
    }

    /// What stands in the signature of the first swap partition, if it is not that of an empty one.
    fn signature(&self) -> Option<String> {
        let place = places(self.scenario, Use::Swap).into_iter().next()?;
        let disk = self.guest.machine.board().pci.disks().nth(place.disk)?;
        image_in_swap(disk.media(), place.bytes.start).ok().flatten()
    }
}
