//! Bus 0: which function an access to ports or memory reaches.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::function::{Endpoint, Function};
use super::{
    CONFIG_ADDRESS, CONFIG_DATA, ECAM, ECAM_BYTES, HostBridge, LINES, SLOTS, WINDOW, slot_interrupt,
};
use crate::disk::Disk;
use crate::{Context, Device, Reset, VirtualTime};

/// Latched addresses: configuration is enabled, bus, device, function and doubleword (PCI 3.0 3.2.2.3.2).
const ENABLE: u32 = 1 << 31;
const LATCHED: u32 = ENABLE | 0x00ff_fffc;

/// A function that cannot be put into a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BusError {
    /// There are 32.
    #[error("there is no PCI slot {0}: the bus has slots 0 to 31")]
    NoSlot(u8),
    /// It is not empty.
    #[error("PCI slot {0} is taken")]
    Taken(u8),
}

/// Bus 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bus {
    latch: u32,
    /// Each is function 0 of its slot.
    functions: BTreeMap<u8, Function>,
}

/// What an address means.
enum Target {
    Configuration { slot: u8, offset: u16 },
    Memory { slot: u8, bar: u8, offset: u64 },
}

impl Bus {
    /// With nothing but the host bridge in slot 0.
    pub fn new() -> Self {
        Self { latch: 0, functions: BTreeMap::from([(0, Function::HostBridge(HostBridge::new()))]) }
    }

    /// Puts a function, made for this slot, into it.
    ///
    /// # Errors
    /// [`BusError`].
    pub fn insert(&mut self, slot: u8, function: Function) -> Result<(), BusError> {
        if slot >= SLOTS {
            return Err(BusError::NoSlot(slot));
        }
        if self.functions.contains_key(&slot) {
            return Err(BusError::Taken(slot));
        }
        self.functions.insert(slot, function);
        Ok(())
    }

    /// What sits in a slot.
    pub fn function(&self, slot: u8) -> Option<&Function> {
        self.functions.get(&slot)
    }

    /// What sits in a slot.
    pub fn function_mut(&mut self, slot: u8) -> Option<&mut Function> {
        self.functions.get_mut(&slot)
    }

    /// The disks, in the order of their slots.
    pub fn disks(&self) -> impl Iterator<Item = &Disk> {
        self.functions.values().filter_map(Function::disk)
    }

    /// The disks, in the order of their slots.
    pub fn disks_mut(&mut self) -> impl Iterator<Item = &mut Disk> {
        self.functions.values_mut().filter_map(Function::disk_mut)
    }

    /// A trigger stopped the machine in an access to this address: the function that was accessed does what it left undone.
    pub fn go_on(&mut self, address: u64, cx: &mut Context<'_>) {
        if let Some((Target::Configuration { slot, .. } | Target::Memory { slot, .. }, _)) =
            self.target(address, 1)
        {
            self.call(slot, cx, |function, cx| function.tick(cx));
        }
    }

    /// What an access reaches: which bytes of it are in reach, counted from the first, is the last part.
    fn target(&self, address: u64, size: u8) -> Option<(Target, u8)> {
        let (target, room) = if let Ok(port) = u16::try_from(address) {
            self.latched(port)?
        } else if let Some(target) = in_ecam(address) {
            target
        } else {
            return self.decode(address, size).map(|target| (target, size));
        };
        Some((target, size.min(room)))
    }

    /// What the data ports lead to, and how many of them follow.
    fn latched(&self, port: u16) -> Option<(Target, u8)> {
        let lane = port.checked_sub(CONFIG_DATA).filter(|lane| *lane < 4)?;
        let (bus, function) = (self.latch >> 16 & 0xff, self.latch >> 8 & 7);
        if self.latch & ENABLE == 0 || bus != 0 || function != 0 {
            return None;
        }
        let slot = (self.latch >> 11 & 31) as u8;
        Some((Target::Configuration { slot, offset: (self.latch & 0xfc) as u16 + lane }, 4 - lane as u8))
    }

