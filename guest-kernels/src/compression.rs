//! The compressed streams met in packages, modules and kernel images, read through one door.

use std::fmt;
use std::io::{self, BufRead, Read};

/// How bytes are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// Deflate with the gzip header.
    Gzip,
    /// bzip2.
    Bzip2,
    /// xz, with its container.
    Xz,
    /// The older LZMA-alone format.
    Lzma,
    /// LZ4 in frames, the legacy kind that kernels use included.
    Lz4,
    /// Recognised, not decompressed: no well-kept decoder.
    Lzo,
    /// Zstandard.
    Zstd,
}

/// Most memory that a stream may make its decoder take, in bytes. Kernels are compressed with dictionaries up to 128 MiB.
const DECODER_LIMIT: u64 = 512 << 20;

impl Compression {
    /// What the first bytes of a stream say. `None` if they are of no known stream.
    pub fn by_magic(bytes: &[u8]) -> Option<Self> {
        const MAGICS: [(&[u8], Compression); 8] = [
            (b"\x1f\x8b\x08", Compression::Gzip),
            (b"BZh", Compression::Bzip2),
            (b"\xfd7zXZ\0", Compression::Xz),
            // LZMA-alone has no magic: properties byte of the default lc/lp/pb, dictionary below 16 MiB aligned.
            (b"\x5d\0\0", Compression::Lzma),
            (b"\x02\x21\x4c\x18", Compression::Lz4),
            (b"\x04\x22\x4d\x18", Compression::Lz4),
            (b"\x89LZO\0\r\n\x1a\n", Compression::Lzo),
            (b"\x28\xb5\x2f\xfd", Compression::Zstd),
        ];
        MAGICS.iter().find(|(magic, _)| bytes.starts_with(magic)).map(|(_, compression)| *compression)
    }

    /// What the end of a file name says: `data.tar.xz`, `ext4.ko`.
    pub fn by_extension(name: &str) -> Self {
        match name.rsplit_once('.').map(|(_, extension)| extension) {
            Some("gz") => Self::Gzip,
            Some("bz2") => Self::Bzip2,
            Some("xz") => Self::Xz,
            Some("lzma") => Self::Lzma,
            Some("lz4") => Self::Lz4,
            Some("lzo") => Self::Lzo,
            Some("zst") => Self::Zstd,
            _ => Self::None,
        }
    }

    /// Reads the stream, decompressed. Checksums of formats that have them (all but LZMA-alone and legacy LZ4) are checked.
    ///
    /// # Errors
    /// For LZO; for what zstd cannot begin with. Damage is found while reading.
    pub fn reader<'a, R: BufRead + 'a>(self, stream: R) -> io::Result<Box<dyn Read + 'a>> {
        Ok(match self {
            Self::None => Box::new(stream),
            Self::Gzip => Box::new(flate2::bufread::GzDecoder::new(stream)),
            Self::Bzip2 => Box::new(bzip2::bufread::BzDecoder::new(stream)),
            Self::Xz => {
                let decoder = liblzma::stream::Stream::new_stream_decoder(DECODER_LIMIT, 0)?;
                Box::new(liblzma::bufread::XzDecoder::new_stream(stream, decoder))
            }
            Self::Lzma => {
                let decoder = liblzma::stream::Stream::new_lzma_decoder(DECODER_LIMIT)?;
                Box::new(liblzma::bufread::XzDecoder::new_stream(stream, decoder))
            }
            Self::Lz4 => Box::new(lz4_flex::frame::FrameDecoder::new(stream)),
            Self::Lzo => return Err(io::Error::new(io::ErrorKind::Unsupported, "LZO is not supported")),
            Self::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(stream)?.single_frame()),
        })
    }

    /// Decompresses a whole stream of at most `limit` bytes.
    ///
    /// # Errors
    /// Those of the stream, and [`io::ErrorKind::FileTooLarge`] beyond the limit.
    pub fn decompress(self, bytes: &[u8], limit: u64) -> io::Result<Vec<u8>> {
        read_up_to(&mut self.reader(bytes)?, limit)
    }
}

/// Reads a stream to its end, at most `limit` bytes.
pub(crate) fn read_up_to(stream: &mut dyn Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    stream.take(limit.saturating_add(1)).read_to_end(&mut all)?;
    if all.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {limit} bytes")));
    }
    Ok(all)
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "uncompressed",
            Self::Gzip => "gzip",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
            Self::Lzma => "lzma",
            Self::Lz4 => "lz4",
            Self::Lzo => "lzo",
            Self::Zstd => "zstd",
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::io::Write;

    /// A stream of each kind we can also write.
    pub(crate) fn compress(compression: Compression, bytes: &[u8]) -> Vec<u8> {
        match compression {
            Compression::None | Compression::Lzo => bytes.to_vec(),
            Compression::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap()
            }
            Compression::Bzip2 => {
                let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap()
            }
            Compression::Xz => {
                let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap()
            }
            Compression::Lzma => {
                let options = liblzma::stream::LzmaOptions::new_preset(1).unwrap();
                let encoder = liblzma::stream::Stream::new_lzma_encoder(&options).unwrap();
                let mut encoder = liblzma::write::XzEncoder::new_stream(Vec::new(), encoder);
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap()
            }
            Compression::Lz4 => {
                let info = lz4_flex::frame::FrameInfo::new().legacy_frame(true);
                let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap()
            }
            Compression::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
                encoder.include_checksum(true).unwrap();
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap()
            }
        }
    }

    pub(crate) const COMPRESSED: [Compression; 6] = [
        Compression::Gzip,
        Compression::Bzip2,
        Compression::Xz,
        Compression::Lzma,
        Compression::Lz4,
        Compression::Zstd,
    ];

    #[test]
    fn every_stream_is_recognised_and_read_back() {
        let text: Vec<u8> = (0..100_000_u32).flat_map(|i| (i / 7).to_le_bytes()).collect();
        for compression in COMPRESSED {
            let stream = compress(compression, &text);
            assert_eq!(Compression::by_magic(&stream), Some(compression));
            assert_eq!(compression.decompress(&stream, 1 << 20).unwrap(), text, "{compression}");
        }
    }

    #[test]
    fn a_stream_cut_short_is_an_error() {
        let text: Vec<u8> = (0..100_000_u32).flat_map(|i| (i / 7).to_le_bytes()).collect();
        for compression in COMPRESSED {
            let stream = compress(compression, &text);
            let cut = &stream[..stream.len() - 40];
            assert!(compression.decompress(cut, 1 << 20).is_err(), "{compression}");
        }
    }

    #[test]
    fn a_bomb_is_refused_at_the_limit() {
        let stream = compress(Compression::Zstd, &vec![0; 1 << 20]);
        let error = Compression::Zstd.decompress(&stream, 4096).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn file_names_say_how_they_are_compressed() {
        assert_eq!(Compression::by_extension("ext4.ko.xz"), Compression::Xz);
        assert_eq!(Compression::by_extension("data.tar.zst"), Compression::Zstd);
        assert_eq!(Compression::by_extension("ext4.ko"), Compression::None);
    }
}
