//! Physical region pages: where the data of a command is (4.3).

use ram::GuestRam;

use super::status::Status;
use crate::pci::dma::Segment;

/// Bytes of a page: the only size there is.
const PAGE: u64 = 4096;
/// Most bytes of a command's data: 2^8 pages (MDTS).
pub(super) const MAX_TRANSFER_EXPONENT: u8 = 8;
/// The same in bytes.
pub(super) const MAX_TRANSFER: u64 = PAGE << MAX_TRANSFER_EXPONENT;

/// The segments of `length` bytes of data, at most [`MAX_TRANSFER`].
pub(super) fn walk(prp: [u64; 2], length: u64, ram: &GuestRam) -> Result<Vec<Segment>, Status> {
    if length > MAX_TRANSFER {
        return Err(Status::InvalidField);
    }
    let [first, second] = prp;
    if !first.is_multiple_of(4) {
        return Err(Status::InvalidPrpOffset);
    }
    let in_first = length.min(PAGE - first % PAGE);
    let mut segments = vec![Segment { address: first, length: in_first as u32 }];
    let mut left = length - in_first;
    if left == 0 {
        return Ok(segments);
    }
    if left <= PAGE {
        segments.push(Segment { address: page(second)?, length: left as u32 });
        return Ok(segments);
    }
    if !second.is_multiple_of(8) {
        return Err(Status::InvalidPrpOffset);
    }
    let mut entry = second;
    while left > 0 {
        let mut address = read(entry, ram)?;
        // The last entry of a page of the list leads to the next page of it, if there is more than it could describe.
        if entry % PAGE == PAGE - 8 && left > PAGE {
            entry = page(address)?;
            address = read(entry, ram)?;
        }
        let part = left.min(PAGE);
        segments.push(Segment { address: page(address)?, length: part as u32 });
        left -= part;
        entry = entry.wrapping_add(8);
    }
    Ok(segments)
}

fn page(address: u64) -> Result<u64, Status> {
    if address.is_multiple_of(PAGE) { Ok(address) } else { Err(Status::InvalidPrpOffset) }
}

fn read(address: u64, ram: &GuestRam) -> Result<u64, Status> {
    let mut bytes = [0; 8];
    ram.read(address, &mut bytes).map_err(|_| Status::DataTransfer)?;
    Ok(u64::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ram() -> GuestRam {
        GuestRam::new(1 << 20).unwrap()
    }

    fn walked(prp: [u64; 2], length: u64, ram: &GuestRam) -> Vec<(u64, u32)> {
        let segments = walk(prp, length, ram).unwrap();
        segments.iter().map(|segment| (segment.address, segment.length)).collect()
    }

    #[test]
    fn one_or_two_pages_need_no_list() {
        let ram = ram();
        assert_eq!(walked([0x1ffc, 0], 4, &ram), [(0x1ffc, 4)]);
        assert_eq!(walked([0x1800, 0x5000], 0x1800, &ram), [(0x1800, 0x800), (0x5000, 0x1000)]);
    }

    #[test]
    fn a_list_goes_on_in_another_page() {
        let ram = ram();
        // Two entries fit before the end of the page; the second leads on.
        for (at, entry) in [(0x8ff0, 0x2_0000u64), (0x8ff8, 0x9000), (0x9000, 0x3_0000), (0x9008, 0x4_0000)] {
            ram.write(at, &entry.to_le_bytes()).unwrap();
        }
        let segments = walked([0x1_0000, 0x8ff0], 0x3200, &ram);
        assert_eq!(segments, [(0x1_0000, 0x1000), (0x2_0000, 0x1000), (0x3_0000, 0x1000), (0x4_0000, 0x200)]);
        // The last entry describes the last page itself.
        ram.write(0x8ff8, &0x5_0000u64.to_le_bytes()).unwrap();
        assert_eq!(walked([0x1_0000, 0x8ff0], 0x2200, &ram)[2], (0x5_0000, 0x200));
    }

    #[test]
    fn impossible_ones_are_refused() {
        let ram = ram();
        assert_eq!(walk([0x1000, 0], MAX_TRANSFER + 1, &ram), Err(Status::InvalidField));
        assert_eq!(walk([0x1002, 0], 512, &ram), Err(Status::InvalidPrpOffset));
        assert_eq!(walk([0x1800, 0x2004], 4096, &ram), Err(Status::InvalidPrpOffset));
        assert_eq!(walk([0x1000, 0x8004], 0x4000, &ram), Err(Status::InvalidPrpOffset));
        assert_eq!(walk([0x1000, 1 << 40], 0x4000, &ram), Err(Status::DataTransfer));
        ram.write(0x8000, &0x2008u64.to_le_bytes()).unwrap();
        assert_eq!(walk([0x1000, 0x8000], 0x4000, &ram), Err(Status::InvalidPrpOffset));
    }
}
