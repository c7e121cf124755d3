//! The software TLB: linear pages that may be read, written or fetched from without asking again, and where they lie in this
//! process.
//!
//! A tag is set only if the access needs nothing more: no permission check, no accessed or dirty bit to set, no device, no page
//! with translated code (for writes), no page that still has to be marked as written.

use rustc_hash::FxHashSet;

use crate::memory::PAGE_MASK;

/// Entries of each set.
const ENTRIES: usize = 1024;
/// Sets that ever have entries: all but [`Set::UserAligned`].
const FILLED: usize = 3;
/// log2 of the sizes of pages beyond 4 KiB.
const LARGE: [u8; 3] = [21, 22, 30];
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
    /// log2 of the size of the page that it is a part of.
    shift: u8,
    /// Its place is in [`Tlb::used`].
    used: bool,
}

impl Entry {
    const EMPTY: Self = Self {
        read: NO_PAGE,
        write: NO_PAGE,
        exec: NO_PAGE,
        addend: 0,
        frame: 0,
        global: false,
        shift: 12,
        used: false,
    };

    fn clear(&mut self) {
        *self = Self { used: self.used, ..Self::EMPTY };
    }

    /// Whether it serves some access to this 4 KiB page.
    fn serves(&self, page: u64) -> bool {
        [self.read, self.write, self.exec].contains(&page)
    }

    /// Any of its tags.
    fn page(&self) -> Option<u64> {
        [self.read, self.write, self.exec].into_iter().find(|tag| *tag != NO_PAGE)
    }
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
    /// log2 of the size of the page that it is a part of.
    pub shift: u8,
}

/// The entries of one processor.
pub struct Tlb {
    sets: [Box<[Entry; ENTRIES]>; 4],
    /// Places of entries that may not be empty, so that to forget them costs no more than it did to learn them.
    used: Vec<(Set, u16)>,
    /// Large pages of which something was cached, as number and log2 of the size: INVLPG of any address of one must drop all of it.
    large: FxHashSet<(u64, u8)>,
    /// Changes whenever an entry that could be fetched from goes away.
    epoch: u32,
}

impl Default for Tlb {
    fn default() -> Self {
        Self {
            sets: std::array::from_fn(|_| Box::new([Entry::EMPTY; ENTRIES])),
            used: Vec::new(),
            large: FxHashSet::default(),
            epoch: 0,
        }
    }
}

/// Where the only entry is that can serve this address.
#[inline(always)]
fn place(linear: u64) -> usize {
    (linear >> 12) as usize % ENTRIES
}

impl Tlb {
    /// The only entry that can serve this address.
    #[inline(always)]
    pub fn entry(&self, set: Set, linear: u64) -> &Entry {
        &self.sets[set as usize][place(linear)]
    }

    /// Notes what a page may be used for from now on.
    pub fn fill(&mut self, set: Set, linear: u64, to: Page, allowed: Allowed) {
        let page = linear & PAGE_MASK;
        let entry = &mut self.sets[set as usize][place(linear)];
        let same = entry.frame == to.frame && entry.serves(page);
        if !same {
            if entry.exec != NO_PAGE {
                self.epoch = self.epoch.wrapping_add(1);
            }
            entry.clear();
        }
        let tag = |allowed: bool, before: u64| if allowed { page } else { before };
        if !entry.used {
            self.used.push((set, place(linear) as u16));
        }
        *entry = Entry {
            read: tag(allowed.read, entry.read),
            write: tag(allowed.write, entry.write),
            exec: tag(allowed.exec, entry.exec),
            addend: (to.host as usize).wrapping_sub(page as usize),
            frame: to.frame,
            global: to.global,
            shift: to.shift,
            used: true,
        };
        if to.shift > 12 {
            self.large.insert((linear >> to.shift, to.shift));
        }
    }

    /// Forgets everything, or all but global pages.
    pub fn flush(&mut self, keep_global: bool) {
        self.forget(|entry, _| !(keep_global && entry.global));
        if !keep_global {
            self.large.clear();
        }
    }

    /// Forgets the page of this address, however large it is (INVLPG, SDM 3A 4.10.4.1).
    pub fn invalidate(&mut self, linear: u64) {
        let page = linear & PAGE_MASK;
        for set in self.sets.iter_mut().take(FILLED) {
            let entry = &mut set[place(linear)];
            if entry.serves(page) {
                if entry.exec != NO_PAGE {
                    self.epoch = self.epoch.wrapping_add(1);
                }
                entry.clear();
            }
        }
        for shift in LARGE {
            let number = linear >> shift;
            if self.large.remove(&(number, shift)) {
                self.forget(|entry, page| entry.shift == shift && page >> shift == number);
            }
        }
    }

    /// Clears the entries of which this holds, given any of their tags.
    fn forget(&mut self, which: impl Fn(&Entry, u64) -> bool) {
        let Self { sets, used, epoch, .. } = self;
        used.retain(|(set, place)| {
            let entry = &mut sets[*set as usize][usize::from(*place) % ENTRIES];
            let keep = entry.page().is_some_and(|page| !which(entry, page));
            if !keep {
                if entry.exec != NO_PAGE {
                    *epoch = epoch.wrapping_add(1);
                }
                *entry = Entry::EMPTY;
            }
            keep
        });
    }

