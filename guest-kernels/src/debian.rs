//! Packages of Debian and its relatives: reading a `.deb`, and asking `apt` for one.

mod apt;
mod archive;
mod version;

pub use apt::{
    AptError, Candidate, candidate, download, exact_kernel, kernel_packages, newest_kernel, resolve,
};
pub use archive::{Deb, DebError, PackagedFile};
pub use version::compare as compare_versions;

#[cfg(test)]
pub(crate) use archive::tests;
