//! Symbols of the kernel that runs in a guest, from its own tables in memory: any kernel with CONFIG_KALLSYMS, also a stock one, at
//! whatever address it placed itself.
//!
//! The tables (`scripts/kallsyms.c`) have no header. What is unmistakable in them is the table of 256 tokens that names are compressed
//! with, since the digits stand for themselves in it. Everything else lies around it, in one of two orders:
//!
//! - before 6.4: offsets, relative base, number, names, markers, in stable releases names' order, *tokens*, token index;
//! - since: number, names, markers, *tokens*, token index, offsets, relative base.

use ram::{GuestRam, PAGE_SIZE};

/// A symbol and an address in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its name.
    pub name: String,
    /// Bytes from its start.
    pub offset: u64,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}+{:#x}", self.name, self.offset)
    }
}

/// Addresses and names, by ascending address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Symbols(Vec<(u64, String)>);

/// Digits as tokens: each one character and its end.
const DIGITS: &[u8; 20] = b"0\x001\x002\x003\x004\x005\x006\x007\x008\x009\x00";
/// Longest part of memory a kernel's tables can take, before and behind the tokens.
const REACH: usize = 24 << 20;
/// No kernel has more symbols, and none fewer that is one.
const COUNTS: std::ops::Range<usize> = 500..1_000_000;
/// Names between two markers.
const STRIDE: usize = 256;

impl Symbols {
    /// The symbols of every kernel found in memory; several may be there after a kexec.
    pub fn find(ram: &GuestRam) -> Vec<Self> {
        let mut memory = Vec::new();
        // Memory below the hole: kernels of this machine live there.
        let bytes = ram.bytes().min(ram::HOLE_START) / PAGE_SIZE * PAGE_SIZE;
        memory.resize(usize::try_from(bytes).unwrap_or(0), 0);
        if ram.read(0, &mut memory).is_err() {
            return Vec::new();
        }
        Self::find_in(&memory)
    }

    /// The symbols of every kernel in these bytes: of memory, or of an unpacked kernel, where addresses are as it was linked.
    pub fn find_in(bytes: &[u8]) -> Vec<Self> {
        let tables = memchr::memmem::find_iter(bytes, DIGITS);
        tables.filter_map(|at| Tables::around(bytes, at)?.symbols()).collect()
    }

    /// The symbol an address lies in: the last one at or before it, if that is not far away.
    pub fn place(&self, address: u64) -> Option<Place> {
        const FAR: u64 = 1 << 20;
        let after = self.0.partition_point(|(start, _)| *start <= address);
        let (start, name) = self.0.get(after.checked_sub(1)?)?;
        let offset = address - start;
        (offset < FAR).then(|| Place { name: name.clone(), offset })
    }

    /// From the symbol that an address lies in to the next one.
    pub fn extent(&self, address: u64) -> Option<std::ops::Range<u64>> {
        let after = self.0.partition_point(|(start, _)| *start <= address);
        Some(self.0.get(after.checked_sub(1)?)?.0..self.0.get(after)?.0)
    }

    /// The address of a name.
    pub fn address(&self, name: &str) -> Option<u64> {
        self.0.iter().find_map(|(address, symbol)| (symbol == name).then_some(*address))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The tables of one kernel.
struct Tables<'a> {
    memory: &'a [u8],
    tokens: Vec<&'a [u8]>,
    names: usize,
    count: usize,
    /// Position of the number of symbols.
    number: usize,
    /// First byte behind the token index.
    index_end: usize,
}

impl<'a> Tables<'a> {
    /// The tables whose tokens have the digits here.
    fn around(memory: &'a [u8], digits: usize) -> Option<Self> {
        let first = tokens_before(memory, digits, usize::from(b'0'))?;
        // What lies before may end without a zero: then the table begins at a place that is aligned.
        let aligned = (first.next_multiple_of(8)..first + 64).step_by(8);
        std::iter::once(first).chain(aligned).find_map(|start| Self::at(memory, start))
    }

    /// The tables whose tokens begin here.
    fn at(memory: &'a [u8], start: usize) -> Option<Self> {
        let mut tokens = Vec::with_capacity(256);
        let mut at = start;
        for _ in 0..256 {
            let len = memory.get(at..at + 64)?.iter().position(|byte| *byte == 0)?;
            tokens.push(memory.get(at..at + len)?);
            at += len + 1;
        }
        // The index says where each token begins: 256 numbers of 16 bits.
        let index = at.next_multiple_of(8);
        let mut expected = 0;
        for (token, entry) in tokens.iter().zip(memory.get(index..index + 512)?.chunks_exact(2)) {
            if entry != u16::to_le_bytes(u16::try_from(expected).ok()?) {
                return None;
            }
            expected += token.len() + 1;
        }
        let directly =
            markers_before(memory, start).and_then(|(markers, count)| names_before(memory, markers, count));
        let (number, names) = directly.or_else(|| names_before_sequence(memory, start))?;
        let count = usize::try_from(u32_at(memory, number)?).ok()?;
        Some(Self { memory, tokens, names, count, number, index_end: index + 512 })
    }

    fn symbols(&self) -> Option<Symbols> {
        let offsets = self.offsets()?;
        let mut at = self.names;
        let mut symbols = Vec::with_capacity(self.count);
        for address in offsets {
            let (len, header) = name_len(self.memory, at)?;
            let bytes = self.memory.get(at + header..at + header + len)?;
            let name: Vec<u8> = bytes
                .iter()
                .flat_map(|token| self.tokens.get(usize::from(*token)).copied().unwrap_or_default())
                .copied()
                .collect();
            at += header + len;
            // The first character is the type, as nm shows it.
            if let Some(name) = name.get(1..) {
                symbols.push((address, String::from_utf8_lossy(name).into_owned()));
            }
        }
        symbols.sort_by_key(|(address, _)| *address);
        Some(Symbols(symbols))
    }