    /// Stores to this physical page have to ask again: code was translated from it.
    pub fn forbid_writes(&mut self, frame: u64) {
        self.each_used(|entry| {
            if entry.frame == frame {
                entry.write = NO_PAGE;
            }
        });
    }

    /// Stores have to ask again.
    pub fn forbid_all_writes(&mut self) {
        self.each_used(|entry| entry.write = NO_PAGE);
    }

    fn each_used(&mut self, mut change: impl FnMut(&mut Entry)) {
        let Self { sets, used, .. } = self;
        for (set, place) in used {
            change(&mut sets[*set as usize][usize::from(*place) % ENTRIES]);
        }
    }

    /// Where fetches led before says nothing any more.
    pub fn forget_fetches(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
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
    use proptest::prelude::*;

    const ALL: Allowed = Allowed { read: true, write: true, exec: true };

    #[test]
    fn an_entry_serves_its_page_until_it_is_flushed() {
        let mut tlb = Tlb::default();
        let host = 0x7000_0000 as *mut u8;
        tlb.fill(Set::User, 0x1234, Page { frame: 5, host, global: false, shift: 12 }, ALL);
        tlb.fill(Set::User, 0x2000, Page { frame: 6, host, global: true, shift: 12 }, ALL);
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
            Page { frame: 5, host: std::ptr::null_mut(), global: false, shift: 12 },
            ALL,
        );
        tlb.forbid_writes(5);
        let entry = tlb.entry(Set::User, 0x1000);
        assert_eq!((entry.read, entry.write, entry.exec), (0x1000, NO_PAGE, 0x1000));
        let write = Allowed { write: true, ..Allowed::default() };
        tlb.fill(
            Set::User,
            0x1000,
            Page { frame: 5, host: std::ptr::null_mut(), global: false, shift: 12 },
            write,
        );
        let entry = tlb.entry(Set::User, 0x1000);
        assert_eq!((entry.read, entry.write, entry.exec), (0x1000, 0x1000, 0x1000));
    }

    #[test]
    fn any_address_of_a_large_page_drops_all_of_it_and_nothing_else() {
        let mut tlb = Tlb::default();
        let page = |frame, shift| Page { frame, host: std::ptr::null_mut(), global: true, shift };
        tlb.fill(Set::User, 0x20_1000, page(5, 21), ALL);
        tlb.fill(Set::Supervisor, 0x20_2000, page(6, 21), ALL);
        tlb.fill(Set::User, 0x4000_3000, page(7, 30), ALL);
        tlb.fill(Set::User, 0x40_4000, page(8, 21), ALL);
        tlb.fill(Set::User, 0x5000, page(9, 12), ALL);
        let epoch = tlb.epoch();
        tlb.invalidate(0x1_0000_0000);
        assert_eq!(tlb.epoch(), epoch, "nothing was there");
        tlb.invalidate(0x3f_ffff);
        assert_ne!(tlb.epoch(), epoch);
        let read = |set, linear| tlb.entry(set, linear).read != NO_PAGE;
        assert_eq!((read(Set::User, 0x20_1000), read(Set::Supervisor, 0x20_2000)), (false, false));
        assert!(read(Set::User, 0x4000_3000) && read(Set::User, 0x40_4000) && read(Set::User, 0x5000));
        tlb.invalidate(0x7fff_ffff);
        assert_eq!(tlb.entry(Set::User, 0x4000_3000).read, NO_PAGE);
    }

    proptest! {
        /// Against a list of what was put in: whatever is found must be there, and what was flushed must be gone.
        #[test]
        fn nothing_survives_what_should_drop_it(
            steps in prop::collection::vec((0u64..64, 0u8..4, any::<bool>()), 1..200),
        ) {
            let mut tlb = Tlb::default();
            let mut there: Vec<(u64, bool)> = Vec::new();
            let linear = |number: u64| (number & 7) << 12 | (number >> 3) << 24;
            for (number, step, global) in steps {
                match step {
                    0 | 1 => {
                        let page = Page { frame: number, host: std::ptr::null_mut(), global, shift: 12 };
                        tlb.fill(Set::User, linear(number), page, ALL);
                        there.retain(|(other, _)| *other != number);
                        there.push((number, global));
                    }
                    2 => {
                        tlb.invalidate(linear(number));
                        there.retain(|(other, _)| *other != number);
                    }
                    _ => {
                        tlb.flush(global);
                        there.retain(|(_, kept)| global && *kept);
                    }
                }
                for other in 0..64 {
                    let found = tlb.entry(Set::User, linear(other)).read == linear(other);
                    prop_assert!(!found || there.iter().any(|(number, _)| *number == other));
                }
                prop_assert!(tlb.used.len() <= 64);
            }
        }
    }
}
