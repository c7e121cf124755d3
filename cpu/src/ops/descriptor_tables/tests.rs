//! System tables, and what selectors tell about segments.

use iced_x86::code_asm::*;

use crate::fault::vector;
use crate::state::{Attributes, Cr4, TableRegister};
use crate::test_kernel::*;

#[test]
fn tables_load_as_many_bits_as_the_mode_has() {
    let bytes = [0x34, 0x12, 0x78, 0x56, 0x34, 0x12, 0xff, 0xff, 0xff, 0xff];
    let mut kernel = Kernel::long(&|a| a.lgdt(ptr(0x5_0000)));
    kernel.ram.write(0x5_0000, &bytes).unwrap();
    kernel.run(1);
    assert_eq!(kernel.state().gdtr, TableRegister { base: 0xffff_ffff_1234_5678, limit: 0x1234 });

    let mut kernel = Kernel::protected(&|a| a.lidt(ptr(0x5_0000)));
    kernel.ram.write(0x5_0000, &bytes).unwrap();
    kernel.run(1);
    assert_eq!(kernel.state().idtr, TableRegister { base: 0x1234_5678, limit: 0x1234 });

    let mut kernel = Kernel::real(&|a| a.lgdt(ptr(0x5000)));
    kernel.ram.write(0x5000, &bytes).unwrap();
    kernel.run(1);
    assert_eq!(kernel.state().gdtr, TableRegister { base: 0x34_5678, limit: 0x1234 });
}

#[test]
fn a_table_needs_an_address() {
    let mut kernel = Kernel::long(&|a| a.lidt(ptr(0x5_0000)));
    kernel.write(0x5_0000, 0);
    kernel.write(0x5_0002, 1 << 47);
    kernel.run(1);
    assert_eq!((kernel.handler(), kernel.stack::<2>()), (Some(vector::GP), [0, CODE]));
    let mut kernel = Kernel::user(&|a| a.lidt(ptr(0x5_0000)));
    kernel.run(1);
    assert_eq!(kernel.handler(), Some(vector::GP));
}

#[test]
fn tables_are_told_to_users_unless_umip_forbids() {
    let mut kernel = Kernel::user(&|a| a.sidt(ptr(0x5_0000)));
    kernel.run(1);
    assert_eq!(kernel.read(0x5_0000), IDT << 16 | 0xfff);
    for code in [
        &|a: &mut CodeAssembler| a.sidt(ptr(0x5_0000)),
        &|a: &mut CodeAssembler| a.sgdt(ptr(0x5_0000)),
        &|a: &mut CodeAssembler| a.sldt(eax),
        &|a: &mut CodeAssembler| a.str(eax),
    ] as [&dyn Fn(&mut CodeAssembler) -> Result<(), iced_x86::IcedError>; 4]
    {
        let mut kernel = Kernel::user(code);
        kernel.state().cr4 |= Cr4::UMIP;
        kernel.run(1);
        assert_eq!((kernel.handler(), kernel.stack::<1>()), (Some(vector::GP), [0]));
    }
}

#[test]
fn the_task_register_marks_its_segment_busy() {
    let mut kernel = Kernel::long(&|a| {
        a.ltr(ax)?;
        a.str(ebx)
    });
    kernel.state().gpr[0] = TASK.into();
    kernel.write(GDT + u64::from(TASK) + 8, 0xffff_8000);
    kernel.run(2);
    let state = kernel.state();
    assert_eq!((state.tr.base, state.tr.limit), (0xffff_8000_0000_3000, 0x67));
    assert_eq!((state.tr.attributes, state.gpr[3]), (Attributes::BUSY_TSS, TASK.into()));
    assert_eq!(kernel.read(GDT + u64::from(TASK)) >> 40 & 0xff, 0x8b);
    // Once more: it is no longer available.
    kernel.state().rip = CODE;
    kernel.run(1);
    assert_eq!((kernel.handler(), kernel.stack::<1>()), (Some(vector::GP), [TASK.into()]));
}

