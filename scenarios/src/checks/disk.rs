//! O1 and O11: what lies on the disks, read from outside.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use agent_protocol::image::{HEADER_LEN, Header, State};
use devices::disk::{BLOCK, BaseError, Media};

/// Bytes of a page of swap, at whose end the signature stands.
const PAGE: u64 = 4096;
const SIGNATURE: u64 = 10;
/// A swap partition without an image.
const EMPTY_SWAP: [u8; SIGNATURE as usize] = *b"SWAPSPACE2";

/// What stands in the signature of the swap partition at this byte of the disk, if it is not that of an empty one.
///
/// # Errors
/// [`BaseError`].
pub fn image_in_swap(media: &Media, start: u64) -> Result<Option<String>, BaseError> {
    let mut signature = [0; SIGNATURE as usize];
    media.read(start.saturating_add(PAGE - SIGNATURE), &mut signature)?;
    Ok((signature != EMPTY_SWAP)
        .then(|| String::from_utf8_lossy(&signature).trim_end_matches('\0').to_owned()))
}

/// Whether the image partition at this byte of the disk holds an image that would be entered.
///
/// # Errors
/// [`BaseError`].
pub fn holds_valid_image(media: &Media, start: u64) -> Result<bool, BaseError> {
    let mut sector = [0; HEADER_LEN];
    media.read(start, &mut sector)?;
    Ok(Header::decode(&sector).is_ok_and(|header| header.state == State::Valid))
}

/// Writes a stretch of a disk to a file, holes as holes.
///
/// # Errors
/// Those of the host.
pub fn copy_out(media: &Media, range: &Range<u64>, path: &Path) -> io::Result<()> {
    let file = File::create(path)?;
    file.set_len(range.end.saturating_sub(range.start))?;
    let blocks = range.start / BLOCK..range.end / BLOCK;
    let mut block = [0; BLOCK as usize];
    for number in media.changed_blocks().filter(|number| blocks.contains(number)) {
        media.read(number * BLOCK, &mut block).map_err(io::Error::other)?;
        file.write_all_at(&block, number * BLOCK - range.start)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use agent_protocol::image::Kind;

    #[test]
    fn an_image_in_swap_is_seen_and_an_empty_one_is_none() {
        let mut media = Media::blank(1 << 20).unwrap();
        media.write(4096 + 4086, b"SWAPSPACE2").unwrap();
        assert_eq!(image_in_swap(&media, 4096), Ok(None));
        media.write(4096 + 4086, b"S1SUSPEND\0").unwrap();
        assert_eq!(image_in_swap(&media, 4096), Ok(Some("S1SUSPEND".into())));
    }

    #[test]
    fn only_a_valid_image_would_be_entered() {
        let mut media = Media::blank(1 << 20).unwrap();
        assert_eq!(holds_valid_image(&media, 0), Ok(false));
        let mut header = Header::writing(Kind::JumpedMemory);
        media.write(0, &header.encode()).unwrap();
        assert_eq!(holds_valid_image(&media, 0), Ok(false));
        header.state = State::Valid;
        media.write(0, &header.encode()).unwrap();
        assert_eq!(holds_valid_image(&media, 0), Ok(true));
    }

    #[test]
    fn a_copy_has_what_lies_in_the_range() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("copy");
        let mut media = Media::blank(1 << 20).unwrap();
        media.write(4096, &[1; 8192]).unwrap();
        copy_out(&media, &(8192..16384), &path).unwrap();
        let copy = std::fs::read(path).unwrap();
        assert_eq!((copy.len(), copy[4095], copy[4096]), (8192, 1, 0));
    }
}
