//! The machine: board, engines, clock, power, digests.
//!
//! [`Machine`] is the whole PC; [`Config`] says what to build. The parts are plain data: [`board::Board`] shows them on one page.

pub mod author;
pub mod autopsy;
pub mod board;
pub mod clock;
pub mod code_watch;
pub mod config;
pub mod digest;
pub mod disk_file;
pub mod drive;
pub mod engine;
pub mod kallsyms;
pub mod machine;
pub mod power;
mod power_on_ram;
pub mod snapshot;
#[cfg(test)]
mod testing;
pub mod trigger;

pub use author::Author;
pub use autopsy::Autopsy;
pub use board::Board;
pub use clock::Clock;
pub use code_watch::CodePoint;
pub use config::{Config, InvalidConfig};
pub use digest::Digest;
pub use disk_file::{DiskFile, DiskFileError};
pub use drive::{Drive, FrontEnd};
pub use engine::{Limit, Stop};
pub use machine::{Entry, Machine, MachineError};
pub use power::{PowerState, Wake, WakeError, WakeSource};
pub use snapshot::{Limits, MachineState, Snapshot, SnapshotError};
pub use trigger::{Trigger, Triggers};
