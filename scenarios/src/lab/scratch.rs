//! The scratch disk: kernels that are loaded by another one.

use std::sync::Arc;

use agent_protocol::message::Bulk;

use crate::kernels::{Kernels, Loaded};
use crate::language::{Scenario, Step};

/// What a page of it is aligned to.
const PAGE: usize = 4096;

/// The kernels of a scenario that others load, as they lie on a disk.
pub(super) struct Scratch<'a> {
    /// bzImage and initramfs of each.
    loaded: Vec<&'a Loaded>,
    has_saver: bool,
}

impl<'a> Scratch<'a> {
    /// The saver, and what a kexec executes.
    pub(super) fn of(scenario: &Scenario, kernels: &'a Kernels) -> Self {
        let mut loaded: Vec<&Loaded> = kernels.saver.iter().map(Arc::as_ref).collect();
        let has_saver = !loaded.is_empty();
        for step in scenario.steps.iter().filter(|spec| spec.step == Step::Kexec) {
            let name = step.boot.kernel.as_ref();
            loaded.push(name.and_then(|name| kernels.named(name)).unwrap_or(&kernels.primary));
        }
        Self { loaded, has_saver }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.loaded.is_empty()
    }

    /// Kernel and initramfs of the saver, on this device.
    pub(super) fn saver(&self, device: &str) -> (Bulk, Bulk) {
        self.pair(device, 0)
    }

    /// Kernel and initramfs that a kexec executes, by their name.
    pub(super) fn executed(&self, device: &str, name: &str) -> (Bulk, Bulk) {
        let first = usize::from(self.has_saver);
        let place = self.loaded.iter().skip(first).position(|kernel| kernel.name == name);
        self.pair(device, first + place.unwrap_or(0))
    }

    fn pair(&self, device: &str, number: usize) -> (Bulk, Bulk) {
        let files = || self.loaded.iter().flat_map(|kernel| [&kernel.bzimage, &kernel.initrd]);
        let bulk = |place: usize| {
            let offset: usize = files().take(place).map(|file| file.len().next_multiple_of(PAGE)).sum();
            let file = files().nth(place).map_or(&[][..], |file| file);
            Bulk::Scratch {
                device: device.to_owned(),
                offset: offset as u64,
                len: file.len() as u64,
                crc32: Some(crc32fast::hash(file)),
            }
        };
        (bulk(2 * number), bulk(2 * number + 1))
    }

    /// All of it.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for file in self.loaded.iter().flat_map(|kernel| [&kernel.bzimage, &kernel.initrd]) {
            bytes.extend_from_slice(file);
            bytes.resize(bytes.len().next_multiple_of(PAGE), 0);
        }
        bytes
    }
}
