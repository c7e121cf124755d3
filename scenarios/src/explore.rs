//! Exploration: what a power cut may leave on the disks, and what the next boot makes of it.
//!
//! A recorded run has *cuts*: every place of its history after which the power may fail. Each cut has a crash space, out of which a *family* of
//! states is taken. Two states with equal contents, from whatever cut, are one: a boot after a cut is a function of the scenario and of what is
//! on the disks, and of nothing else. All states boot together ([`tree`]); where the guest reads what differs between them, they part.

pub mod baseline;
pub mod campaign;
pub mod choice;
pub mod commit;
pub mod cuts;
pub mod family;
pub mod finding;
pub mod identity;
pub mod judge;
mod lives;
pub mod lost;
pub mod order;
pub mod pieces;
pub mod recovery;
pub mod region;
pub mod replay;
pub mod set;
pub mod space;
pub mod store;
pub mod subject;
pub mod survey;
pub mod tree;
