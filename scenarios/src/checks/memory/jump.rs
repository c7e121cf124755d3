//! Memory across a kexec jump: from the first instruction of `relocate_kernel` to the first of `virtual_mapped`, in A.
//!
//! What may differ is read from the structures of the kernel that jumps: the arguments of `relocate_kernel` (`image->head` in RDI,
//! `page_list` in RSI), which are the same from 6.1 to 6.12.

use std::collections::BTreeSet;
use std::ops::Range;

use cpu::CpuState;
use cpu::memory::{peek, translate};
use ram::{GuestRam, PAGE_SIZE};

use super::{Copy, shown};
use crate::checks::{Check, Clause};

/// Bytes of code in the control page; behind them are the kernel's notes and the stack of the way out (KEXEC_CONTROL_CODE_MAX_SIZE).
const CONTROL_CODE: u64 = 2048;
/// What `relocate_kernel` pushes: seven registers, and 0 for a POPF.
const PUSHED: u64 = 64;
/// Flags of the words in `image->head` (`include/linux/kexec.h`).
const DESTINATION: u64 = 1;
const INDIRECTION: u64 = 2;
const DONE: u64 = 4;
const SOURCE: u64 = 8;
/// Address in a word of a page table, and its bits: present, accessed and dirty, a large page.
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
const PRESENT: u64 = 1;
const ACCESSED_DIRTY: u8 = 0x60;
const LARGE: u64 = 0x80;

/// A, as it jumped.
pub struct Departure {
    copy: Copy,
    /// Physical address of the page whose code the way back runs in.
    control: u64,
    swap: u64,
    /// Pages of the list: they hold the other kernel's memory when A is back.
    sources: BTreeSet<u64>,
    /// Where A's pages go from, and come back to.
    destinations: BTreeSet<u64>,
    stack: Vec<Range<u64>>,
    /// Frames of page tables: the processor may set accessed and dirty bits in them.
    tables: BTreeSet<u64>,
}

impl Departure {
    /// With the processor at the first instruction of `relocate_kernel`. `usable`: RAM that A has.
    ///
    /// # Errors
    /// What could not be read, and `None` if this is a kexec that does not come back.
    pub fn of(state: &CpuState, ram: &GuestRam, usable: &[Range<u64>]) -> Result<Self, Option<&'static str>> {
        let [_, preserves, _, _, stack_pointer, _, page_list, head, ..] = state.gpr;
        if preserves & 0xffff_ffff == 0 {
            return Err(None);
        }
        // PA_CONTROL_PAGE, VA_CONTROL_PAGE, PA_TABLE_PAGE, PA_SWAP_PAGE.
        let listed = |number: u64| peek(state, ram, page_list.wrapping_add(8 * number));
        let pages = (|| Some((listed(0)?, listed(2)?, listed(3)?)))();
        let (control, table, swap) = pages.ok_or(Some("page_list of relocate_kernel cannot be read"))?;
        let (sources, destinations) =
            kimage_list(ram, head).ok_or(Some("the list of image->head cannot be read"))?;
        let stack = stack_below(state, ram, stack_pointer).ok_or(Some("A's stack cannot be read"))?;
        let mut tables = BTreeSet::new();
        for root in [state.cr3, table] {
            page_tables(ram, root & ADDRESS, 4, &mut tables).ok_or(Some("A's page tables cannot be read"))?;
        }
        let copy = Copy::of(ram, usable).ok_or(Some("A's memory is larger than the machine's"))?;
        Ok(Self { copy, control, swap, sources, destinations, stack, tables })
    }

    /// Where this offset of `relocate_kernel` is executed on the way back.
    pub fn in_control_page(&self, offset: u64) -> u64 {
        self.control.wrapping_add(offset)
    }

    /// Frames whose contents are swapped with the other kernel's.
    pub fn swapped(&self) -> impl Iterator<Item = &u64> {
        self.sources.iter().chain(&self.destinations)
    }

    /// With the processor at the first instruction of `virtual_mapped`.
    pub fn compare(&self, ram: &GuestRam, of: &str) -> Check {
        let differences = self.copy.differences(ram, |frame, was, now| self.equalize(frame, was, now));
        let count = differences.len();
        let mut evidence = shown(differences.iter().map(ToString::to_string));
        evidence.extend(self.exclusions());
        if count == 0 {
            return Check { evidence, ..Check::pass(Clause::MemoryAcrossJump, of) };
        }
        Check::fail(Clause::MemoryAcrossJump, of, "memory differs", evidence)
    }

    /// Makes equal what may differ.
    fn equalize(&self, frame: u64, was: &mut [u8], now: &mut [u8]) {
        let page = frame * PAGE_SIZE;
        if page == self.swap & ADDRESS || self.sources.contains(&frame) {
            was.copy_from_slice(now);
        }
        let control = self.control.saturating_add(CONTROL_CODE)..self.control.saturating_add(PAGE_SIZE);
        for Range { start, end } in self.stack.iter().cloned().chain([control]) {
            let within = |address: u64| address.saturating_sub(page).min(PAGE_SIZE) as usize;
            let range = within(start)..within(end);
            if let (Some(was), Some(now)) = (was.get_mut(range.clone()), now.get(range)) {
                was.copy_from_slice(now);
            }
        }
        if self.tables.contains(&frame) {
            for byte in was.iter_mut().step_by(8).chain(now.iter_mut().step_by(8)) {
                *byte |= ACCESSED_DIRTY;
            }
        }
    }

    /// What was compared, and what was not.
    fn exclusions(&self) -> Vec<String> {
        let range = |range: &Range<u64>| format!("{:#x}..{:#x}", range.start, range.end);
        let stack: Vec<String> = self.stack.iter().map(range).collect();
        vec![
            format!(
                "compared: {} pages of A's RAM as firmware describes it, but for page 0",
                self.copy.pages()
            ),
            format!("not compared: control page {:#x} from +{CONTROL_CODE:#x}", self.control),
            format!("not compared: swap page {:#x}", self.swap),
            format!("not compared: {} source pages of image->head", self.sources.len()),
            format!("not compared: the stack below RSP, {}", stack.join(" and ")),
            format!("not compared: accessed and dirty bits in {} page tables", self.tables.len()),
        ]
    }
}

