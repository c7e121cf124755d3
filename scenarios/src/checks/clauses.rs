//! Every oracle's clauses, by the names they have in reports.

use std::fmt;

use serde::{Serialize, Serializer};

use super::Oracle;

macro_rules! clauses {
    ($($(#[$doc:meta])* $name:ident = $oracle:ident . $number:literal, $about:literal;)*) => {
        /// One thing that has to be true. `kjvm explain O5.C1` says more.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Clause { $(#[doc = $about] $(#[$doc])* $name,)* }

        impl Clause {
            /// All of them, by oracle and number.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Whose clause it is.
            pub fn oracle(self) -> Oracle {
                match self { $(Self::$name => Oracle::$oracle,)* }
            }

            /// `O5.C1`.
            pub fn id(self) -> &'static str {
                match self { $(Self::$name => concat!(stringify!($oracle), ".C", $number),)* }
            }

            /// What has to be true, in one line.
            pub fn about(self) -> &'static str {
                match self { $(Self::$name => $about,)* }
            }
        }
    };
}

clauses! {
    ImageGone = O1.1, "when A continues, no image is left that could be entered again";
    EnteredOnce = O1.2, "an image is entered at most once";
    NotAfterForeignWrite = O1.3, "an image is not entered after a write to a disk that A had mounted";
    MemoryAcrossJump = O2.1, "A's memory after the jump back is as it was at the jump";
    MemoryAcrossHibernation = O2.2, "A's memory when it is entered is the snapshot's";
    QuietMemoryInSave = O3.1, "nobody but the kernel writes to memory while swsusp makes its snapshot";
    QuietMemoryInRestore = O3.2, "nobody but the kernel writes to memory while swsusp enters the image";
    QuietMemoryInJump = O3.3, "nobody writes to A's memory between its last and its first instruction";
    QuietDiskInSave = O4.1, "from the snapshot to the end, swsusp writes its image and nothing else";
    QuietDiskBeforeReset = O4.2, "on resume, nothing is written before the signature is reset";
    QuietDiskInRestore = O4.3, "on resume, nothing is written from the reset of the signature until the image is entered";
    QuietDiskInSnapshot = O4.4, "a hibernation through /dev/snapshot writes its image and nothing else";
    QuietDiskInSaver = O4.5, "the saver and the restorer write to the image partition and nowhere else";
    SaverReads = O4.6, "the saver and the restorer do not read what is A's";
    HeaderLast = O5.1, "when the image's header is accepted, all that it commits to is durable";
    DisksBeforeHeader = O5.2, "when the image's header is accepted, all that A wrote before, on every disk, is durable";
    ResetFirst = O5.3, "the reset of the signature is durable before anything else is written";
    UnmarkFirst = O5.4, "after a hybrid sleep's wake, the reset of the signature is durable before anything else is written";
    MonotonicStands = O6.1, "monotonic time does not run while the machine is away";
    RealtimeGoesOn = O6.2, "real time is right within a second after the machine was away";
    AlarmOnce = O6.3, "the alarm fires, once";
    SystemRegisters = O7.1, "the processors' system registers are as they were";
    DebugRegisters = O7.2, "DR7 and S_CET are as they were";
    Refused = O8.1, "what has to be refused is refused, with words";
    GoneAfterRefusal = O8.2, "after a refusal the image is gone and the next boot is cold";
    StepsEnd = O9.1, "every step comes to its end";
    GoesOn = O9.2, "the machine goes on: no hang, panic, oops, lockup, stall or triple fault";
    QuietLog = O10.1, "the kernel log holds no complaint that the scenario does not allow";
    FileSystemWhole = O11.1, "after a journal replay the file system is clean";
    SyncedRecords = O11.2, "every record that was synced is there";
    QueuesInitialised = O12.1, "whoever takes over initialises the disk's queues again";
    Completions = O12.2, "no completion is lost or doubled";
    WorkloadsClean = O13.1, "workloads find everything as it was";
    WorkloadsGoOn = O13.2, "workloads go on";
    LegalOutcome = O14.1, "what comes after a power cut is one of the outcomes that are legal there";
}

impl Clause {
    /// The clause of this name, as `O5.C1`, in any case of letters.
    pub fn named(id: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|clause| clause.id().eq_ignore_ascii_case(id))
    }
}

impl fmt::Display for Clause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

impl Serialize for Clause {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clauses_are_found_by_their_names_and_stand_in_order() {
        assert_eq!(Clause::named("o5.c2"), Some(Clause::DisksBeforeHeader));
        assert_eq!(Clause::named("O5"), None);
        for clause in Clause::ALL {
            assert_eq!(Clause::named(clause.id()), Some(*clause));
            assert!(clause.id().starts_with(&format!("{}.C", clause.oracle().name())));
        }
        assert!(Clause::ALL.is_sorted_by_key(|clause| (clause.oracle(), *clause)));
        for oracle in Oracle::ALL.iter().copied() {
            assert!(Clause::ALL.iter().any(|clause| clause.oracle() == oracle), "{}", oracle.name());
        }
    }
}