    /// The bridge passes on nothing outside the window, wherever a guest moves a BAR to.
    fn decode(&self, address: u64, size: u8) -> Option<Target> {
        if !WINDOW.contains(&address) {
            return None;
        }
        self.functions.iter().find_map(|(slot, function)| {
            let (bar, offset) = function.endpoint().space().decode(address, size)?;
            Some(Target::Memory { slot: *slot, bar, offset })
        })
    }

    fn call<T>(
        &mut self,
        slot: u8,
        cx: &mut Context<'_>,
        call: impl FnOnce(&mut dyn Endpoint, &mut Context<'_>) -> T,
    ) -> Option<T> {
        let result = call(self.functions.get_mut(&slot)?.endpoint_mut(), cx);
        self.drive_line(slot, cx);
        Some(result)
    }

    /// Slots share lines.
    fn drive_line(&mut self, slot: u8, cx: &mut Context<'_>) {
        let line = slot_interrupt(slot);
        let mut active = false;
        for (_, function) in self.functions.iter_mut().filter(|(slot, _)| slot_interrupt(**slot) == line) {
            let function = function.endpoint_mut();
            let wants = function.wants_interrupt();
            active |= function.space_mut().drive_interrupt(wants);
        }
        cx.lines.set(line, active);
    }
}

impl Default for Bus {
    fn default() -> Self {
        Self::new()
    }
}

/// The ports of the bus, [`ECAM`] and [`WINDOW`]: what no function answers reads as ones.
impl Device for Bus {
    fn read(&mut self, address: u64, size: u8, cx: &mut Context<'_>) -> u64 {
        let ones = |bytes: u8| u64::MAX.checked_shr(64 - 8 * u32::from(bytes.min(8))).unwrap_or(0);
        if address == u64::from(CONFIG_ADDRESS) && size == 4 {
            return self.latch.into();
        }
        let Some((target, reached)) = self.target(address, size) else { return ones(size) };
        let answer = match target {
            Target::Configuration { slot, offset } => {
                self.call(slot, cx, |function, cx| function.config_read(offset, reached, cx))
            }
            Target::Memory { slot, bar, offset } => {
                self.call(slot, cx, |function, cx| function.memory_read(bar, offset, reached, cx))
            }
        };
        (answer.unwrap_or(u64::MAX) | !ones(reached)) & ones(size)
    }

    fn write(&mut self, address: u64, size: u8, value: u64, cx: &mut Context<'_>) {
        if address == u64::from(CONFIG_ADDRESS) && size == 4 {
            self.latch = value as u32 & LATCHED;
            return;
        }
        match self.target(address, size) {
            Some((Target::Configuration { slot, offset }, reached)) => {
                self.call(slot, cx, |function, cx| function.config_write(offset, reached, value, cx));
            }
            Some((Target::Memory { slot, bar, offset }, reached)) => {
                self.call(slot, cx, |function, cx| function.memory_write(bar, offset, reached, value, cx));
            }
            None => {}
        }
    }

    fn deadline(&self) -> Option<VirtualTime> {
        self.functions.values().filter_map(|function| function.endpoint().deadline()).min()
    }

    fn tick(&mut self, cx: &mut Context<'_>) {
        for slot in 0..SLOTS {
            self.call(slot, cx, |function, cx| function.tick(cx));
            if *cx.stop {
                // The machine stops at this very event: the others are called again when it goes on.
                return;
            }
        }
    }

    /// The functions are as new, and disks as their power left them.
    fn reset(&mut self, kind: Reset, cx: &mut Context<'_>) {
        self.latch = 0;
        for function in self.functions.values_mut() {
            function.endpoint_mut().reset(kind);
        }
        for slot in 0..LINES {
            self.drive_line(slot, cx);
        }
    }
}

/// What an address of configuration space in memory means, and how many bytes of that function follow.
fn in_ecam(address: u64) -> Option<(Target, u8)> {
    let within = address.checked_sub(ECAM).filter(|within| *within < ECAM_BYTES)?;
    let offset = (within & 0xfff) as u16;
    // Functions other than 0 are absent: their slot has no number.
    let slot = if within >> 12 & 7 == 0 { (within >> 15) as u8 } else { SLOTS };
    Some((Target::Configuration { slot, offset }, (0x1000 - offset).min(8) as u8))
}

#[cfg(test)]
mod tests;
