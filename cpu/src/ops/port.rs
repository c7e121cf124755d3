//! IN and OUT.

use iced_x86::Mnemonic;

use crate::exec::{Exec, PORT_NS};
use crate::fault::{Done, Fault, Stop};
use crate::flags::RFlags;
use crate::memory::tlb::Set;
use crate::op::{Lowered, Op, alone};
use crate::ops::{Form, by_size};
use crate::registers::{Int, gpr};
use crate::state::Attributes;

/// The handler for an instruction of this family.
pub fn lower(form: &Form<'_>) -> Option<Lowered> {
    let in_dx = |operand| form.is_register(operand);
    match form.instruction.mnemonic() {
        Mnemonic::In if in_dx(1) => alone(by_size!(form.bytes(), input_dx)),
        Mnemonic::In => alone(by_size!(form.bytes(), input_immediate)),
        Mnemonic::Out if in_dx(0) => alone(by_size!(form.bytes_of(1), output_dx)),
        Mnemonic::Out => alone(by_size!(form.bytes_of(1), output_immediate)),
        _ => None,
    }
}

fn input_dx<T: Int>(exec: &mut Exec<'_>, _: &Op) -> Done {
    let port = exec.reg::<u16>(gpr::RDX);
    input::<T>(exec, port)
}

fn input_immediate<T: Int>(exec: &mut Exec<'_>, op: &Op) -> Done {
    input::<T>(exec, op.imm as u16 & 0xff)
}

fn input<T: Int>(exec: &mut Exec<'_>, port: u16) -> Done {
    exec.check_port(port, T::BYTES)?;
    let value = exec.port_read(port, T::BYTES);
    exec.set_reg(gpr::RAX, T::of(u64::from(value)));
    Ok(())
}

fn output_dx<T: Int>(exec: &mut Exec<'_>, _: &Op) -> Done {
    let port = exec.reg::<u16>(gpr::RDX);
    output::<T>(exec, port)
}

fn output_immediate<T: Int>(exec: &mut Exec<'_>, op: &Op) -> Done {
    output::<T>(exec, op.imm as u16 & 0xff)
}

fn output<T: Int>(exec: &mut Exec<'_>, port: u16) -> Done {
    exec.check_port(port, T::BYTES)?;
    let value = exec.reg::<T>(gpr::RAX).zext() as u32;
    exec.port_write(port, T::BYTES, value);
    Ok(())
}

/// Offset of the I/O map's offset in a task state segment of 32 or 64 bits (SDM 1, 19.5.2).
const MAP_BASE: u32 = 102;

impl Exec<'_> {
    /// Reads a port, which takes time.
    pub(crate) fn port_read(&mut self, port: u16, bytes: u8) -> u32 {
        self.watch_port(port, bytes);
        self.spend(PORT_NS);
        let now = self.now();
        self.bus.port_read(now, port, bytes)
    }

    /// Writes a port, which takes time.
    pub(crate) fn port_write(&mut self, port: u16, bytes: u8, value: u32) {
        self.watch_port(port, bytes);
        self.spend(PORT_NS);
        let now = self.now();
        self.bus.port_write(now, port, bytes, value);
    }

    /// Whether this program may access these ports: by IOPL, or by the map in its task state segment.
    ///
    /// # Errors
    /// #GP(0), or a fault of the access to the map.
    pub(crate) fn check_port(&mut self, port: u16, bytes: u8) -> Done {
        let by_level = !self.flags.system().contains(RFlags::VM) && self.state.cpl() <= self.iopl();
        if !self.state.is_protected() || by_level {
            return Ok(());
        }
        let denied = self.port_map(port)? & ((1 << bytes) - 1);
        if denied == 0 { Ok(()) } else { Err(self.raise(Fault::GP0)) }
    }

    /// The bits of the map from this port on; what lies beyond the segment's limit is denied. Two bytes are always read, so that
    /// four ports are in them.
    fn port_map(&mut self, port: u16) -> Result<u16, Stop> {
        let task = self.state.tr;
        let has_map = matches!(task.attributes.kind(), TSS_AVAILABLE | TSS_BUSY) && task.limit > MAP_BASE;
        if !has_map || task.attributes.unusable() {
            return Err(self.raise(Fault::GP0));
        }
        let map = self.load_as::<u16>(Set::Supervisor, task.base.wrapping_add(u64::from(MAP_BASE)))?;
        let offset = u32::from(map) + u32::from(port / 8);
        if offset + 1 > task.limit {
            return Err(self.raise(Fault::GP0));
        }
        let bits = self.load_as::<u16>(Set::Supervisor, task.base.wrapping_add(u64::from(offset)))?;
        Ok(bits >> (port % 8))
    }
}

/// Types of a task state segment of 32 or 64 bits.
const TSS_AVAILABLE: u8 = Attributes::BUSY_TSS.kind() & !2;
const TSS_BUSY: u8 = Attributes::BUSY_TSS.kind();

#[cfg(test)]
mod tests;
