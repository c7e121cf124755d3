//! What does not change while the machine exists.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::fault::{Applied, Kind, Times};
use super::{AtomicUnit, Fault, FaultOutcome, Latency, Tie};

/// What does not change while the machine exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DiskConfig {
    /// Names the disk in events.
    pub id: u8,
    /// Serial number as the guest reads it: ASCII, of which a front end shows the first 20 characters. None: made of the id.
    pub serial: Option<String>,
    /// Refuses to be changed.
    pub read_only: bool,
    /// How long it takes.
    pub latency: Latency,
    /// Seed of a jitter of the access times, so that requests complete in another order than they were accepted in. None: no jitter.
    pub reorder: Option<u64>,
    /// Whether there is a volatile write cache. A front end announces one exactly if there is one.
    pub cache: CacheMode,
    /// Nanoseconds after which what was completed becomes durable by itself. None: never.
    pub destage_after: Option<u64>,
    /// Nanoseconds for which what a flush or FUA promised may be lost all the same: only then is it durable. None: promises are kept. A disk
    /// that has such a time lies.
    pub late_loss: Option<u64>,
    /// What becomes of the cache when the machine is switched off by order.
    pub power_off: PowerOff,
    /// What becomes of it in S3.
    pub s3: Standby,
    /// What a power cut cannot tear.
    pub atomic_unit: AtomicUnit,
    /// What survives a power cut together.
    pub tie: Tie,
    /// Can discard.
    pub discard: bool,
    /// Requests that fail.
    pub faults: Vec<Fault>,
    /// Keeps a write log: of all that is ever written, so that what it needs of the host's memory grows.
    pub log: bool,
}

impl Default for DiskConfig {
    fn default() -> Self {
        Self {
            id: 0,
            serial: None,
            read_only: false,
            latency: Latency::default(),
            reorder: None,
            cache: CacheMode::default(),
            destage_after: None,
            late_loss: None,
            power_off: PowerOff::default(),
            s3: Standby::default(),
            atomic_unit: AtomicUnit::default(),
            tie: Tie::default(),
            discard: true,
            faults: Vec::new(),
            log: false,
        }
    }
}

/// When a write is durable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CacheMode {
    /// Some time after it completed: there is a volatile write cache.
    #[default]
    WriteBack,
    /// When it completes.
    WriteThrough,
}

/// What a disk does when it is switched off by order. In both cases requests in flight end as the rest of the cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PowerOff {
    /// It has the time to make everything durable that it accepted.
    #[default]
    Destage,
    /// Whatever is not durable is lost: shows drivers that do not flush on the way down.
    Drop,
}

/// What a disk does in S3.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Standby {
    /// It keeps standby power: only its interface is reset.
    #[default]
    Keep,
    /// Its power goes, without notice: nothing survives but what is durable. Counters and numbers start again.
    PowerLoss,
}

/// A disk that cannot be. Each message says what to change.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DiskConfigError {
    /// Not what front ends can show.
    #[error("disk {id}: serial number {serial:?}: give printable ASCII characters")]
    Serial {
        /// Which disk.
        id: u8,
        /// It.
        serial: String,
    },
    /// There is nothing to destage.
    #[error("disk {0}: destage_after needs a write cache: set cache = WriteBack, or leave destage_after out")]
    DestageWithoutCache(u8),
    /// That is no cache.
    #[error(
        "disk {0}: destage_after = 0 would make every write durable when it completes: set cache = WriteThrough"
    )]
    DestageAtOnce(u8),
    /// That is no time.
    #[error("disk {0}: late_loss = 0 would lose nothing: leave it out")]
    LateAtOnce(u8),
    /// Numbers are counted for each kind.
    #[error("disk {id}: fault {fault}: nth counts requests of one kind: name the kind")]
    NthOfNoKind {
        /// Which disk.
        id: u8,
        /// Which fault, from 0.
        fault: usize,
    },
    /// Flushes touch no sectors.
    #[error("disk {id}: fault {fault}: a flush has no sectors: leave the extent out")]
    FlushOfSectors {
        /// Which disk.
        id: u8,
        /// Which fault, from 0.
        fault: usize,
    },
    /// Reads and flushes change nothing.
    #[error(
        "disk {id}: fault {fault}: only what writes can be applied before it fails: name the kind of write"
    )]
    NothingToApply {
        /// Which disk.
        id: u8,
        /// Which fault, from 0.
        fault: usize,
    },
    /// Other requests that do nothing would differ at once.
    #[error(
        "disk {id}: fault {fault}: only a flush, or a write with FUA, can lie: say kind = Flush or Write"
    )]
    LieOfNoFlush {
        /// Which disk.
        id: u8,
        /// Which fault, from 0.
        fault: usize,
    },
    /// One request with this number exists.
    #[error("disk {id}: fault {fault}: a single request is named, which cannot fail always: say Once")]
    AlwaysOnce {
        /// Which disk.
        id: u8,
        /// Which fault, from 0.
        fault: usize,
    },
}

