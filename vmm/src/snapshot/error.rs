//! Why bytes are no snapshot.

use devices::disk::{BaseError, BaseIdentity};
use thiserror::Error;

/// A snapshot that cannot be written or read.
#[derive(Debug, Error)]
pub enum SnapshotError {
    /// Of the host.
    #[error("cannot read or write the snapshot: {0}")]
    Host(#[from] std::io::Error),
    /// Something else.
    #[error("this is not a snapshot of kjvm: it does not begin as one")]
    NotASnapshot,
    /// From the past or the future.
    #[error(
        "the snapshot has format {format}, written by kjvm {version}; this kjvm reads format {known}: read it with that version"
    )]
    Format {
        /// What it has.
        format: u32,
        /// Which kjvm wrote it.
        version: String,
        /// What we read.
        known: u32,
    },
    /// The same format, but other structs.
    #[error(
        "the snapshot was written by a build of kjvm {version} whose machine is laid out otherwise (layout {found}; this is {here} with layout \
         {ours}): read it with the build that wrote it, or run the scenario again"
    )]
    Layout {
        /// Which kjvm wrote it.
        version: String,
        /// Its layout.
        found: String,
        /// Ours.
        ours: String,
        /// Our version.
        here: &'static str,
    },
    /// Cut off.
    #[error("the snapshot is truncated: {there} bytes are there of {announced}; copy it again")]
    Truncated {
        /// Bytes.
        there: u64,
        /// Bytes it says it has.
        announced: u64,
    },
    /// Something follows.
    #[error("the snapshot ends after {0} bytes, but more follows: the file holds something else as well")]
    Trailing(u64),
    /// Bytes changed.
    #[error("the snapshot is corrupt: its checksum is wrong; copy it again")]
    Checksum,
    /// It says so.
    #[error(
        "the snapshot says it holds {bytes} bytes of {what}, and at most {most} are read: raise the limit if that is right"
    )]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// It says.
        bytes: u64,
        /// The limit.
        most: u64,
    },
    /// The checksum is right, and yet no kjvm wrote this.
    #[error("the snapshot contradicts itself: {0}")]
    Contradiction(String),
    /// A disk has a base that nobody gave.
    #[error(
        "disk {disk} lies on a base that was not given: {} bytes, digest {}; give the image it was made from",
        .identity.bytes, short(&.identity.digest)
    )]
    MissingBase {
        /// Which disk.
        disk: u8,
        /// Which base.
        identity: BaseIdentity,
    },
    /// The base of a disk is another one, or cannot be read.
    #[error("disk {disk}: {error}")]
    Base {
        /// Which disk.
        disk: u8,
        /// Why.
        error: BaseError,
    },
}

fn short(digest: &[u8; 32]) -> String {
    digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}
