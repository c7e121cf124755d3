//! Tables as `scripts/kallsyms.c` lays them out, in both orders.

use super::*;

/// Tables of this many symbols, named `symbol0` and so on, 16 bytes apart; names are not compressed.
fn tables(count: usize, offsets_first: bool) -> Vec<u8> {
    tables_of(count, offsets_first, false)
}

/// The same, with the order of names in front of the tokens or without it.
fn tables_of(count: usize, offsets_first: bool, sequence: bool) -> Vec<u8> {
    let pad = |bytes: &mut Vec<u8>| bytes.resize(bytes.len().next_multiple_of(8), 0);
    let mut tokens = Vec::new();
    let mut index = Vec::new();
    for token in 0..=255u8 {
        index.extend_from_slice(&(tokens.len() as u16).to_le_bytes());
        if token.is_ascii_graphic() {
            tokens.push(token);
        }
        tokens.push(0);
    }
    pad(&mut tokens);
    let (mut names, mut markers, mut offsets) = (Vec::new(), Vec::new(), Vec::new());
    for symbol in 0..count {
        if symbol % 256 == 0 {
            markers.extend_from_slice(&(names.len() as u32).to_le_bytes());
        }
        let name = format!("Tsymbol{symbol}");
        names.push(name.len() as u8);
        names.extend_from_slice(name.as_bytes());
        offsets.extend_from_slice(&(-1 - 16 * symbol as i32).to_le_bytes());
    }
    pad(&mut names);
    pad(&mut markers);
    pad(&mut offsets);
    offsets.extend_from_slice(&0xffff_ffff_8100_0000u64.to_le_bytes());
    let mut number = (count as u64).to_le_bytes().to_vec();
    number.extend(names);
    number.extend(markers);
    if sequence {
        number
            .extend((0..count).flat_map(|symbol| [(symbol >> 16) as u8, (symbol >> 8) as u8, symbol as u8]));
        pad(&mut number);
    }
    number.extend(tokens);
    number.extend(index);
    if offsets_first { [offsets, number].concat() } else { [number, offsets].concat() }
}

fn in_memory(bytes: &[u8]) -> Vec<Symbols> {
    let ram = GuestRam::new(4 << 20).unwrap();
    ram.write(0, &[0x5a; 0x10_0000]).unwrap();
    ram.write(0x10_0000 + 0x1238, bytes).unwrap();
    Symbols::find(&ram)
}

#[test]
fn both_orders_are_read() {
    for offsets_first in [false, true] {
        let found = in_memory(&tables(1000, offsets_first));
        assert_eq!(found.len(), 1, "offsets first: {offsets_first}");
        assert_eq!(found[0].len(), 1000);
        let place = found[0].place(0xffff_ffff_8100_0000 + 16 * 777 + 5).unwrap();
        assert_eq!(place.to_string(), "symbol777+0x5");
        assert_eq!(found[0].address("symbol3"), Some(0xffff_ffff_8100_0030));
        assert_eq!(found[0].place(0x1000), None);
    }
}

#[test]
fn the_order_of_names_may_lie_between() {
    for count in [600, 19_152, 20_000] {
        let found = in_memory(&tables_of(count, true, true));
        assert_eq!(found.len(), 1, "{count}");
        assert_eq!(found[0].len(), count);
        assert_eq!(found[0].address("symbol7"), Some(0xffff_ffff_8100_0070));
    }
}

#[test]
fn damaged_tables_are_none() {
    let whole = tables(1000, false);
    for at in [0, 1, 9, whole.len() / 2] {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x55;
        // Either nothing is found, or nothing depends on that byte: never a panic.
        let _ = in_memory(&damaged);
    }
    assert_eq!(in_memory(&whole[..whole.len() / 3]), vec![]);
    let mut count = whole;
    count[1] ^= 0xff;
    assert_eq!(in_memory(&count), vec![]);
}
