//! What runs inside the machine: unmodified kernels, the agent, the initramfs that carries it.

pub mod agent;
pub mod build;
pub mod bzimage;
pub mod cache;
mod candidate;
pub mod catalogue;
pub mod check;
pub mod compile;
pub mod compression;
pub mod config;
pub mod debian;
pub mod host;
pub mod initramfs;
pub mod manifest;
pub mod modules;
pub mod patch;
pub mod programs;
pub mod progress;
pub mod provision;
mod slot;
pub mod source;
pub mod stock;
