//! The software TLB: linear pages that may be read, written or fetched from without asking again, and where they lie in this
//! process.
//!
//! A tag is set only if the access needs nothing more: no permission check, no accessed or dirty bit to set, no device, no page
//! with translated code (for writes), no page that still has to be marked as written.

use crate::memory::PAGE_MASK;

/// Entries of each set.
const ENTRIES: usize = 1024;
/// Sets that ever have entries: all but [`Set::UserAligned`].
const FILLED: usize = 3;
/// No page has this number.
const NO_PAGE: u64 = 1;

/// Whose accesses a set of entries serves. SMAP makes a supervisor's accesses depend on RFLAGS.AC (SDM 3A 4.6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Set {
    /// Supervisor; no user pages under SMAP.
    Supervisor,
    /// Supervisor with RFLAGS.AC set.
    SupervisorAc,
    /// User.
    User,
    /// User with RFLAGS.AC and CR0.AM set: alignment is checked. It has no entries, so that every access goes the slow way, which
    /// checks, and then uses those of [`Set::User`].
    UserAligned,
}

/// One page.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// Linear page that may be read, or [`NO_PAGE`].
    pub read: u64,
    /// ... written.
    pub write: u64,
    /// ... fetched from.
    pub exec: u64,
    /// Added to a linear address gives the address in this process.
    pub addend: usize,
    /// Physical page.
    pub frame: u64,
    /// Survives a change of CR3.
    pub global: bool,
}

impl Entry {
    const EMPTY: Self =
        Self { read: NO_PAGE, write: NO_PAGE, exec: NO_PAGE, addend: 0, frame: 0, global: false };
}

/// What a page may be used for without asking again.
#[derive(Debug, Clone, Copy, Default)]
pub struct Allowed {
    /// Loads.
    pub read: bool,
    /// Stores.
    pub write: bool,
    /// Fetches.
    pub exec: bool,
}

/// Where a linear page leads.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    /// Physical page.
    pub frame: u64,
    /// Its first byte in this process.
    pub host: *mut u8,
    /// Survives a change of CR3.
    pub global: bool,
    /// Part of a larger page.
    pub large: bool,
}

/// The entries of one processor.
pub struct Tlb {
    sets: [Box<[Entry; ENTRIES]>; 4],
    /// Part of a large page is cached: INVLPG of any address of it must drop all of it.
    large: bool,
    /// Changes whenever an entry that could be fetched from goes away.
    epoch: u32,
}

impl Default for Tlb {
    fn default() -> Self {
        Self { sets: std::array::from_fn(|_| Box::new([Entry::EMPTY; ENTRIES])), large: false, epoch: 0 }
    }
}

impl Tlb {
    /// The only entry that can serve this address.
    #[inline(always)]
    pub fn entry(&self, set: Set, linear: u64) -> &Entry {
        &self.sets[set as usize][(linear >> 12) as usize % ENTRIES]
    }

    /// Notes what a page may be used for from now on.
    pub fn fill(&mut self, set: Set, linear: u64, to: Page, allowed: Allowed) {
        let page = linear & PAGE_MASK;
        let entry = &mut self.sets[set as usize][(linear >> 12) as usize % ENTRIES];
        if entry.exec != NO_PAGE && entry.exec != page {
            self.epoch = self.epoch.wrapping_add(1);
        }
        let same = entry.frame == to.frame && [entry.read, entry.write, entry.exec].contains(&page);
        if !same {
            *entry = Entry::EMPTY;
        }
        let tag = |allowed: bool, before: u64| {
            if allowed {
                page
            } else if same {
                before
            } else {
                NO_PAGE
            }
        };
        *entry = Entry {
            read: tag(allowed.read, entry.read),
            write: tag(allowed.write, entry.write),
            exec: tag(allowed.exec, entry.exec),
            addend: (to.host as usize).wrapping_sub(page as usize),
            frame: to.frame,
            global: to.global,
        };
        self.large |= to.large;
    }

