//! The four layouts of an environment.

use iced_x86::code_asm::*;

use crate::fp::extended::Extended;
use crate::state::Fpu;
use crate::test_kernel::{Code, Kernel};

const DATA: u64 = 0xb000;

fn with(mut kernel: Kernel) -> Kernel {
    let state = kernel.state();
    state.gpr[3] = DATA;
    state.fpu = Fpu {
        control: 0x340,
        status: 0x3000,
        tags: 0b1110_0001,
        opcode: 0x5a5,
        instruction: 0x8765_4321,
        operand: 0x1234_5678,
        ..Fpu::default()
    };
    // A number, zero, an infinity and a denormal; the top is 6.
    state.fpu.set_register(0, Extended::ONE);
    state.fpu.set_register(5, Extended::ZERO);
    state.fpu.set_register(6, Extended::infinity(true));
    state.fpu.set_register(7, Extended { significand: 1, sign_exponent: 0 });
    kernel
}

fn stored(kernel: Kernel, bytes: usize) -> String {
    let mut kernel = with(kernel);
    kernel.ram.write(DATA, &[0xee; 128]).unwrap();
    kernel.run(1);
    let mut memory = [0; 128];
    kernel.ram.read(DATA, &mut memory).unwrap();
    assert!(memory[bytes..].iter().all(|byte| *byte == 0xee), "{memory:x?}");
    memory[..bytes].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// R7 denormal, R6 infinite, R5 zero, R4 to R1 empty, R0 normal.
const TAGS: u16 = 0b10_10_01_11_11_11_11_00;

#[test]
fn protected_mode_has_selectors() {
    let tags = format!("{:04x}", TAGS.swap_bytes());
    let long = format!("4003ffff 0030ffff {tags}ffff 21436587 0000a505 78563412 0000ffff").replace(' ', "");
    assert_eq!(stored(Kernel::protected(&|a| a.fnstenv(ptr(ebx))), 28), long);
    assert_eq!(stored(Kernel::long(&|a| a.fnstenv(ptr(rbx))), 28), long);
    let short = format!("4003 0030 {tags} 2143 0000 7856 0000").replace(' ', "");
    // FNSTENV with an operand-size prefix.
    assert_eq!(stored(Kernel::protected(&|a| a.db(&[0x66, 0xd9, 0x33])), 14), short);
}

#[test]
fn real_mode_has_linear_addresses() {
    let tags = format!("{:04x}", TAGS.swap_bytes());
    // 20 bits of address, or 32 with the prefix; the opcode is below.
    let short = format!("4003 0030 {tags} 2143 a555 7856 0040").replace(' ', "");
    assert_eq!(stored(Kernel::real(&|a| a.db(&[0xd9, 0x37])), 14), short);
    let long = format!("4003ffff 0030ffff {tags}ffff 21430000 a5557608 78560000 00402301").replace(' ', "");
    assert_eq!(stored(Kernel::real(&|a| a.db(&[0x66, 0xd9, 0x37])), 28), long);
}

#[test]
fn storing_masks_and_saving_initializes() {
    let mut kernel = with(Kernel::long(&|a| a.fnstenv(ptr(rbx))));
    kernel.run(1);
    assert_eq!(kernel.state().fpu.control, 0x37f);
    let mut kernel = with(Kernel::long(&|a| a.fnsave(ptr(rbx))));
    kernel.run(1);
    let fpu = &kernel.state().fpu;
    assert_eq!((fpu.control, fpu.status, fpu.tags, fpu.instruction), (0x37f, 0, 0, 0));
}

/// What is stored is loaded again, in every layout that has room for it.
#[test]
fn there_and_back() {
    let back = |kernel: Kernel| {
        let mut kernel = with(kernel);
        let before = kernel.state().fpu.clone();
        kernel.run(1);
        kernel.state().fpu = Fpu::default();
        kernel.run(1);
        assert_eq!(kernel.state().fpu.registers, before.registers);
        assert_eq!(kernel.state().fpu, before);
    };
    let code: Code<'_> = &|a| {
        a.fnsave(ptr(rbx))?;
        a.frstor(ptr(rbx))
    };
    back(Kernel::long(code));
    let code: Code<'_> = &|a| {
        a.fnsave(ptr(ebx))?;
        a.frstor(ptr(ebx))
    };
    back(Kernel::protected(code));
    back(Kernel::real(&|a| a.db(&[0x66, 0xdd, 0x37, 0x66, 0xdd, 0x27])));
}