impl DiskConfig {
    /// Serial number.
    pub fn serial(&self) -> String {
        self.serial.clone().unwrap_or_else(|| format!("KJVM-{:03}", self.id))
    }

    /// Whether there is a volatile write cache, which front ends then announce.
    pub fn has_cache(&self) -> bool {
        self.cache == CacheMode::WriteBack && !self.read_only
    }

    /// Whether there can be such a disk.
    ///
    /// # Errors
    /// [`DiskConfigError`].
    pub fn check(&self) -> Result<(), DiskConfigError> {
        let id = self.id;
        if let Some(serial) = &self.serial
            && !serial.bytes().all(|byte| (b' '..=b'~').contains(&byte))
        {
            return Err(DiskConfigError::Serial { id, serial: serial.clone() });
        }
        match self.destage_after {
            Some(_) if self.cache == CacheMode::WriteThrough => {
                return Err(DiskConfigError::DestageWithoutCache(id));
            }
            Some(0) => return Err(DiskConfigError::DestageAtOnce(id)),
            _ => {}
        }
        if self.late_loss == Some(0) {
            return Err(DiskConfigError::LateAtOnce(id));
        }
        for (fault, what) in self.faults.iter().enumerate() {
            let writes = matches!(what.kind, Some(Kind::Write | Kind::Discard | Kind::WriteZeroes));
            if what.nth.is_some() && what.kind.is_none() {
                return Err(DiskConfigError::NthOfNoKind { id, fault });
            }
            if what.extent.is_some() && what.kind == Some(Kind::Flush) {
                return Err(DiskConfigError::FlushOfSectors { id, fault });
            }
            if what.outcome.applied() != Applied::Nothing && !writes {
                return Err(DiskConfigError::NothingToApply { id, fault });
            }
            let can_lie = matches!(what.kind, Some(Kind::Flush | Kind::Write));
            if what.outcome == FaultOutcome::Lies && !can_lie {
                return Err(DiskConfigError::LieOfNoFlush { id, fault });
            }
            if what.times == Times::Always && (what.request.is_some() || what.nth.is_some()) {
                return Err(DiskConfigError::AlwaysOnce { id, fault });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Extent;

    fn refused(change: impl FnOnce(&mut DiskConfig)) -> String {
        let mut config = DiskConfig::default();
        change(&mut config);
        config.check().map_or_else(|error| error.to_string(), |()| "possible".into())
    }

    fn fault(change: impl FnOnce(&mut Fault)) -> String {
        let mut fault = Fault::default();
        change(&mut fault);
        refused(|config| config.faults = vec![Fault::default(), fault])
    }

    #[test]
    fn what_cannot_be_is_said_with_its_cure() {
        let all = [
            refused(|config| config.serial = Some("a\nb".into())),
            refused(|config| {
                config.cache = CacheMode::WriteThrough;
                config.destage_after = Some(1);
            }),
            refused(|config| config.destage_after = Some(0)),
            refused(|config| config.late_loss = Some(0)),
            fault(|fault| fault.nth = Some(1)),
            fault(|fault| {
                fault.kind = Some(Kind::Flush);
                fault.extent = Some(Extent { sector: 0, sectors: 1 });
            }),
            fault(|fault| fault.outcome = FaultOutcome::Hangs(Applied::All)),
            fault(|fault| fault.outcome = FaultOutcome::Lies),
            fault(|fault| {
                fault.request = Some(7);
                fault.times = Times::Always;
            }),
        ];
        insta::assert_snapshot!(all.join("\n"), @r#"
        disk 0: serial number "a\nb": give printable ASCII characters
        disk 0: destage_after needs a write cache: set cache = WriteBack, or leave destage_after out
        disk 0: destage_after = 0 would make every write durable when it completes: set cache = WriteThrough
        disk 0: late_loss = 0 would lose nothing: leave it out
        disk 0: fault 1: nth counts requests of one kind: name the kind
        disk 0: fault 1: a flush has no sectors: leave the extent out
        disk 0: fault 1: only what writes can be applied before it fails: name the kind of write
        disk 0: fault 1: only a flush, or a write with FUA, can lie: say kind = Flush or Write
        disk 0: fault 1: a single request is named, which cannot fail always: say Once
        "#);
    }

    #[test]
    fn what_can_be_is_not_refused() {
        assert_eq!(refused(|_| {}), "possible");
        assert_eq!(refused(|config| config.destage_after = Some(1)), "possible");
        assert_eq!(refused(|config| config.cache = CacheMode::WriteThrough), "possible");
        let set = |fault: &mut Fault| {
            fault.kind = Some(Kind::Write);
            fault.nth = Some(3);
            fault.outcome = FaultOutcome::Fails(Applied::Units(2));
        };
        assert_eq!(fault(set), "possible");
    }
}
