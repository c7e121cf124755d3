//! Mutants: the agent with one step of its durability left out or weakened. Exploration has to find each of them; what it does
//! not find it would not find in the agent either.
//!
//! Nothing of this is in the agent that the product carries. Another build of it, which only tests have, reads the name of one
//! mutant from its initramfs ([`FILE`]) and is that mutant; without the file it is the agent as it should be.

/// Where the name of the mutant is, in the initramfs.
pub const FILE: &str = "/mutant";

/// What the agent says on its console when it begins to serve as a mutant; the name follows.
pub const ANNOUNCED: &str = "kjvm agent: mutant ";

/// What the agent says on its console when a mutant first does what it is for; the name comes before it.
pub const APPLIED: &str = " is applied";

/// A path of the agent that has to survive a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Path {
    /// A, before it jumps.
    Leave,
    /// Writing an image: B after a kexec jump, A itself through /dev/snapshot.
    Save,
    /// Reading an image.
    Restore,
    /// Taking an image out of the world before its kernel is entered, or after its kernel went on without it.
    Consume,
}

macro_rules! mutants {
    ($($variant:ident: $path:ident, $name:literal, $what:literal;)*) => {
        /// One step left out or weakened.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Mutant {
            $(#[doc = $what] $variant,)*
        }

        impl Mutant {
            /// All of them, in the order of an image's life.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Such as `valid-before-index`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What it does, in one line.
            pub const fn what(self) -> &'static str {
                match self { $(Self::$variant => $what,)* }
            }

            /// Where in the agent it is.
            pub const fn path(self) -> Path {
                match self { $(Self::$variant => Path::$path,)* }
            }
        }
    };
}

mutants! {
    JumpWithoutSync: Leave, "jump-without-sync", "A neither writes back nor flushes before it jumps";
    JumpWithoutFlush: Leave, "jump-without-flush", "A writes back before it jumps, but flushes no disk";

    OldImageStays: Save, "old-image-stays", "an older image is not made unusable before it is overwritten";
    WritingNotFlushed: Save, "writing-not-flushed", "that an image is being written is not durable before it is";
    ImageNotFlushed: Save, "image-not-flushed", "pages and index are not flushed before the header says valid";
    ValidBeforeIndex: Save, "valid-before-index", "the header says valid before the index is written";
    ValidBeforeFlush: Save, "valid-before-flush", "the header says valid, durably, before the disks are flushed";
    DisksNotFlushed: Save, "disks-not-flushed", "no disk but that of the image is flushed before the header says valid";
    ValidNotFlushed: Save, "valid-not-flushed", "the header that says valid is not made durable";
    FailedNotWritten: Save, "failed-not-written", "an image that could not be saved is not marked";
    FailedNotFlushed: Save, "failed-not-flushed", "the mark of an image that could not be saved is not made durable";

    StateUnchecked: Restore, "state-unchecked", "an image is restored whatever its header says of its state";
    HeaderUnchecked: Restore, "header-unchecked", "the checksum of the header is not looked at";
    IndexUnchecked: Restore, "index-unchecked", "the checksum of the index is not looked at";
    PagesUnchecked: Restore, "pages-unchecked", "the checksums of the pages are not looked at";

    EnterUnconsumed: Consume, "enter-unconsumed", "A is entered without its image being consumed";
    ConsumedNotFlushed: Consume, "consumed-not-flushed", "that an image is consumed is not made durable";
    ConsumedTooLate: Consume, "consumed-too-late", "the image is consumed after A was entered";
    ResumeUnconsumed: Consume, "resume-unconsumed", "/dev/snapshot resumes without the image being consumed";
    WakeUnconsumed: Consume, "wake-unconsumed", "a wake from RAM leaves the image that was written before valid";

    PageCache: Save, "page-cache", "images are written and read through the page cache";
}

impl Mutant {
    /// The mutant of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|mutant| mutant.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_found_and_tell_them_apart() {
        for mutant in Mutant::ALL {
            assert_eq!(Mutant::named(mutant.name()), Some(*mutant));
        }
        let names: BTreeSet<_> = Mutant::ALL.iter().map(|mutant| mutant.name()).collect();
        let whats: BTreeSet<_> = Mutant::ALL.iter().map(|mutant| mutant.what()).collect();
        assert_eq!((names.len(), whats.len()), (Mutant::ALL.len(), Mutant::ALL.len()));
        assert_eq!(Mutant::named("none"), None);
    }
}
