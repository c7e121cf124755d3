//! Jumping from kernel to kernel.
//!
//! - [`preload`]: A loads B with its context to be preserved.
//! - [`jump`]: to the loaded kernel and back.
//! - [`plain`]: an ordinary kexec, without return.
//!
//! What they are made of: [`boot_params`], [`elf`] (the core header that describes A's memory to B), [`stub`] (the first
//! instructions after the jump), [`syscalls`]; `room`: whether there is memory for it.

pub mod boot_params;
pub mod elf;
pub mod jump;
pub mod plain;
pub mod preload;
mod room;
pub mod stub;
pub mod syscalls;
