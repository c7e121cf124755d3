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
const FILLED: usize = 5;
/// log2 of the sizes of pages beyond 4 KiB.
const LARGE: [u8; 3] = [21, 22, 30];
/// No page has this number.
const NO_PAGE: u64 = 1;

/// Which accesses a set of entries serves. Fetches have their own, so that data does not push them out. SMAP makes a supervisor's accesses depend on RFLAGS.AC (SDM 3A 4.6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Set {
    /// Supervisor; no user pages under SMAP.
    Supervisor,
    /// Supervisor with RFLAGS.AC set.
    SupervisorAc,
    /// User.
    User,
    /// Fetches by the supervisor.
    SupervisorCode,
    /// Fetches by user code.
    UserCode,
    /// User with RFLAGS.AC and CR0.AM set: alignment is checked. It has no entries, so that every access goes the slow way, which
    /// checks, and then uses those of [`Set::User`].
    UserAligned,
}

/// One page. 32 bytes: it is looked up for every access.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// Linear page that may be read (of code: fetched from), or [`NO_PAGE`].
    pub read: u64,
    /// ... written.
    pub write: u64,
    /// Added to a linear address gives the address in this process.
    pub addend: usize,
    /// Physical page. 32 bits are enough for all memory there can be.
    frame: u32,
    /// Survives a change of CR3.
    global: bool,
    /// log2 of the size of the page that it is a part of.
    shift: u8,
    /// Its place is in [`Tlb::used`].
    used: bool,
}

const _: () = assert!(size_of::<Entry>() == 32 && ram::MAX_BYTES + ram::HOLE_END <= 1 << 44);

impl Entry {
    const EMPTY: Self =
        Self { read: NO_PAGE, write: NO_PAGE, addend: 0, frame: 0, global: false, shift: 12, used: false };

    /// Physical page.
    pub fn frame(&self) -> u64 {
        u64::from(self.frame)
    }

    fn clear(&mut self) {
        *self = Self { used: self.used, ..Self::EMPTY };
    }

    /// Whether it serves some access to this 4 KiB page.
    fn serves(&self, page: u64) -> bool {
        [self.read, self.write].contains(&page)
    }

    /// Any of its tags.
    fn page(&self) -> Option<u64> {
        [self.read, self.write].into_iter().find(|tag| *tag != NO_PAGE)
    }
}

impl Set {
    /// Those that ever have entries.
    const FILLED: [Self; FILLED] =
        [Self::Supervisor, Self::SupervisorAc, Self::User, Self::SupervisorCode, Self::UserCode];

    fn is_code(self) -> bool {
        matches!(self, Self::SupervisorCode | Self::UserCode)
    }

    /// Whether it serves privilege level 3.
    pub fn is_user(self) -> bool {
        matches!(self, Self::User | Self::UserCode | Self::UserAligned)
    }
}

/// What a page may be used for without asking again.
#[derive(Debug, Clone, Copy, Default)]
pub struct Allowed {
    /// Loads, or fetches.
    pub read: bool,
    /// Stores.
    pub write: bool,
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
    sets: [Box<[Entry; ENTRIES]>; FILLED + 1],
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
        let same = entry.frame() == to.frame && entry.serves(page);
        if !same {
            if set.is_code() && entry.read != NO_PAGE {
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
            addend: (to.host as usize).wrapping_sub(page as usize),
            frame: to.frame as u32,
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
        for set in Set::FILLED {
            let entry = &mut self.sets[set as usize][place(linear)];
            if entry.serves(page) {
                if set.is_code() {
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
                if set.is_code() {
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
            if entry.frame() == frame {
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
mod tests;