    /// Forgets everything, or all but global pages.
    pub fn flush(&mut self, keep_global: bool) {
        for entry in self.entries() {
            if !(keep_global && entry.global) {
                *entry = Entry::EMPTY;
            }
        }
        self.large &= keep_global;
        self.epoch = self.epoch.wrapping_add(1);
    }

    /// Forgets one page (INVLPG; a page fault does the same, SDM 3A 4.10.4.1).
    pub fn invalidate(&mut self, linear: u64) {
        if self.large {
            return self.flush(false);
        }
        let page = linear & PAGE_MASK;
        for set in self.sets.iter_mut().take(FILLED) {
            let entry = &mut set[(linear >> 12) as usize % ENTRIES];
            if [entry.read, entry.write, entry.exec].contains(&page) {
                *entry = Entry::EMPTY;
            }
        }
        self.epoch = self.epoch.wrapping_add(1);
    }

    /// Stores to this physical page have to ask again: code was translated from it.
    pub fn forbid_writes(&mut self, frame: u64) {
        for entry in self.entries().filter(|entry| entry.frame == frame) {
            entry.write = NO_PAGE;
        }
    }

    /// Stores have to ask again.
    pub fn forbid_all_writes(&mut self) {
        for entry in self.entries() {
            entry.write = NO_PAGE;
        }
    }

    fn entries(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.sets.iter_mut().take(FILLED).flat_map(|set| set.iter_mut())
    }

    /// Changes whenever a translation for fetches may have gone.
    #[inline(always)]
    pub fn epoch(&self) -> u32 {
        self.epoch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Allowed = Allowed { read: true, write: true, exec: true };

    #[test]
    fn an_entry_serves_its_page_until_it_is_flushed() {
        let mut tlb = Tlb::default();
        let host = 0x7000_0000 as *mut u8;
        tlb.fill(Set::User, 0x1234, Page { frame: 5, host, global: false, large: false }, ALL);
        tlb.fill(Set::User, 0x2000, Page { frame: 6, host, global: true, large: false }, ALL);
        assert_eq!(tlb.entry(Set::User, 0x1fff).read, 0x1000);
        assert_eq!(tlb.entry(Set::User, 0x1fff).addend.wrapping_add(0x1fff), 0x7000_0fff);
        assert_eq!(tlb.entry(Set::Supervisor, 0x1fff).read, NO_PAGE);
        tlb.flush(true);
        assert_eq!((tlb.entry(Set::User, 0x1000).read, tlb.entry(Set::User, 0x2000).read), (NO_PAGE, 0x2000));
        tlb.invalidate(0x2010);
        assert_eq!(tlb.entry(Set::User, 0x2000).read, NO_PAGE);
    }

    #[test]
    fn writes_are_forbidden_alone() {
        let mut tlb = Tlb::default();
        tlb.fill(
            Set::User,
            0x1000,
            Page { frame: 5, host: std::ptr::null_mut(), global: false, large: false },
            ALL,
        );
        tlb.forbid_writes(5);
        let entry = tlb.entry(Set::User, 0x1000);
        assert_eq!((entry.read, entry.write, entry.exec), (0x1000, NO_PAGE, 0x1000));
        let write = Allowed { write: true, ..Allowed::default() };
        tlb.fill(
            Set::User,
            0x1000,
            Page { frame: 5, host: std::ptr::null_mut(), global: false, large: false },
            write,
        );
        let entry = tlb.entry(Set::User, 0x1000);
        assert_eq!((entry.read, entry.write, entry.exec), (0x1000, 0x1000, 0x1000));
    }

    #[test]
    fn part_of_a_large_page_drops_all_of_it() {
        let mut tlb = Tlb::default();
        tlb.fill(
            Set::User,
            0x20_1000,
            Page { frame: 5, host: std::ptr::null_mut(), global: false, large: true },
            ALL,
        );
        tlb.invalidate(0x20_0000);
        assert_eq!(tlb.entry(Set::User, 0x20_1000).read, NO_PAGE);
    }
}