#[test]
fn what_the_task_register_refuses() {
    for (selector, descriptor, handled, error) in [
        (0, 0, vector::GP, 0),
        (TASK | 4, 0, vector::GP, TASK | 4),
        (DATA_0, 0, vector::GP, DATA_0),
        (FREE, 0x0000_0900_3000_0067, vector::NP, FREE),
        // A 16-bit TSS in long mode.
        (FREE, 0x0000_8100_3000_0067, vector::GP, FREE),
        // The second half is outside the table.
        (FREE + 8, 0x0000_8900_3000_0067, vector::GP, FREE + 8),
    ] {
        let mut kernel = Kernel::long(&|a| a.ltr(ax));
        if descriptor != 0 {
            kernel.descriptor(selector, descriptor);
        }
        kernel.state().gpr[0] = selector.into();
        kernel.run(1);
        assert_eq!(kernel.handler(), Some(handled), "{selector:x}");
        assert_eq!(kernel.stack::<2>(), [error.into(), CODE]);
    }
}

#[test]
fn a_local_table_is_used_and_may_be_null() {
    let mut kernel = Kernel::protected(&|a| {
        a.lldt(ax)?;
        a.mov(es, ebx)?;
        a.lldt(cx)?;
        a.mov(es, ebx)
    });
    kernel.descriptor(FREE, 0x0000_8205_0000_000f);
    kernel.write(0x5_0008, 0x00cf_9300_0000_ffff);
    kernel.state().gpr[..4].copy_from_slice(&[FREE.into(), 0, 0, 0xc]);
    kernel.run(2);
    assert_eq!(kernel.state().segments[0].selector, 0xc);
    kernel.run(2);
    assert_eq!((kernel.handler(), kernel.stack_32::<1>()), (Some(vector::GP), [0xc]));
}

#[test]
fn system_registers_do_not_exist_in_real_mode() {
    for code in [&[0x0f, 0x00, 0xd0], &[0x0f, 0x00, 0xd8], &[0x0f, 0x00, 0xc0], &[0x0f, 0x02, 0xc0]] {
        let mut kernel = Kernel::real(&|a| a.nop()).at(CODE, code);
        kernel.run(1);
        assert_eq!(kernel.handler(), Some(vector::UD), "{code:x?}");
    }
}

#[test]
fn questions_about_selectors_do_not_fault() {
    // LAR, LSL, VERR, VERW: answers and ZF.
    let ask = |kernel: &mut Kernel, selector: u16| {
        kernel.state().gpr = [u64::from(selector), 0, 0, 0x5555, STACK, 0x6666, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        kernel.state().rip = CODE;
        let mut zero = 0;
        for bit in 0..4 {
            kernel.run(1);
            zero |= (kernel.state().rflags >> 6 & 1) << bit;
        }
        assert_eq!(kernel.handler(), None);
        (kernel.state().gpr[3], kernel.state().gpr[5], zero)
    };
    let code = |a: &mut CodeAssembler| {
        a.lar(ebx, eax)?;
        a.lsl(ebp, eax)?;
        a.verr(ax)?;
        a.verw(ax)
    };
    let mut kernel = Kernel::protected(&code);
    assert_eq!(ask(&mut kernel, DATA_0), (0xcf_9300, 0xffff_ffff, 0b1111));
    assert_eq!(ask(&mut kernel, CODE_32), (0xcf_9b00, 0xffff_ffff, 0b0111));
    assert_eq!(ask(&mut kernel, TASK), (0x00_8900, 0x67, 0b0011));
    for invisible in [0, 3, DATA_0 | 3, 0x1000] {
        assert_eq!(ask(&mut kernel, invisible), (0x5555, 0x6666, 0), "{invisible:x}");
    }
    // A call gate has rights, but no limit; an interrupt gate has neither.
    kernel.descriptor(FREE, 0x0000_8c00_0000_0000);
    assert_eq!(ask(&mut kernel, FREE), (0x8c00, 0x6666, 0b0001));
    kernel.descriptor(FREE, 0x0000_8e00_0000_0000);
    assert_eq!(ask(&mut kernel, FREE), (0x5555, 0x6666, 0));
    let mut kernel = Kernel::user(&code);
    assert_eq!(ask(&mut kernel, DATA_0), (0x5555, 0x6666, 0));
    assert_eq!(ask(&mut kernel, DATA_3), (0xcf_f300, 0xffff_ffff, 0b1111));
}
