//! Who else wrote: pages written by anything that is not a processor, remembered while somebody asks for it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};

/// Who writes to memory and is no processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Writer {
    /// A device, by DMA or by a message.
    Device,
    /// The host: firmware, loaders, whoever changes the machine from outside.
    Host,
}

/// A page that was written by somebody who is no processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ForeignWrite {
    /// Its frame.
    pub frame: u64,
    /// Who was first.
    pub writer: Writer,
}

/// The record of one region, in pages from its start.
#[derive(Debug, Default)]
pub(crate) struct Foreign {
    /// Who would be written down: nobody, or a [`Writer`].
    writes: AtomicU8,
    pages: Mutex<BTreeMap<usize, Writer>>,
}

/// Values of [`Foreign::writes`].
const NOBODY: u8 = 0;
const DEVICE: u8 = 1;
const HOST: u8 = 2;

impl Foreign {
    /// Writes down from now on what is written, as this writer's; or nothing any more.
    pub fn watch(&self, writer: Option<Writer>) {
        let value = match writer {
            None => NOBODY,
            Some(Writer::Device) => DEVICE,
            Some(Writer::Host) => HOST,
        };
        self.writes.store(value, Ordering::Relaxed);
    }

    /// Whose a write would be now, if it were written down.
    pub fn watched(&self) -> Option<Writer> {
        match self.writes.load(Ordering::Relaxed) {
            NOBODY => None,
            DEVICE => Some(Writer::Device),
            _ => Some(Writer::Host),
        }
    }

    /// A page is written to.
    #[inline]
    pub fn note(&self, page: usize) {
        if let Some(writer) = self.watched() {
            self.pages.lock().unwrap_or_else(PoisonError::into_inner).entry(page).or_insert(writer);
        }
    }

    /// What was written down since the last call, in ascending order.
    pub fn take(&self) -> BTreeMap<usize, Writer> {
        std::mem::take(&mut *self.pages.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
