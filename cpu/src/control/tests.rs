//! What may be written to control registers, and the way through the modes.

use iced_x86::code_asm::*;

use crate::fault::vector;
use crate::msr::index;
use crate::state::{Cr0, Cr4, Efer};
use crate::test_kernel::{CODE_32, Kernel, PAGE_TABLE};

const GP: Option<u8> = Some(vector::GP);

/// The exception of `mov crN, rax` in 64-bit mode, after `prepare`.
fn write(number: u8, value: u64, prepare: impl FnOnce(&mut crate::CpuState)) -> Option<u8> {
    let mut kernel = Kernel::long(&|a| {
        let register = [cr0, cr1, cr2, cr3, cr4, cr5, cr6, cr7, cr8][usize::from(number)];
        a.mov(register, rax)
    });
    prepare(kernel.state());
    kernel.state().gpr[0] = value;
    kernel.run(1);
    kernel.handler()
}

fn as_it_is(_: &mut crate::CpuState) {}

#[test]
fn contradictions_fault() {
    const LONG: u64 = 0x8000_0011;
    assert_eq!(write(0, LONG, as_it_is), None);
    assert_eq!(write(0, LONG | 0xffff, as_it_is), None, "bits without a meaning are ignored");
    assert_eq!(write(0, LONG | 1 << 32, as_it_is), GP);
    assert_eq!(write(0, LONG & !1, as_it_is), GP, "paging without protection");
    assert_eq!(write(0, LONG | Cr0::NW.bits(), as_it_is), GP, "NW without CD");
    assert_eq!(write(0, LONG | (Cr0::NW | Cr0::CD).bits(), as_it_is), None);
    assert_eq!(write(0, 0x11, as_it_is), GP, "paging off in 64-bit mode");

    assert_eq!(write(3, 0x4000, as_it_is), None);
    assert_eq!(write(3, 0x4fff, as_it_is), None);
    assert_eq!(write(3, 1 << 39 | 0x4000, as_it_is), GP);
    assert_eq!(write(3, 1 << 63 | 0x4000, as_it_is), GP);
    let pcids = |state: &mut crate::CpuState| state.cr4 |= Cr4::PCIDE;
    assert_eq!(write(3, 1 << 63 | 0x4001, pcids), None);
    assert_eq!(write(3, 1 << 62 | 0x4001, pcids), GP);

    for bit in (0..64).filter(|bit| *bit != 5) {
        let there = Cr4::ADVERTISED.bits() >> bit & 1 == 1;
        assert_eq!(write(4, 1 << 5 | 1 << bit, as_it_is), if there { None } else { GP }, "bit {bit}");
    }
    assert_eq!(write(4, 0, as_it_is), GP, "PAE off in long mode");
    assert_eq!(write(4, 1 << 17 | 1 << 5, |state| state.cr3 |= 1), GP, "PCIDs begin with 0");
    assert_eq!(
        write(4, 1 << 17 | 1 << 5, |state| (state.cr3, state.cr4) = (state.cr3 | 1, state.cr4 | Cr4::PCIDE)),
        None
    );

    assert_eq!(write(8, 15, as_it_is), None);
    assert_eq!(write(8, 16, as_it_is), GP);
    for number in [1, 5, 6, 7] {
        assert_eq!(write(number, 0, as_it_is), Some(vector::UD));
    }
}

#[test]
fn user_mode_has_no_control_registers() {
    for code in [
        (|a| a.mov(rax, cr0)) as fn(&mut CodeAssembler) -> Result<(), iced_x86::IcedError>,
        |a| a.mov(cr8, rax),
        |a| a.mov(rax, cr8),
        |a| a.clts(),
        |a| a.lmsw(ax),
        |a| a.invlpg(byte_ptr(rax)),
        |a| a.wbinvd(),
        |a| a.invd(),
        |a| a.hlt(),
        |a| a.wrmsr(),
    ] {
        let mut kernel = Kernel::user(&code);
        kernel.run(1);
        assert_eq!(kernel.handler(), GP);
    }
}

