//! From bytes to a block.

use iced_x86::{Decoder, DecoderError, DecoderOptions, Instruction};

use crate::block_cache::{BlockCache, Key};
use crate::exec::Exec;
use crate::fault::{Fault, Stop};
use crate::memory::PAGE_OFFSET;
use crate::mode::Mode;
use crate::op::{Op, Place};
use crate::ops;

/// Most instructions of a block.
const MOST: usize = 64;
/// Longest instruction in bytes.
const LONGEST: usize = 15;

impl Exec<'_> {
    /// The block at the current instruction pointer, translated if need be.
    pub(crate) fn find_block(&mut self, cache: &mut BlockCache, mode: Mode) -> Result<u32, Stop> {
        let linear = self.code_address()?;
        let id = self.find_block_at(cache, mode, linear)?;
        if !self.ends_in_segment(cache.get(id).map_or(0, |block| block.bytes)) {
            // Instruction by instruction, up to the one that does not fit.
            return Err(if mode.is_alone() { self.raise(Fault::GP0) } else { Stop::Alone });
        }
        Ok(id)
    }

    fn find_block_at(&mut self, cache: &mut BlockCache, mode: Mode, linear: u64) -> Result<u32, Stop> {
        let frame = self.code(linear)?.0;
        let key = Key { physical: frame << 12 | linear & PAGE_OFFSET, last_frame: frame, mode };
        if let Some(id) = cache.find(key) {
            return Ok(id);
        }
        if cache.is_full() {
            cache.clear().into_iter().for_each(|frame| self.ram.forget_code(frame));
        }
        if let Some((ops, count, bytes)) = decode(self.code(linear)?.1, mode) {
            let new = self.note_code(frame);
            return Ok(cache.insert(key, ops, count, bytes, new));
        }
        self.straddling(cache, linear, key)
    }

    /// One instruction that begins in one page and ends in the next. Both may be mapped elsewhere at any time, so that both are part
    /// of the key.
    fn straddling(&mut self, cache: &mut BlockCache, linear: u64, key: Key) -> Result<u32, Stop> {
        let (_, first) = self.code(linear)?;
        let mut bytes = first.to_vec();
        let next = self.wrap_linear((linear | PAGE_OFFSET).wrapping_add(1));
        let (last_frame, second) = self.code(next)?;
        bytes.extend_from_slice(second.get(..LONGEST).unwrap_or(second));
        let key = Key { last_frame, ..key };
        if let Some(id) = cache.find(key) {
            return Ok(id);
        }
        let Some((ops, count, length)) = decode(&bytes, key.mode.alone()) else {
            return Err(self.raise(Fault::GP0));
        };
        let first_new = self.note_code(key.physical >> 12);
        let new = self.note_code(last_frame) || first_new;
        Ok(cache.insert(key, ops, count, length, new))
    }

    /// Linear address of the next instruction, within its segment's limit.
    pub(crate) fn code_address(&mut self) -> Result<u64, Stop> {
        if self.mode.is_64() {
            return Ok(self.rip);
        }
        let cs = self.state.segment(crate::state::SegmentName::Cs);
        if self.rip > u64::from(cs.limit) {
            return Err(self.raise(Fault::GP0));
        }
        Ok(cs.base.wrapping_add(self.rip) & 0xffff_ffff)
    }

    /// Whether this many bytes from the instruction pointer on lie within the code segment.
    fn ends_in_segment(&self, bytes: u16) -> bool {
        let limit = u64::from(self.state.segment(crate::state::SegmentName::Cs).limit);
        self.mode.is_64() || self.rip + u64::from(bytes.max(1)) - 1 <= limit
    }
}

/// Whether what could not be decoded has more than 15 bytes, and not just operands or prefixes that it must not have.
fn is_too_long(code: &[u8], instruction: &Instruction, mode: Mode) -> bool {
    if instruction.len() < LONGEST {
        return false;
    }
    let rest = code.get(instruction.ip() as usize..).unwrap_or_default();
    Decoder::new(mode.bits(), rest, DecoderOptions::NO_INVALID_CHECK).decode().is_invalid()
}

/// Operations, instructions and bytes of a block; `None` if its first instruction does not end within these bytes.
fn decode(code: &[u8], mode: Mode) -> Option<(Vec<Op>, u32, u16)> {
    let most = if mode.is_alone() { 1 } else { MOST };
    let mut decoder = Decoder::with_ip(mode.bits(), code, 0, DecoderOptions::NONE);
    let mut instruction = Instruction::default();
    let mut previous = Instruction::default();
    let mut instructions: Vec<Op> = Vec::with_capacity(8);
    let mut count = 0;
    while instructions.len() < most && decoder.can_decode() {
        decoder.decode_out(&mut instruction);
        if instruction.is_invalid() && decoder.last_error() == DecoderError::NoMoreBytes {
            break;
        }
        let lowered = match instruction.is_invalid() {
            true if is_too_long(code, &instruction, mode) => ops::too_long(),
            true => ops::undefined(),
            false => ops::lower(&instruction, mode),
        };
        if lowered.place == Place::Alone && !instructions.is_empty() {
            break;
        }
        count += 1;
        if let Some(first) = instructions.last_mut()
            && let Some(pair) = ops::fuse(&previous, first, &instruction, mode)
        {
            *first = pair;
            break;
        }
        let mut op = ops::operands(&instruction, mode, lowered);
        let bytes = code.get(usize::from(op.start)..usize::from(op.next));
        if let Some(opcode) = bytes.and_then(ops::x87::opcode) {
            op.extra = opcode;
        }
        instructions.push(op);
        if lowered.place != Place::Within {
            break;
        }
        previous = instruction;
    }
    let bytes = instructions.last()?.next;
    Some((instructions, count, bytes))
}