/// Source and destination frames of the list that begins with this word.
fn kimage_list(ram: &GuestRam, head: u64) -> Option<(BTreeSet<u64>, BTreeSet<u64>)> {
    let (mut sources, mut destinations) = (BTreeSet::new(), BTreeSet::new());
    let (mut word, mut next, mut destination) = (head, 0u64, 0u64);
    // Every page of memory may be there once, with a word for the table it stands in and for where it goes.
    for _ in 0..ram.bytes() / PAGE_SIZE * 3 {
        if word & DESTINATION != 0 {
            destination = word & ADDRESS;
        } else if word & INDIRECTION != 0 {
            next = word & ADDRESS;
        } else if word & DONE != 0 {
            return Some((sources, destinations));
        } else if word & SOURCE != 0 {
            sources.insert((word & ADDRESS) / PAGE_SIZE);
            destinations.insert(destination / PAGE_SIZE);
            destination = destination.checked_add(PAGE_SIZE)?;
        }
        word = self::word(ram, next)?;
        next = next.checked_add(8)?;
    }
    None
}

/// The page of the stack from its start to the stack pointer, and where what is pushed crosses into the page below, that one too.
fn stack_below(state: &CpuState, ram: &GuestRam, pointer: u64) -> Option<Vec<Range<u64>>> {
    let mut ranges = Vec::new();
    let mut end = pointer;
    while end > pointer.checked_sub(PUSHED)? {
        let start = (end - 1) / PAGE_SIZE * PAGE_SIZE;
        let physical = translate(state, ram, start)?;
        ranges.push(physical..physical.checked_add(end - start)?);
        end = start;
    }
    Some(ranges)
}

/// Frames of all tables from this one on; of level 4 it is the root.
fn page_tables(ram: &GuestRam, table: u64, level: u32, found: &mut BTreeSet<u64>) -> Option<()> {
    if !found.insert(table / PAGE_SIZE) || level == 1 {
        return Some(());
    }
    let mut bytes = [0; PAGE_SIZE as usize];
    ram.read(table, &mut bytes).ok()?;
    for entry in bytes.chunks_exact(8) {
        let entry = u64::from_le_bytes(entry.try_into().ok()?);
        if entry & PRESENT != 0 && (entry & LARGE == 0 || level == 4) {
            page_tables(ram, entry & ADDRESS, level - 1, found)?;
        }
    }
    Some(())
}

fn word(ram: &GuestRam, address: u64) -> Option<u64> {
    let mut bytes = [0; 8];
    ram.read(address, &mut bytes).ok()?;
    Some(u64::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests;
