//! When an exception is reported, and what is kept about it.

use iced_x86::code_asm::*;

use crate::exec::Missing;
use crate::fault::vector;
use crate::run::Leave;
use crate::state::{Cr0, Cr4, status};
use crate::test_kernel::{CODE, Code, Kernel};

const DATA: u64 = 0x10_0000;

/// 1 / 0 from memory, not masked, and then an instruction.
fn divided(then: Code<'_>) -> Kernel {
    let mut kernel = Kernel::long(&|a| {
        a.fld1()?;
        // A prefix, so that the opcode is not the first byte.
        a.fdiv(dword_ptr(rbx + 0x10).fs())?;
        then(a)
    });
    let state = kernel.state();
    state.cr0 |= Cr0::NE | Cr0::MP;
    state.cr4 |= Cr4::OSFXSR;
    state.gpr[3] = DATA;
    state.fpu.initialize_x87();
    state.fpu.set_control(0x37b);
    kernel.run(2);
    assert_eq!(kernel.handler(), None);
    kernel
}

#[test]
fn the_next_instruction_that_waits_reports() {
    for waiting in [
        &|a: &mut CodeAssembler| a.wait(),
        &|a: &mut CodeAssembler| a.fld1(),
        &|a: &mut CodeAssembler| a.fnop(),
        &|a: &mut CodeAssembler| a.fldcw(word_ptr(rbx)),
        &|a: &mut CodeAssembler| a.emms(),
        &|a: &mut CodeAssembler| a.paddb(mm0, mm1),
    ] as [Code<'_>; 6]
    {
        let mut kernel = divided(waiting);
        kernel.run(1);
        assert_eq!(kernel.handler(), Some(vector::MF));
        // The exception stays until somebody clears it, and ST(0) is what it was.
        let fpu = &kernel.state().fpu;
        assert_eq!(fpu.status & 0xff, status::ZE | status::ES);
        assert_eq!(fpu.st(0), crate::fp::extended::Extended::ONE);
    }
    for silent in [
        &|a: &mut CodeAssembler| a.fnstsw(ax),
        &|a: &mut CodeAssembler| a.fnstcw(word_ptr(rbx)),
        &|a: &mut CodeAssembler| a.fnclex(),
        &|a: &mut CodeAssembler| a.fninit(),
        &|a: &mut CodeAssembler| a.fnstenv(ptr(rbx)),
        &|a: &mut CodeAssembler| a.fxsave64(ptr(rbx)),
        &|a: &mut CodeAssembler| a.addps(xmm0, xmm1),
    ] as [Code<'_>; 7]
    {
        let mut kernel = divided(silent);
        kernel.run(1);
        assert_eq!(kernel.handler(), None);
    }
}

#[test]
fn without_native_errors_it_would_be_an_interrupt() {
    let mut kernel = divided(&|a| a.wait());
    kernel.state().cr0 -= Cr0::NE;
    let exit = kernel.run(1);
    assert!(matches!(exit.leave, Leave::Missing(Missing::Feature(_))), "{exit:?}");
}

#[test]
fn pointers_lead_to_the_instruction_and_its_operand() {
    let kernel = divided(&|a| a.nop());
    let fpu = &kernel.cpu.state.fpu;
    // FLD1 has two bytes; FDIV m32 is D8 /6 with a base and a short displacement.
    assert_eq!((fpu.instruction, fpu.operand, fpu.opcode), (CODE + 2, DATA + 0x10, 0x073));
    // An instruction that raises nothing leaves the operand and the opcode.
    let mut kernel = divided(&|a| {
        a.fnclex()?;
        a.fadd(dword_ptr(rbx))
    });
    kernel.run(2);
    let fpu = &kernel.cpu.state.fpu;
    assert_eq!((fpu.instruction, fpu.operand, fpu.opcode), (CODE + 2 + 4 + 2, DATA + 0x10, 0x073));
}

#[test]
fn availability() {
    let vector_of = |code: Code<'_>, bits: Cr0| {
        let mut kernel = Kernel::long(code);
        kernel.state().cr0 |= bits;
        kernel.run(1);
        kernel.handler()
    };
    for code in [&|a: &mut CodeAssembler| a.fninit(), &|a: &mut CodeAssembler| a.fnstsw(ax)] as [Code<'_>; 2]
    {
        assert_eq!(vector_of(code, Cr0::empty()), None);
        assert_eq!(vector_of(code, Cr0::EM), Some(vector::NM));
        assert_eq!(vector_of(code, Cr0::TS), Some(vector::NM));
    }
    assert_eq!(vector_of(&|a| a.emms(), Cr0::EM | Cr0::TS), Some(vector::UD));
    assert_eq!(vector_of(&|a| a.emms(), Cr0::TS), Some(vector::NM));
    // WAIT asks for both bits.
    assert_eq!(vector_of(&|a| a.wait(), Cr0::TS), None);
    assert_eq!(vector_of(&|a| a.wait(), Cr0::MP), None);
    assert_eq!(vector_of(&|a| a.wait(), Cr0::TS | Cr0::MP), Some(vector::NM));
}
