//! The function as the bus sees it.

use super::registers::at;
use super::{MSIX_BAR, Nvme, REGISTERS_BAR, configuration};
use crate::pci::ConfigSpace;
use crate::pci::function::Endpoint;
use crate::{Context, Reset, VirtualTime, register};

impl Nvme {
    /// Registers are accessed in their width or in doublewords (3.1); other writes do nothing.
    fn register_write(&mut self, offset: u64, size: u8, value: u64, cx: &mut Context<'_>) {
        if !matches!(size, 4 | 8) || !offset.is_multiple_of(4) {
            return;
        }
        let mut stop = false;
        register::write(4, offset, size, value, |offset, lanes| {
            let value = lanes.value as u32;
            if let Some(doorbell) = offset.checked_sub(at::DOORBELLS) {
                if self.registers.ready
                    && let Err(error) = self.queues.ring(doorbell / 4, value)
                {
                    self.events.doorbell(error);
                }
            } else {
                let effect = self.registers.write(offset, value);
                stop |= self.follow(effect, cx);
            }
        });
        if !stop {
            self.run(cx);
        }
    }
}

impl Endpoint for Nvme {
    fn space(&self) -> &ConfigSpace {
        &self.space
    }

    fn space_mut(&mut self) -> &mut ConfigSpace {
        &mut self.space
    }

    fn reset(&mut self, kind: Reset) {
        self.disable();
        if self.disk.loses_power(kind) {
            self.transitions = super::Transitions::default();
        }
        self.disk.reset(kind);
        self.registers = super::Registers::default();
        (self.space, self.msix) = configuration(self.config);
    }

    fn config_write(&mut self, offset: u16, size: u8, value: u64, cx: &mut Context<'_>) {
        self.space.write(offset, size, value);
        // MSI-X may be unmasked now, and memory accessible.
        self.msix.deliver(&self.space, cx);
        self.run(cx);
    }

    fn memory_read(&mut self, bar: u8, offset: u64, size: u8, _cx: &mut Context<'_>) -> u64 {
        match bar {
            MSIX_BAR => self.msix.read(offset, size),
            REGISTERS_BAR => register::read(4, offset, size, |offset| self.registers.word(offset).into()),
            _ => u64::MAX,
        }
    }

    fn memory_write(&mut self, bar: u8, offset: u64, size: u8, value: u64, cx: &mut Context<'_>) {
        match bar {
            MSIX_BAR => self.msix.write(offset, size, value, &self.space, cx),
            REGISTERS_BAR => self.register_write(offset, size, value, cx),
            _ => {}
        }
    }

    fn wants_interrupt(&self) -> bool {
        self.queues.news() & !self.registers.masked != 0 && !self.msix.is_enabled(&self.space)
    }

    fn deadline(&self) -> Option<VirtualTime> {
        if self.is_live() && self.queues.can_fetch() {
            // An event stopped the machine in the middle.
            return Some(VirtualTime::default());
        }
        let command = self.pending.next().filter(|_| self.is_live());
        let shutdown = self.shutting_down.and_then(|shutdown| shutdown.due);
        [command, shutdown, self.disk.deadline()].into_iter().flatten().min()
    }

    fn tick(&mut self, cx: &mut Context<'_>) {
        self.run(cx);
    }
}
