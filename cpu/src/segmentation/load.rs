//! What is checked when a segment register is loaded (SDM 3A 5.5 to 5.8).

use crate::exec::Exec;
use crate::fault::{Done, Fault, Stop, vector};
use crate::registers::gpr;
use crate::segmentation::{Gate, is_null, rpl, with_rpl};
use crate::state::{Segment, SegmentName};

impl Exec<'_> {
    /// Loads ES, SS, DS, FS or GS, as MOV, POP and LDS do.
    ///
    /// # Errors
    /// #GP, #SS, #NP with the selector, or a page fault; the register is unchanged then.
    pub(crate) fn load_segment(&mut self, name: SegmentName, selector: u16) -> Done {
        let segment = self.checked_segment(name, selector)?;
        self.set_segment(name, segment);
        Ok(())
    }

    /// What [`Exec::load_segment`] would load.
    ///
    /// # Errors
    /// The same.
    pub(crate) fn checked_segment(&mut self, name: SegmentName, selector: u16) -> Result<Segment, Stop> {
        if !self.state.is_protected() {
            return Ok(self.real_segment(name, selector));
        }
        if name == SegmentName::Ss {
            let null = self.mode.is_64() && !self.is_user();
            return self.stack_segment(selector, self.state.cpl(), null, vector::GP);
        }
        if is_null(selector) {
            return Ok(Segment::null(selector, 0));
        }
        let descriptor = self.descriptor(selector, vector::GP)?;
        let attributes = descriptor.attributes();
        let cpl = self.state.cpl();
        let privileged = attributes.is_conforming() || rpl(selector).max(cpl) <= attributes.dpl();
        if !attributes.is_code_or_data() || !attributes.is_readable() || !privileged {
            return Err(self.raise(Fault::selector(vector::GP, selector)));
        }
        if !attributes.present() {
            return Err(self.raise(Fault::selector(vector::NP, selector)));
        }
        Ok(self.accessed(selector, descriptor)?.segment(selector))
    }

    /// A segment register as real mode loads it. Limit and type stay what they were: "unreal" mode relies on it.
    fn real_segment(&self, name: SegmentName, selector: u16) -> Segment {
        Segment { selector, base: u64::from(selector) << 4, ..*self.state.segment(name) }
    }

    /// CS as real mode loads it.
    pub(crate) fn real_code(&self, selector: u16) -> Segment {
        self.real_segment(SegmentName::Cs, selector)
    }

    /// A stack segment for this privilege level. `null` allows a null selector, as 64-bit mode does below level 3; what is wrong
    /// with it is the exception of this vector (#GP, or #TS if it came from a TSS), but #SS if it is not present.
    ///
    /// # Errors
    /// That, or a page fault.
    pub(crate) fn stack_segment(
        &mut self,
        selector: u16,
        cpl: u8,
        null: bool,
        vector: u8,
    ) -> Result<Segment, Stop> {
        if is_null(selector) {
            return if null && rpl(selector) == cpl {
                Ok(Segment::null(selector, cpl))
            } else {
                Err(self.raise(Fault::coded(vector, 0)))
            };
        }
        let descriptor = self.descriptor(selector, vector)?;
        let attributes = descriptor.attributes();
        let writable = attributes.is_code_or_data() && attributes.is_writable();
        if rpl(selector) != cpl || attributes.dpl() != cpl || !writable {
            return Err(self.raise(Fault::selector(vector, selector)));
        }
        if !attributes.present() {
            return Err(self.raise(Fault::selector(vector::SS, selector)));
        }
        Ok(self.accessed(selector, descriptor)?.segment(selector))
    }

    /// The code segment behind a call, interrupt or trap gate, with the privilege level it will run at as its RPL.
    ///
    /// # Errors
    /// #GP or #NP with its selector, or a page fault.
    pub(crate) fn code_behind(&mut self, gate: Gate) -> Result<Segment, Stop> {
        let selector = gate.selector();
        if is_null(selector) {
            return Err(self.raise(Fault::GP0));
        }
        let descriptor = self.descriptor(selector, vector::GP)?;
        let attributes = descriptor.attributes();
        let cpl = self.state.cpl();
        // Long mode goes through gates to 64-bit code only (SDM 3A 5.8.3.1, 6.14.1).
        let wrong_size = self.state.is_long() && (!attributes.long() || attributes.big());
        if !attributes.is_code() || attributes.dpl() > cpl || wrong_size {
            return Err(self.raise(Fault::selector(vector::GP, selector)));
        }
        if !attributes.present() {
            return Err(self.raise(Fault::selector(vector::NP, selector)));
        }
        let level = if attributes.is_conforming() { cpl } else { attributes.dpl() };
        Ok(self.accessed(selector, descriptor)?.segment(with_rpl(selector, level)))
    }

    /// Makes sure that execution can go on at an offset of a code segment about to be loaded.
    ///
    /// # Errors
    /// #GP(0).
    pub(crate) fn check_far_target(&mut self, code: &Segment, offset: u64) -> Done {
        let within = if self.state.is_long() && code.attributes.long() {
            self.is_canonical(offset)
        } else {
            offset <= u64::from(code.limit)
        };
        if within { Ok(()) } else { Err(self.raise(Fault::GP0)) }
    }

    /// Puts checked contents into a segment register.
    pub(crate) fn set_segment(&mut self, name: SegmentName, segment: Segment) {
        if name == SegmentName::Cs {
            self.note_code_limit(segment.limit);
        }
        self.state.segments[name as usize] = segment;
        if matches!(name, SegmentName::Cs | SegmentName::Ss) {
            self.rights_changed();
        }
    }

    /// Loads CS, SS and RSP with what was checked before.
    pub(crate) fn switch_to(&mut self, code: Segment, stack: Segment, pointer: u64) {
        self.note_code_limit(code.limit);
        self.state.segments[SegmentName::Cs as usize] = code;
        self.state.segments[SegmentName::Ss as usize] = stack;
        self.regs[gpr::RSP as usize] = pointer;
        self.rights_changed();
    }

    /// The limit is checked when a block is looked for: where blocks were found before says nothing under another limit.
    fn note_code_limit(&mut self, limit: u32) {
        if self.state.segment(SegmentName::Cs).limit != limit {
            self.tlb.forget_fetches();
        }
    }
}
