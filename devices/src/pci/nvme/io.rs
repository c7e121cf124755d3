//! Commands of the NVM command set (6).

use super::command::Command;
use super::identify::{MAX_RANGE_BLOCKS, MAX_RANGES};
use super::status::Status;
use super::{ALL_NAMESPACES, NAMESPACE, Next, Nvme, Work, prp};
use crate::Context;
use crate::disk::{self, DiskError, Extent, Kind, SECTOR};
use crate::pci::dma::{Segment, gather};

/// Opcodes.
mod opcode {
    pub const FLUSH: u8 = 0x00;
    pub const WRITE: u8 = 0x01;
    pub const READ: u8 = 0x02;
    pub const WRITE_ZEROES: u8 = 0x08;
    pub const DATA_SET_MANAGEMENT: u8 = 0x09;
}

/// Of reads, writes and write zeroes, in doubleword 12.
const FORCE_UNIT_ACCESS: u32 = 1 << 30;
/// Of data set management, in doubleword 11: these blocks are not needed any more.
const DEALLOCATE: u32 = 1 << 2;
/// Of a range: attributes, number of blocks, first block.
const RANGE: usize = 16;

/// What a command means.
enum Meaning {
    /// The disk has work.
    Disk { command: disk::Command, into: Vec<Segment> },
    /// There is nothing to do.
    Nothing,
}

impl Nvme {
    /// Takes a command from an I/O queue.
    pub(super) fn io(&mut self, command: &Command, cx: &mut Context<'_>) -> Next {
        match self.understand(command, cx) {
            Ok(Meaning::Disk { command, into }) => self.disk_work(command, into, cx),
            Ok(Meaning::Nothing) => Next::answer(Status::Success, 0, cx.now),
            Err(status) => Next::answer(status, 0, cx.now),
        }
    }

    /// Hands work to the disk.
    pub(super) fn disk_work(
        &mut self,
        command: disk::Command,
        into: Vec<Segment>,
        cx: &mut Context<'_>,
    ) -> Next {
        let kind = command.kind();
        let ticket = self.disk.accept(command, cx);
        let work = Work::Disk { request: ticket.request, kind, into };
        Next { due: ticket.due, work, stop: ticket.stop }
    }

    fn understand(&self, command: &Command, cx: &Context<'_>) -> Result<Meaning, Status> {
        if command.form != 0 {
            return Err(Status::InvalidField);
        }
        let is_flush = command.opcode == opcode::FLUSH;
        if command.namespace != NAMESPACE && !(is_flush && command.namespace == ALL_NAMESPACES) {
            return Err(Status::InvalidNamespace);
        }
        let sector = u64::from(command.word(10)) | u64::from(command.word(11)) << 32;
        let extent = Extent { sector, sectors: u64::from(command.halves(12).0) + 1 };
        let length = extent.sectors * SECTOR;
        let fua = command.word(12) & FORCE_UNIT_ACCESS != 0;
        let disk = |command| Ok(Meaning::Disk { command, into: Vec::new() });
        match command.opcode {
            opcode::FLUSH => disk(disk::Command::Flush),
            opcode::READ => {
                let into = prp::walk(command.prp, length, cx.ram)?;
                Ok(Meaning::Disk { command: disk::Command::Read { extent, fua }, into })
            }
            opcode::WRITE => {
                let from = prp::walk(command.prp, length, cx.ram)?;
                let data = gather(&from, 0, length as usize, cx.ram).map_err(|_| Status::DataTransfer)?;
                disk(disk::Command::Write { sector, data: data.into(), fua })
            }
            opcode::WRITE_ZEROES => disk(disk::Command::WriteZeroes { extents: vec![extent], fua }),
            opcode::DATA_SET_MANAGEMENT if !self.disk.config().discard => Err(Status::InvalidOpcode),
            opcode::DATA_SET_MANAGEMENT if command.word(11) & DEALLOCATE != 0 => {
                disk(disk::Command::Discard(ranges(command, cx)?))
            }
            // Hints only.
            opcode::DATA_SET_MANAGEMENT => Ok(Meaning::Nothing),
            _ => Err(Status::InvalidOpcode),
        }
    }
}

fn ranges(command: &Command, cx: &Context<'_>) -> Result<Vec<Extent>, Status> {
    let count = (command.word(10) & 0xff) as usize + 1;
    if count > usize::from(MAX_RANGES) {
        return Err(Status::TooLarge);
    }
    let length = count * RANGE;
    let from = prp::walk(command.prp, length as u64, cx.ram)?;
    let data = gather(&from, 0, length, cx.ram).map_err(|_| Status::DataTransfer)?;
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte));
    data.chunks_exact(RANGE)
        .map(|range| {
            let (head, sector) = range.split_at(8);
            let sectors = number(head) >> 32;
            if sectors > u64::from(MAX_RANGE_BLOCKS) {
                return Err(Status::TooLarge);
            }
            Ok(Extent { sector: number(sector), sectors })
        })
        .collect()
}

/// How a command ended whose request to the disk failed.
pub(super) fn failure(error: &DiskError, kind: Kind) -> Status {
    match (error, kind) {
        (DiskError::Range, _) => Status::OutOfRange,
        (DiskError::ReadOnly, _) => Status::ReadOnly,
        (DiskError::Base(_) | DiskError::Fault, Kind::Read) => Status::UnrecoveredRead,
        (DiskError::Base(_) | DiskError::Fault, Kind::Flush) => Status::Internal,
        (DiskError::Base(_) | DiskError::Fault, _) => Status::WriteFault,
    }
}
