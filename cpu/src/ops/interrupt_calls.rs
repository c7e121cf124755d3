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

/// A debug trap that MOV SS held back becomes one with it: DR6 tells of it, and there is no other exception.
fn int1(exec: &mut Exec<'_>, _: &Op) -> Done {
    let held = exec.state.pending_debug;
    exec.state.pending_debug = 0;
    let done = exec.deliver(Event::ICEBP);
    if done.is_err() {
        exec.state.pending_debug = held;
    } else if held != 0 {
        exec.note_debug_exception(held);
    }
    done
}

fn into(exec: &mut Exec<'_>, _: &Op) -> Done {
    if exec.flags.of() { exec.deliver(Event::software(vector::OF)) } else { Ok(()) }
}
