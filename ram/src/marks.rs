//! What is remembered of each page: written since the last look, and whether translated code was made from it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use vm_memory::bitmap::{Bitmap, BitmapSlice, NewBitmap, WithBitmapSlice};

use crate::PAGE_SIZE;
use crate::foreign::Foreign;

/// The marks of one contiguous region, in pages from its start. Clones share the marks.
#[derive(Debug, Clone, Default)]
pub struct PageMarks {
    shared: Arc<Shared>,
    /// Of this view, in bytes from the region's start.
    offset: usize,
}

#[derive(Debug, Default)]
struct Shared {
    pages: usize,
    written: Bits,
    /// Words of `written` that may have a bit set: who takes them looks at no others.
    written_words: Bits,
    code: Bits,
    foreign: Foreign,
    any_rewritten: AtomicBool,
    rewritten: Mutex<Vec<usize>>,
}

/// A bit for each of so many things.
#[derive(Debug, Default)]
struct Bits(Box<[AtomicU64]>);

impl Bits {
    const IN_WORD: usize = u64::BITS as usize;

    fn new(count: usize) -> Self {
        Self((0..count.div_ceil(Self::IN_WORD)).map(|_| AtomicU64::new(0)).collect())
    }

    fn word(&self, at: usize) -> Option<(&AtomicU64, u64)> {
        self.0.get(at / Self::IN_WORD).map(|word| (word, 1 << (at % Self::IN_WORD)))
    }

    #[inline]
    fn has(&self, at: usize) -> bool {
        self.word(at).is_some_and(|(word, bit)| word.load(Ordering::Relaxed) & bit != 0)
    }

    /// Whether it was clear before. To set a bit that is set costs no locked instruction.
    #[inline]
    fn set(&self, at: usize) -> bool {
        self.word(at).is_some_and(|(word, bit)| {
            word.load(Ordering::Relaxed) & bit == 0 && word.fetch_or(bit, Ordering::Relaxed) & bit == 0
        })
    }

    fn clear(&self, at: usize) {
        if let Some((word, bit)) = self.word(at) {
            word.fetch_and(!bit, Ordering::Relaxed);
        }
    }

    fn clear_all(&self) {
        self.0.iter().for_each(|word| word.store(0, Ordering::Relaxed));
    }

    /// Clears a word, and calls this with each bit that was set, in ascending order.
    fn take_word(&self, word: usize, mut each: impl FnMut(usize)) {
        let mut bits = self.0.get(word).map_or(0, |word| match word.load(Ordering::Relaxed) {
            0 => 0,
            _ => word.swap(0, Ordering::Relaxed),
        });
        while bits != 0 {
            each(word * Self::IN_WORD + bits.trailing_zeros() as usize);
            bits &= bits - 1;
        }
    }
}

impl PageMarks {
    /// Somebody writes to this page.
    pub fn note_write(&self, page: usize) {
        let shared = &self.shared;
        if page >= shared.pages {
            return;
        }
        if shared.written.set(page) {
            shared.written_words.set(page / Bits::IN_WORD);
        }
        if shared.code.has(page) {
            shared.rewritten.lock().unwrap_or_else(PoisonError::into_inner).push(page);
            shared.any_rewritten.store(true, Ordering::Release);
        }
    }

    /// Who else writes.
    pub(crate) fn foreign(&self) -> &Foreign {
        &self.shared.foreign
    }

    /// Translated code was made from this page.
    pub fn note_code(&self, page: usize) {
        self.shared.code.set(page);
    }

    /// All code made from this page was dropped.
    pub fn forget_code(&self, page: usize) {
        self.shared.code.clear(page);
    }

    /// All code was dropped.
    pub fn forget_all_code(&self) {
        self.shared.code.clear_all();
    }

    /// Whether translated code was made from this page.
    pub fn has_code(&self, page: usize) -> bool {
        self.shared.code.has(page)
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

    /// The pages written to since the last call, in ascending order, at a cost that depends on their number and hardly on that of
    /// all pages. A processor whose TLB lets it write without asking must ask again afterwards.
    pub fn take_written(&self) -> Vec<usize> {
        let Shared { written, written_words, .. } = &*self.shared;
        let mut pages = Vec::new();
        for word in 0..written_words.0.len() {
            written_words.take_word(word, |word| written.take_word(word, |page| pages.push(page)));
        }
        pages
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
            // Processors write through pointers, and do not come by here.
            if page < self.shared.pages {
                self.shared.foreign.note(page);
            }
        }
    }

    fn dirty_at(&self, offset: usize) -> bool {
        self.shared.written.has(self.offset.saturating_add(offset) / PAGE_SIZE as usize)
    }

    fn slice_at(&self, offset: usize) -> Self {
        Self { shared: Arc::clone(&self.shared), offset: self.offset.saturating_add(offset) }
    }
}

impl NewBitmap for PageMarks {
    fn with_len(len: usize) -> Self {
        let pages = len.div_ceil(PAGE_SIZE as usize);
        let written = Bits::new(pages);
        let written_words = Bits::new(written.0.len());
        let shared = Shared { pages, written, written_words, code: Bits::new(pages), ..Shared::default() };
        Self { shared: Arc::new(shared), offset: 0 }
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
    fn written_pages_are_found_wherever_they_are() {
        let marks = PageMarks::with_len(100_000 * 4096);
        let pages = [0, 1, 63, 64, 4095, 4096, 65_535, 99_999];
        for page in pages.iter().rev() {
            marks.note_write(*page);
        }
        assert!(marks.dirty_at(4095 * 4096) && !marks.dirty_at(4094 * 4096));
        assert_eq!(marks.take_written(), pages);
        assert!(!marks.dirty_at(4095 * 4096));
        marks.note_write(64);
        assert_eq!(marks.take_written(), [64]);
    }

    #[test]
    fn all_code_can_be_forgotten_at_once() {
        let marks = PageMarks::with_len(200 * 4096);
        marks.note_code(3);
        marks.note_code(199);
        marks.forget_all_code();
        marks.note_write(3);
        assert!(!marks.has_code(199) && !marks.any_rewritten());
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