#[test]
fn into_long_mode_and_back() {
    let mut kernel = Kernel::protected(&|a| {
        a.mov(eax, 0x4000)?;
        a.mov(cr3, eax)?;
        a.mov(eax, Cr4::PAE.bits() as u32)?;
        a.mov(cr4, eax)?;
        a.mov(ecx, index::EFER)?;
        a.rdmsr()?;
        a.or(eax, (Efer::LME | Efer::NXE).bits() as u32)?;
        a.wrmsr()?;
        a.mov(eax, cr0)?;
        a.or(eax, Cr0::PG.bits() as u32)?;
        a.mov(cr0, eax)?;
        a.rdmsr()?;
        a.mov(ebx, eax)?;
        // From compatibility mode paging, and with it long mode, can be turned off.
        a.mov(eax, cr0)?;
        a.and(eax, 0x7fff_ffff)?;
        a.mov(cr0, eax)?;
        a.rdmsr()
    });
    for (table, next) in [(0x4000, 0x5007u64), (0x5000, 0x6007), (0x6000, 0x87)] {
        kernel.write(table, next);
    }
    kernel.run(13);
    assert!(kernel.state().is_long());
    assert_eq!(kernel.state().gpr[3], (Efer::LME | Efer::LMA | Efer::NXE).bits());
    kernel.run(4);
    assert_eq!((kernel.handler(), kernel.state().is_long()), (None, false));
    assert_eq!(kernel.state().gpr[0], (Efer::LME | Efer::NXE).bits());
    assert_eq!(kernel.state().segments[1].selector, CODE_32);
}

/// The exception of turning paging on in 32-bit protected mode.
fn turn_paging_on(prepare: impl FnOnce(&mut Kernel)) -> Option<u8> {
    let mut kernel = Kernel::protected(&|a| {
        a.mov(eax, 0x8000_0011u32)?;
        a.mov(cr0, eax)
    });
    kernel.state().cr3 = 0x4000;
    // Identity, by 4 MiB pages; read as PAE entries it has reserved bits.
    kernel.write(0x4000, 0x0040_0083_0000_0083);
    kernel.state().cr4 = Cr4::PSE;
    prepare(&mut kernel);
    kernel.run(2);
    kernel.handler()
}

#[test]
fn paging_begins_with_entries_that_are_right() {
    assert_eq!(turn_paging_on(|_| {}), None);
    assert_eq!(turn_paging_on(|kernel| kernel.state().cr4 = Cr4::PAE), GP);
    assert_eq!(
        turn_paging_on(|kernel| {
            kernel.state().cr4 = Cr4::PAE;
            (0..4).for_each(|entry| kernel.write(0x4000 + 8 * entry, 0));
            kernel.write(0x4000, 0x6001);
            kernel.write(0x6000, 0x87);
        }),
        None
    );
    assert_eq!(turn_paging_on(|kernel| kernel.state().msrs.efer = Efer::LME), GP, "long mode needs PAE");
    let long = |kernel: &mut Kernel| {
        (kernel.state().msrs.efer, kernel.state().cr4) = (Efer::LME, Cr4::PAE);
        for (table, next) in [(0x4000, 0x5007u64), (0x5000, 0x6007), (0x6000, 0x87)] {
            kernel.write(table, next);
        }
    };
    assert_eq!(turn_paging_on(long), None);
    assert_eq!(
        turn_paging_on(|kernel| {
            long(kernel);
            kernel.state().tr.attributes = crate::state::Attributes(0x83);
        }),
        GP,
        "a task state segment of 16 bits"
    );
    assert_eq!(
        turn_paging_on(|kernel| {
            long(kernel);
            kernel.state().segments[1].attributes.0 |= 1 << 13;
        }),
        GP,
        "code that would be 64-bit at once"
    );
}

#[test]
fn long_mode_is_enabled_with_paging_off() {
    let mut kernel = Kernel::long(&|a| {
        a.mov(ecx, index::EFER)?;
        a.xor(eax, eax)?;
        a.xor(edx, edx)?;
        a.wrmsr()
    });
    kernel.run(4);
    assert_eq!(kernel.handler(), GP);
}

