//! Loads and stores by linear address. Only this module and its neighbour for runs follow pointers into guest memory.
#![allow(unsafe_code)]

use crate::exec::Exec;
use crate::fault::{Fault, Stop, vector};
use crate::memory::tlb::{Allowed, Page, Set};
use crate::memory::{Access, PAGE_MASK, PAGE_OFFSET};

/// A value of 1, 2, 4, 8 or 16 bytes in memory, little endian.
pub trait Value: Copy {
    /// Bytes.
    const BYTES: usize;
    /// From the low bytes.
    fn from_bits(bits: u128) -> Self;
    /// Zero extended.
    fn to_bits(self) -> u128;
}

macro_rules! value {
    ($($type:ty)*) => {$(
        impl Value for $type {
            const BYTES: usize = size_of::<$type>();
            #[inline(always)]
            fn from_bits(bits: u128) -> Self {
                bits as Self
            }
            #[inline(always)]
            fn to_bits(self) -> u128 {
                u128::from(self)
            }
        }
    )*};
}
value!(u8 u16 u32 u64 u128);

/// Where bytes of one page lie.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// In guest memory, at this address in this process.
    Memory(*mut u8),
    /// Somewhere on the bus.
    Device(u64),
}

impl Exec<'_> {
    /// Loads with the rights of the current privilege level.
    ///
    /// # Errors
    /// A fault, or [`Stop::Alone`] at a device.
    #[inline(always)]
    pub fn load<T: Value>(&mut self, linear: u64) -> Result<T, Stop> {
        self.load_as(self.data_set, linear)
    }

    /// Loads with the rights of this set: descriptor tables and task state are read as supervisor whatever the privilege level.
    ///
    /// # Errors
    /// A fault, or [`Stop::Alone`] at a device.
    #[inline(always)]
    pub fn load_as<T: Value>(&mut self, set: Set, linear: u64) -> Result<T, Stop> {
        let entry = self.tlb.entry(set, linear);
        if entry.read == linear.wrapping_add(T::BYTES as u64 - 1) & PAGE_MASK {
            // SAFETY: the tag says that the page of the first byte is guest memory at `linear + addend`, and equals the page of
            // the last byte. Guest memory is mapped as long as `self.ram` lives; no reference to it exists.
            return Ok(unsafe {
                (linear as usize).wrapping_add(entry.addend).pointer::<T>().read_unaligned()
            });
        }
        self.load_slow(set, linear, T::BYTES).map(T::from_bits)
    }

    /// Stores with the rights of the current privilege level.
    ///
    /// # Errors
    /// A fault, or [`Stop::Alone`] at a device or a page with translated code.
    #[inline(always)]
    pub fn store<T: Value>(&mut self, linear: u64, value: T) -> Result<(), Stop> {
        self.store_as(self.data_set, linear, value)
    }

    /// Stores with the rights of this set.
    ///
    /// # Errors
    /// A fault, or [`Stop::Alone`] at a device or a page with translated code.
    #[inline(always)]
    pub fn store_as<T: Value>(&mut self, set: Set, linear: u64, value: T) -> Result<(), Stop> {
        let entry = self.tlb.entry(set, linear);
        if entry.write == linear.wrapping_add(T::BYTES as u64 - 1) & PAGE_MASK {
            // SAFETY: as in `load_as`; the tag for writes says that the page may be written without telling anybody.
            unsafe { (linear as usize).wrapping_add(entry.addend).pointer::<T>().write_unaligned(value) };
            return Ok(());
        }
        self.store_slow(set, linear, value.to_bits(), T::BYTES)
    }

    /// Loads, and stores what `change` makes of it. `change` is called once, when nothing can fault any more.
    ///
    /// # Errors
    /// A fault, or [`Stop::Alone`] at a device or a page with translated code.
    #[inline(always)]
    pub fn update<T: Value>(
        &mut self,
        linear: u64,
        change: impl FnOnce(&mut Self, T) -> T,
    ) -> Result<(), Stop> {
        let entry = self.tlb.entry(self.data_set, linear);
        if entry.write == linear.wrapping_add(T::BYTES as u64 - 1) & PAGE_MASK {
            let place = (linear as usize).wrapping_add(entry.addend).pointer::<T>();
            // SAFETY: as in `store_as`; whatever may be written may be read.
            let before = unsafe { place.read_unaligned() };
            let after = change(self, before);
            // SAFETY: the same place; `change` has no way to unmap guest memory.
            unsafe { place.write_unaligned(after) };
            return Ok(());
        }
        self.probe_store(linear, T::BYTES)?;
        let before = self.load::<T>(linear)?;
        let after = change(self, before);
        self.store(linear, after)
    }

    /// Raises whatever the store of one value would raise, and stores nothing.
    ///
    /// # Errors
    /// That.
    pub fn probe_store(&mut self, linear: u64, bytes: usize) -> Result<(), Stop> {
        self.check_canonical(linear, bytes as u64)?;
        self.check_alignment(self.data_set, linear, bytes)?;
        self.probe_write(linear, bytes as u64)
    }

    /// Makes sure that a store to these bytes (at most a page) will go through.
    ///
    /// # Errors
    /// What the store would raise.
    pub fn probe_write(&mut self, linear: u64, bytes: u64) -> Result<(), Stop> {
        self.probe_write_as(self.data_set, linear, bytes)
    }

    /// [`Exec::probe_write`] with the rights of this set.
    ///
    /// # Errors
    /// What the store would raise.
    pub fn probe_write_as(&mut self, set: Set, linear: u64, bytes: u64) -> Result<(), Stop> {
        self.check_canonical(linear, bytes)?;
        self.reach(set, linear, Access::Write)?;
        let last = self.wrap_linear(linear.wrapping_add(bytes.saturating_sub(1)));
        if last & PAGE_MASK != linear & PAGE_MASK {
            self.reach(set, last & PAGE_MASK, Access::Write)?;
        }
        Ok(())
    }

    /// Copies at most what is left of this page out of guest memory; how much, or 0 if it is a device.
    ///
    /// # Errors
    /// A fault.
    pub fn load_run(&mut self, linear: u64, into: &mut [u8]) -> Result<usize, Stop> {
        let bytes = into.len().min((0x1000 - (linear & PAGE_OFFSET)) as usize);
        match self.reach(self.data_set, linear, Access::Read)? {
            Place::Memory(from) => {
                // SAFETY: `reach` says that this page is guest memory from `from` to its end, and `bytes` stays within; `into` is
                // no guest memory.
                unsafe { from.copy_to_nonoverlapping(into.as_mut_ptr(), bytes) };
                Ok(bytes)
            }
            Place::Device(_) => Ok(0),
        }
    }

    /// Where a run of bytes within one page lies, for string instructions: pointer and bytes to the end of the page; `None` for
    /// a device. The pointer may be used until the next instruction.
    ///
    /// # Errors
    /// A fault, or [`Stop::Alone`] for a write to a page with translated code.
    pub(crate) fn run_of_page(
        &mut self,
        linear: u64,
        access: Access,
    ) -> Result<Option<(*mut u8, usize)>, Stop> {
        let left = (0x1000 - (linear & PAGE_OFFSET)) as usize;
        Ok(match self.reach(self.data_set, linear, access)? {
            Place::Memory(pointer) => Some((pointer, left)),
            Place::Device(_) => None,
        })
    }

    #[cold]
    #[inline(never)]
    fn load_slow(&mut self, set: Set, linear: u64, bytes: usize) -> Result<u128, Stop> {
        self.check_canonical(linear, bytes as u64)?;
        self.check_alignment(set, linear, bytes)?;
        let (first, second) = self.parts(linear, bytes);
        let low = self.reach(set, linear, Access::Read)?;
        let high = match second {
            0 => None,
            _ => Some(self.reach(set, self.next_page(linear), Access::Read)?),
        };
        self.watch(linear, bytes, false);
        let mut value = self.load_place(low, first);
        if let Some(high) = high {
            value |= self.load_place(high, second) << (8 * first);
        }
        Ok(value)
    }

    #[cold]
    #[inline(never)]
    fn store_slow(&mut self, set: Set, linear: u64, value: u128, bytes: usize) -> Result<(), Stop> {
        self.check_canonical(linear, bytes as u64)?;
        self.check_alignment(set, linear, bytes)?;
        let (first, second) = self.parts(linear, bytes);
        let low = self.reach(set, linear, Access::Write)?;
        let high = match second {
            0 => None,
            _ => Some(self.reach(set, self.next_page(linear), Access::Write)?),
        };
        self.watch(linear, bytes, true);
        self.store_place(low, value, first);
        if let Some(high) = high {
            self.store_place(high, value >> (8 * first), second);
        }
        Ok(())
    }

    /// Alignment check (SDM 3A 6.15, #AC), at privilege level 3: before any page is looked for. Ten bytes are aligned like eight.
    fn check_alignment(&mut self, set: Set, linear: u64, bytes: usize) -> Result<(), Stop> {
        if set == Set::UserAligned && linear & ((1 << bytes.max(1).ilog2()) - 1) != 0 {
            return Err(self.raise(Fault::coded(vector::AC, 0)));
        }
        Ok(())
    }

    /// All bytes must have canonical addresses, before any page is looked for.
    fn check_canonical(&mut self, linear: u64, bytes: u64) -> Result<(), Stop> {
        let last = self.wrap_linear(linear.wrapping_add(bytes.saturating_sub(1)));
        if self.is_canonical(linear) && self.is_canonical(last) {
            Ok(())
        } else {
            Err(self.raise_noncanonical(linear))
        }
    }

    /// How many bytes lie in the first page, and how many in the next.
    fn parts(&self, linear: u64, bytes: usize) -> (usize, usize) {
        let first = bytes.min((0x1000 - (linear & PAGE_OFFSET)) as usize);
        (first, bytes - first)
    }

    fn next_page(&self, linear: u64) -> u64 {
        self.wrap_linear((linear & PAGE_MASK).wrapping_add(0x1000))
    }

    fn load_place(&mut self, place: Place, bytes: usize) -> u128 {
        match place {
            Place::Memory(from) => {
                let mut raw = [0u8; 16];
                // SAFETY: `reach` says that the page is guest memory from `from` to its end, and `parts` keeps within; `raw` has
                // 16 bytes and no value is longer.
                unsafe { from.copy_to_nonoverlapping(raw.as_mut_ptr(), bytes.min(16)) };
                u128::from_le_bytes(raw)
            }
            Place::Device(physical) => self.device_load(physical, bytes),
        }
    }

    fn store_place(&mut self, place: Place, value: u128, bytes: usize) {
        match place {
            Place::Memory(to) => {
                let raw = value.to_le_bytes();
                // SAFETY: as in `load_place`.
                unsafe { to.copy_from_nonoverlapping(raw.as_ptr(), bytes.min(16)) };
            }
            Place::Device(physical) => self.device_store(physical, value, bytes),
        }
    }

    /// Translates one address, checks that the access is allowed, and fills the TLB with what needs no further question. A write
    /// to memory is noted.
    fn reach(&mut self, set: Set, linear: u64, access: Access) -> Result<Place, Stop> {
        let set = if set == Set::UserAligned { Set::User } else { set };
        let entry = self.tlb.entry(set, linear);
        let tag = match access {
            Access::Read | Access::Fetch => entry.read,
            Access::Write => entry.write,
        };
        if tag == linear & PAGE_MASK {
            return Ok(Place::Memory((linear as usize).wrapping_add(entry.addend) as *mut u8));
        }
        if !self.is_canonical(linear) {
            return Err(self.raise_noncanonical(linear));
        }
        let found = self.walk(linear, access, set.is_user(), set == Set::SupervisorAc);
        let found = found.map_err(|fault| self.raise(fault))?;
        let frame = found.physical >> 12;
        let host = if self.is_local_apic(found.physical) { None } else { self.ram.host_page(frame) };
        let Some(host) = host else {
            return if self.alone { Ok(Place::Device(found.physical)) } else { Err(Stop::Alone) };
        };
        let has_code = self.ram.has_code(frame);
        if access == Access::Write {
            if has_code && !self.alone {
                return Err(Stop::Alone);
            }
            self.ram.note_write(frame);
        }
        let watched = self.watches_data();
        let allowed = Allowed {
            // Instruction breakpoints do not depend on how a fetch finds its page.
            read: access == Access::Read && !watched || access == Access::Fetch,
            write: access == Access::Write && !has_code && !watched,
        };
        self.tlb.fill(set, linear, Page { frame, host, global: found.global, shift: found.shift }, allowed);
        Ok(Place::Memory(host.wrapping_add((linear & PAGE_OFFSET) as usize)))
    }

    /// The bytes of code from here to the end of the page, and its physical page.
    ///
    /// # Errors
    /// A fault, or [`Stop::Unimplemented`] where there is no memory.
    pub(crate) fn code(&mut self, linear: u64) -> Result<(u64, &[u8]), Stop> {
        let set = if self.is_user() { Set::UserCode } else { Set::SupervisorCode };
        let place = self.reach_code(set, linear)?;
        let left = (0x1000 - (linear & PAGE_OFFSET)) as usize;
        let frame = self.tlb.entry(set, linear).frame();
        // SAFETY: `reach_code` says that the page is guest memory from `place` to its end. Nothing writes to guest memory while
        // the slice lives: it borrows `self`, the only one that runs.
        Ok((frame, unsafe { std::slice::from_raw_parts(place, left) }))
    }

    fn reach_code(&mut self, set: Set, linear: u64) -> Result<*const u8, Stop> {
        let alone = std::mem::replace(&mut self.alone, true);
        let place = self.reach(set, linear, Access::Fetch);
        self.alone = alone;
        match place? {
            Place::Memory(pointer) => Ok(pointer),
            Place::Device(physical) => {
                self.missing = Some(crate::exec::Missing::CodeOutsideMemory(physical));
                Err(Stop::Unimplemented)
            }
        }
    }

    /// Marks a page as the origin of translated code.
    pub(crate) fn note_code(&mut self, frame: u64) -> bool {
        if self.ram.has_code(frame) {
            return false;
        }
        self.ram.note_code(frame);
        self.tlb.forbid_writes(frame);
        true
    }

    fn raise_noncanonical(&mut self, linear: u64) -> Stop {
        self.noncanonical = true;
        self.raise(Fault { address: linear, ..Fault::GP0 })
    }

    /// Reads 4 or 8 bytes of physical memory, for the processor's own tables. Where no memory is it reads all ones: reserved bits
    /// are set there, and a walk faults.
    #[inline]
    pub(crate) fn physical_read(&self, address: u64, bytes: u8) -> u64 {
        let offset = (address & PAGE_OFFSET) as usize;
        let Some(page) = self.ram.host_page(address >> 12) else {
            return u64::MAX >> (64 - 8 * u32::from(bytes));
        };
        let offset = offset & !(usize::from(bytes) - 1);
        // SAFETY: `page` is a whole page of guest memory, and an aligned offset leaves room for `bytes`, 4 or 8.
        unsafe {
            if bytes == 8 {
                page.add(offset).cast::<u64>().read_unaligned()
            } else {
                u64::from(page.add(offset).cast::<u32>().read_unaligned())
            }
        }
    }
}

/// An address of this process as a pointer.
trait AsPointer {
    fn pointer<T>(self) -> *mut T;
}

impl AsPointer for usize {
    #[inline(always)]
    fn pointer<T>(self) -> *mut T {
        self as *mut T
    }
}
