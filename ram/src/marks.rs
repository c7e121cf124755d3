//! What is remembered of each page: written since the last look, and whether translated code was made from it.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use vm_memory::bitmap::{Bitmap, BitmapSlice, NewBitmap, WithBitmapSlice};

use crate::PAGE_SIZE;

const WRITTEN: u8 = 1;
const CODE: u8 = 2;

/// The marks of one contiguous region, in pages from its start. Clones share the marks.
#[derive(Debug, Clone, Default)]
pub struct PageMarks {
    shared: Arc<Shared>,
    /// Of this view, in bytes from the region's start.
    offset: usize,
}

#[derive(Debug, Default)]
struct Shared {
    pages: Box<[AtomicU8]>,
    any_rewritten: AtomicBool,
    rewritten: Mutex<Vec<usize>>,
}

impl PageMarks {
    fn page(&self, page: usize) -> Option<&AtomicU8> {
        self.shared.pages.get(page)
    }

    /// Somebody writes to this page.
    pub fn note_write(&self, page: usize) {
        let Some(marks) = self.page(page) else { return };
        // A plain store where nothing changes would still cost a locked instruction.
        let before = marks.load(Ordering::Relaxed);
        if before & WRITTEN == 0 {
            marks.fetch_or(WRITTEN, Ordering::Relaxed);
        }
        if before & CODE != 0 {
            self.shared.rewritten.lock().unwrap_or_else(PoisonError::into_inner).push(page);
            self.shared.any_rewritten.store(true, Ordering::Release);
        }
    }

    /// Translated code was made from this page.
    pub fn note_code(&self, page: usize) {
        if let Some(marks) = self.page(page) {
            marks.fetch_or(CODE, Ordering::Relaxed);
        }
    }

    /// All code made from this page was dropped.
    pub fn forget_code(&self, page: usize) {
        if let Some(marks) = self.page(page) {
            marks.fetch_and(!CODE, Ordering::Relaxed);
        }
    }

    /// Whether translated code was made from this page.
    pub fn has_code(&self, page: usize) -> bool {
        self.page(page).is_some_and(|marks| marks.load(Ordering::Relaxed) & CODE != 0)
    }

    /// Whether some page with code was written to since [`PageMarks::take_rewritten`].
    #[inline]
    pub fn any_rewritten(&self) -> bool {
        self.shared.any_rewritten.load(Ordering::Acquire)
    }

    /// The pages with code written to since the last call, in ascending order, each once.
    pub fn take_rewritten(&self) -> Vec<usize> {
        let mut list = self.shared.rewritten.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.any_rewritten.store(false, Ordering::Release);
        let mut pages = std::mem::take(&mut *list);
        pages.sort_unstable();
        pages.dedup();
        pages
    }

    /// The pages written to since the last call, in ascending order. A processor whose TLB lets it write without asking must
    /// flush it afterwards.
    pub fn take_written(&self) -> Vec<usize> {
        let take = |(page, marks): (usize, &AtomicU8)| {
            (marks.fetch_and(!WRITTEN, Ordering::Relaxed) & WRITTEN != 0).then_some(page)
        };
        self.shared.pages.iter().enumerate().filter_map(take).collect()
    }
}

impl<'a> WithBitmapSlice<'a> for PageMarks {
    type S = Self;
}

impl BitmapSlice for PageMarks {}

impl Bitmap for PageMarks {
    fn mark_dirty(&self, offset: usize, len: usize) {
        if len == 0 {
            return;
        }
        let first = self.offset.saturating_add(offset);
        let last = first.saturating_add(len - 1);
        for page in first / PAGE_SIZE as usize..=last / PAGE_SIZE as usize {
            self.note_write(page);
        }
    }

    fn dirty_at(&self, offset: usize) -> bool {
        self.page(self.offset.saturating_add(offset) / PAGE_SIZE as usize)
            .is_some_and(|marks| marks.load(Ordering::Relaxed) & WRITTEN != 0)
    }

    fn slice_at(&self, offset: usize) -> Self {
        Self { shared: Arc::clone(&self.shared), offset: self.offset.saturating_add(offset) }
    }
}

impl NewBitmap for PageMarks {
    fn with_len(len: usize) -> Self {
        let pages = (0..len.div_ceil(PAGE_SIZE as usize)).map(|_| AtomicU8::new(0)).collect();
        Self { shared: Arc::new(Shared { pages, ..Shared::default() }), offset: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_marks_every_page_it_touches_once() {
        let marks = PageMarks::with_len(4 * 4096);
        marks.mark_dirty(4095, 2);
        marks.slice_at(4096).mark_dirty(4096, 1);
        assert_eq!(marks.take_written(), [0, 1, 2]);
        assert_eq!(marks.take_written(), Vec::<usize>::new());
    }

    #[test]
    fn only_pages_with_code_are_reported_as_rewritten() {
        let marks = PageMarks::with_len(4 * 4096);
        marks.note_code(2);
        marks.mark_dirty(0, 2 * 4096);
        assert!(!marks.any_rewritten());
        marks.mark_dirty(2 * 4096 + 7, 1);
        marks.mark_dirty(2 * 4096 + 9, 1);
        assert!(marks.any_rewritten());
        assert_eq!(marks.take_rewritten(), [2]);
        assert!(!marks.any_rewritten());
        marks.forget_code(2);
        marks.mark_dirty(2 * 4096, 1);
        assert!(!marks.any_rewritten());
    }

    #[test]
    fn what_lies_outside_is_ignored() {
        let marks = PageMarks::with_len(4096);
        marks.mark_dirty(usize::MAX, 10);
        marks.mark_dirty(4096, 1);
        marks.mark_dirty(0, 0);
        assert_eq!(marks.take_written(), Vec::<usize>::new());
        assert!(!marks.has_code(7));
    }
}