/// Two pages change places; which one is seen after this code?
fn seen_after(
    code: impl Fn(&mut CodeAssembler) -> Result<(), iced_x86::IcedError>,
    extensions: Cr4,
    flags: u64,
) -> u64 {
    const PAGE: u64 = 0x10_0000;
    let mut kernel = Kernel::long(&|a| {
        a.mov(rbx, qword_ptr(PAGE as i32))?;
        a.mov(dword_ptr(PAGE_TABLE as i32 + 8 * 0x100), 0x10_1007)?;
        code(a)?;
        a.mov(rbx, qword_ptr(PAGE as i32))?;
        a.hlt()
    });
    kernel.write(PAGE_TABLE + 8 * 0x100, PAGE | 7 | flags);
    kernel.write(PAGE, 1);
    kernel.write(PAGE + 0x1000, 2);
    kernel.state().cr4 |= extensions;
    kernel.run(99);
    kernel.state().gpr[3]
}

#[test]
fn translations_go_when_they_must() {
    const GLOBAL: u64 = 1 << 8;
    let reload = |a: &mut CodeAssembler| {
        a.mov(rax, cr3)?;
        a.mov(cr3, rax)
    };
    assert_eq!(seen_after(|_| Ok(()), Cr4::PGE, 0), 1, "a translation is kept without reason to drop it");
    assert_eq!(seen_after(reload, Cr4::PGE, 0), 2);
    assert_eq!(seen_after(reload, Cr4::PGE, GLOBAL), 1);
    assert_eq!(seen_after(reload, Cr4::empty(), GLOBAL), 2, "not global unless enabled");
    assert_eq!(seen_after(|a| a.invlpg(byte_ptr(0x10_0fff)), Cr4::PGE, GLOBAL), 2);
    assert_eq!(seen_after(|a| a.invlpg(byte_ptr(0x10_1000)), Cr4::PGE, 0), 1, "another page");
    let toggle = |a: &mut CodeAssembler| {
        a.mov(rax, cr4)?;
        a.btc(eax, 7)?;
        a.mov(cr4, rax)
    };
    assert_eq!(seen_after(toggle, Cr4::PGE, GLOBAL), 2);
    let write_protect = |a: &mut CodeAssembler| {
        a.mov(rax, cr0)?;
        a.btc(eax, 16)?;
        a.mov(cr0, rax)
    };
    assert_eq!(seen_after(write_protect, Cr4::PGE, GLOBAL), 2);
}

/// What INVPCID of this type, for this PCID and address, leaves of a page of PCID 0.
fn seen_after_invpcid(kind: u64, pcid: u64, linear: u64, global: u64) -> u64 {
    seen_after(
        |a| {
            a.mov(rax, pcid)?;
            a.mov(qword_ptr(0x11_0000), rax)?;
            a.mov(rax, linear)?;
            a.mov(qword_ptr(0x11_0008), rax)?;
            a.mov(eax, kind as u32)?;
            a.invpcid(rax, xmmword_ptr(0x11_0000))
        },
        Cr4::PGE | Cr4::PCIDE,
        global,
    )
}

#[test]
fn invpcid_drops_what_it_names() {
    const GLOBAL: u64 = 1 << 8;
    assert_eq!(seen_after_invpcid(0, 0, 0x10_0000, 0), 2);
    assert_eq!(seen_after_invpcid(0, 0, 0x10_1000, 0), 1);
    assert_eq!(seen_after_invpcid(0, 5, 0x10_0000, 0), 1);
    assert_eq!(seen_after_invpcid(1, 0, 0, 0), 2);
    assert_eq!(seen_after_invpcid(1, 0, 0, GLOBAL), 1);
    assert_eq!(seen_after_invpcid(1, 5, 0, 0), 1);
    assert_eq!(seen_after_invpcid(2, 0, 0, GLOBAL), 2);
    assert_eq!(seen_after_invpcid(3, 0, 0, GLOBAL), 1);
    assert_eq!(seen_after_invpcid(3, 0, 0, 0), 2);
}
