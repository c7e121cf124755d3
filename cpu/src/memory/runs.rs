//! Many elements at once, for repeated string instructions.
#![allow(unsafe_code)]

use crate::exec::Exec;
use crate::fault::Stop;
use crate::memory::{Access, PAGE_OFFSET, Value};

/// A row of elements in memory, as a string instruction goes through it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    /// Linear address of the first element it comes to.
    pub first: u64,
    /// Towards lower addresses.
    pub backward: bool,
}

impl Row {
    /// How many elements lie wholly in the page of the first.
    fn in_page(self, bytes: u64) -> u64 {
        let offset = self.first & PAGE_OFFSET;
        match (self.backward, offset + bytes <= 0x1000) {
            (_, false) => 0,
            (false, true) => (0x1000 - offset) / bytes,
            (true, true) => offset / bytes + 1,
        }
    }
}

/// The lowest of `count` elements, given the one it begins with.
fn lowest<T: Value>(first: *mut u8, count: u64, backward: bool) -> *mut u8 {
    if backward { first.wrapping_sub((count as usize - 1) * T::BYTES) } else { first }
}

impl Exec<'_> {
    /// Copies at most `most` elements, one after the other, as far as both rows stay in a page of memory; how many. Zero where an
    /// element has to be copied by itself.
    ///
    /// # Errors
    /// What the first element raises.
    pub(crate) fn copy_run<T: Value>(&mut self, from: Row, to: Row, most: u64) -> Result<u64, Stop> {
        let bytes = T::BYTES as u64;
        let count = most.min(from.in_page(bytes)).min(to.in_page(bytes));
        if count == 0 || self.alone {
            return Ok(0);
        }
        let source = self.run_of_page(from.first, Access::Read)?;
        let target = self.run_of_page(to.first, Access::Write)?;
        let (Some((source, _)), Some((target, _))) = (source, target) else { return Ok(0) };
        let source = lowest::<T>(source, count, from.backward);
        let target = lowest::<T>(target, count, to.backward);
        let length = count as usize * T::BYTES;
        // What was written is read again if the target begins inside the source and ahead of it.
        let ahead = if to.backward {
            (source as usize).wrapping_sub(target as usize)
        } else {
            (target as usize).wrapping_sub(source as usize)
        };
        if ahead == 0 || ahead >= length {
            // SAFETY: `run_of_page` says that both pages are guest memory around these pointers, and `in_page` that `length` bytes
            // from the lowest element on lie within them. No reference to guest memory exists. They may overlap.
            unsafe { source.copy_to(target, length) };
            return Ok(count);
        }
        for element in 0..count as usize {
            let element = if to.backward { count as usize - 1 - element } else { element };
            let offset = element * T::BYTES;
            // SAFETY: the same bytes, one element at a time.
            unsafe {
                let value = source.add(offset).cast::<T>().read_unaligned();
                target.add(offset).cast::<T>().write_unaligned(value);
            }
        }
        Ok(count)
    }

    /// Stores a value to at most `most` elements, as far as the row stays in a page of memory; how many. Zero where an element has
    /// to be stored by itself.
    ///
    /// # Errors
    /// What the first element raises.
    pub(crate) fn fill_run<T: Value>(&mut self, to: Row, value: T, most: u64) -> Result<u64, Stop> {
        let count = most.min(to.in_page(T::BYTES as u64));
        if count == 0 || self.alone {
            return Ok(0);
        }
        let Some((target, _)) = self.run_of_page(to.first, Access::Write)? else { return Ok(0) };
        let target = lowest::<T>(target, count, to.backward);
        for element in 0..count as usize {
            // SAFETY: `run_of_page` says that this page is guest memory, and `in_page` that all elements lie within it.
            unsafe { target.add(element * T::BYTES).cast::<T>().write_unaligned(value) };
        }
        Ok(count)
    }
}
