//! What each string instruction does with an element, or with many.

use crate::exec::Exec;
use crate::fault::Stop;
use crate::memory::{Access, Value};
use crate::op::Op;
use crate::ops::strings::{Element, RDI, RSI, address, advance, row};
use crate::registers::Int;
use crate::registers::gpr::RAX;

pub(super) struct Move;

impl Element for Move {
    fn apply<T: Int + Value>(exec: &mut Exec<'_>, op: &Op, most: u64) -> Result<u64, Stop> {
        let mut done = 0;
        if most > 1
            && let Some((from, of_source)) = row::<T>(exec, op, RSI, false, most)
            && let Some((to, of_target)) = row::<T>(exec, op, RDI, true, most)
        {
            done = exec.copy_run::<T>(from, to, of_source.min(of_target))?;
        }
        if done == 0 {
            let from = address::<T>(exec, op, RSI, false)?;
            if exec.alone {
                // A device must not be read from if the store will fault.
                exec.run_of_page(from, Access::Read)?;
                let to = address::<T>(exec, op, RDI, true)?;
                exec.probe_write(to, u64::from(<T as Int>::BYTES))?;
            }
            let value = exec.load::<T>(from)?;
            let to = address::<T>(exec, op, RDI, true)?;
            exec.store(to, value)?;
            done = 1;
        }
        advance::<T>(exec, op, RSI, done);
        advance::<T>(exec, op, RDI, done);
        Ok(done)
    }
}

pub(super) struct Store;

impl Element for Store {
    fn apply<T: Int + Value>(exec: &mut Exec<'_>, op: &Op, most: u64) -> Result<u64, Stop> {
        let value = exec.reg::<T>(RAX);
        let mut done = 0;
        if most > 1
            && let Some((to, count)) = row::<T>(exec, op, RDI, true, most)
        {
            done = exec.fill_run(to, value, count)?;
        }
        if done == 0 {
            let to = address::<T>(exec, op, RDI, true)?;
            exec.store(to, value)?;
            done = 1;
        }
        advance::<T>(exec, op, RDI, done);
        Ok(done)
    }
}

pub(super) struct Load;

impl Element for Load {
    fn apply<T: Int + Value>(exec: &mut Exec<'_>, op: &Op, _: u64) -> Result<u64, Stop> {
        let from = address::<T>(exec, op, RSI, false)?;
        let value = exec.load::<T>(from)?;
        exec.set_reg(RAX, value);
        advance::<T>(exec, op, RSI, 1);
        Ok(1)
    }
}

fn compare<T: Int>(exec: &mut Exec<'_>, a: T, b: T) {
    exec.flags.sub(a, b, T::of(a.zext().wrapping_sub(b.zext())));
}

pub(super) struct Scan;

impl Element for Scan {
    fn apply<T: Int + Value>(exec: &mut Exec<'_>, op: &Op, _: u64) -> Result<u64, Stop> {
        let from = address::<T>(exec, op, RDI, false)?;
        let value = exec.load::<T>(from)?;
        compare(exec, exec.reg::<T>(RAX), value);
        advance::<T>(exec, op, RDI, 1);
        Ok(1)
    }
}

pub(super) struct Compare;

impl Element for Compare {
    fn apply<T: Int + Value>(exec: &mut Exec<'_>, op: &Op, _: u64) -> Result<u64, Stop> {
        let first = address::<T>(exec, op, RSI, false)?;
        let a = exec.load::<T>(first)?;
        let second = address::<T>(exec, op, RDI, false)?;
        let b = exec.load::<T>(second)?;
        compare(exec, a, b);
        advance::<T>(exec, op, RSI, 1);
        advance::<T>(exec, op, RDI, 1);
        Ok(1)
    }
}
