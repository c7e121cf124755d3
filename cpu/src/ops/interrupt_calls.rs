//! INT n, INT3, INT1, INTO.

use iced_x86::Code;

use crate::exec::Exec;
use crate::fault::{Done, vector};
use crate::interrupts::Event;
use crate::op::{Lowered, Op, last};
use crate::ops::Form;

/// The handler for an instruction of this family.
pub fn lower(form: &Form<'_>) -> Option<Lowered> {
    last(match form.instruction.code() {
        Code::Int_imm8 => int,
        Code::Int3 => int3,
        Code::Int1 => int1,
        Code::Into => into,
        _ => return None,
    })
}

fn int(exec: &mut Exec<'_>, op: &Op) -> Done {
    exec.deliver(Event::software(op.imm as u8))
}

fn int3(exec: &mut Exec<'_>, _: &Op) -> Done {
    exec.deliver(Event::software(vector::BP))
}

fn int1(exec: &mut Exec<'_>, _: &Op) -> Done {
    exec.deliver(Event::ICEBP)
}

fn into(exec: &mut Exec<'_>, _: &Op) -> Done {
    if exec.flags.of() { exec.deliver(Event::software(vector::OF)) } else { Ok(()) }
}