    /// Addresses of the symbols, in the order of their names.
    fn offsets(&self) -> Option<Vec<u64>> {
        let bytes = self.count * 4;
        let behind = (self.index_end, (self.index_end + bytes).next_multiple_of(8));
        let base = self.number.checked_sub(8)?;
        let before = (base.checked_sub(bytes.next_multiple_of(8))?, base);
        [behind, before].into_iter().find_map(|(offsets, base)| {
            let base = u64::from_le_bytes(self.memory.get(base..base + 8)?.try_into().ok()?);
            // The relative base is the kernel's lowest address, at the end of the address space.
            if base < 0xffff_ffff_8000_0000 || base == u64::MAX {
                return None;
            }
            let address = |raw: &[u8]| {
                let offset = i32::from_le_bytes(raw.try_into().unwrap_or_default());
                // CONFIG_KALLSYMS_ABSOLUTE_PERCPU: what is not negative is absolute.
                if offset >= 0 {
                    offset as u64
                } else {
                    base.wrapping_sub(1).wrapping_sub(offset as i64 as u64)
                }
            };
            Some(self.memory.get(offsets..offsets + bytes)?.chunks_exact(4).map(address).collect())
        })
    }
}

/// Where the table begins if this many tokens lie before this place.
fn tokens_before(memory: &[u8], end: usize, count: usize) -> Option<usize> {
    let mut at = end;
    for _ in 0..count {
        // `at - 1` ends the token before; look for the end of the one before that.
        let before = memory.get(at.saturating_sub(64)..at.checked_sub(1)?)?;
        at = match before.iter().rposition(|byte| *byte == 0) {
            Some(zero) => at.saturating_sub(64) + zero + 1,
            None => return None,
        };
    }
    // Padding in front of the table looks like empty tokens.
    Some(at)
}

/// Where the markers begin that end before this place, and how many they are: positions of every 256th name, ascending from 0.
fn markers_before(memory: &[u8], end: usize) -> Option<(usize, usize)> {
    let mut at = end / 8 * 8;
    // Padding to 8 bytes.
    if u32_at(memory, at.checked_sub(4)?)? == 0 {
        at -= 4;
    }
    let mut last = u32::MAX;
    let mut count = 0;
    loop {
        at = at.checked_sub(4)?;
        let marker = u32_at(memory, at)?;
        if marker >= last || last != u32::MAX && (last - marker) as usize > STRIDE * 512 {
            return None;
        }
        count += 1;
        if marker == 0 {
            return Some((at, count));
        }
        last = marker;
    }
}

/// Where the number of symbols and their names are, which end before the markers.
fn names_before(memory: &[u8], markers: usize, count: usize) -> Option<(usize, usize)> {
    let least = (count - 1) * STRIDE;
    let mut number = markers.checked_sub(8)? / 8 * 8;
    let lowest = markers.saturating_sub(REACH);
    while number > lowest {
        number -= 8;
        let names = number + 8;
        let symbols = u32_at(memory, number)? as usize;
        if !COUNTS.contains(&symbols) || symbols <= least || symbols > least + STRIDE {
            continue;
        }
        if names_end(memory, names, symbols, markers).is_some_and(|end| end.next_multiple_of(8) == markers) {
            return Some((number, names));
        }
    }
    None
}

/// The same, with the numbers of the symbols by name, 3 bytes each, between the markers and this place.
fn names_before_sequence(memory: &[u8], tokens: usize) -> Option<(usize, usize)> {
    let lowest = tokens.saturating_sub(REACH);
    let mut number = tokens / 8 * 8;
    while number > lowest {
        number = number.checked_sub(8)?;
        let (names, symbols) = (number + 8, u32_at(memory, number)? as usize);
        // Each symbol has its number and at least two bytes of a name.
        if !COUNTS.contains(&symbols)
            || symbols * 5 > tokens.saturating_sub(names)
            || u32_at(memory, number + 4)? != 0
        {
            continue;
        }
        let Some(end) = names_end(memory, names, symbols, tokens) else { continue };
        let markers = end.next_multiple_of(8);
        let sequence = (markers + symbols.div_ceil(STRIDE) * 4).next_multiple_of(8);
        if u32_at(memory, markers)? == 0 && (sequence + symbols * 3).next_multiple_of(8) == tokens {
            return Some((number, names));
        }
    }
    None
}

fn names_end(memory: &[u8], names: usize, symbols: usize, limit: usize) -> Option<usize> {
    let mut at = names;
    for _ in 0..symbols {
        let (len, header) = name_len(memory, at)?;
        at += header + len;
        if len == 0 || at > limit {
            return None;
        }
    }
    Some(at)
}

/// Tokens of a name, and bytes that say so: one, or since 6.1 two for long names.
fn name_len(memory: &[u8], at: usize) -> Option<(usize, usize)> {
    let first = usize::from(*memory.get(at)?);
    if first & 0x80 == 0 {
        return Some((first, 1));
    }
    let second = usize::from(*memory.get(at + 1)?);
    Some((first & 0x7f | second << 7, 2))
}

fn u32_at(memory: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(memory.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests;
