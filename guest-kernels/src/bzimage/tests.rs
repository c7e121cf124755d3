use super::*;
use crate::compression::tests::{COMPRESSED, compress};
use crate::debian::tests::noise;
use proptest::prelude::*;

/// A kernel: the head of an ELF file, bytes that are compressed badly, a configuration.
fn vmlinux(config: Option<&str>) -> Vec<u8> {
    let mut elf = crate::modules::tests::module(&["name=vmlinux"]);
    elf.extend(noise(20_000));
    if let Some(config) = config {
        elf.extend(b"IKCFG_ST");
        elf.extend(compress(Compression::Gzip, config.as_bytes()));
        elf.extend(b"IKCFG_ED");
    }
    elf.extend([0; 3000]);
    elf
}

/// The smallest file with all that a bzImage must have.
pub(crate) fn bzimage(compression: Compression, config: Option<&str>) -> Vec<u8> {
    let kernel = vmlinux(config);
    let mut payload = compress(compression, &kernel);
    if compression != Compression::Gzip {
        payload.extend((kernel.len() as u32).to_le_bytes());
    }
    wrap(&payload)
}

fn wrap(payload: &[u8]) -> Vec<u8> {
    let offset = 0x100_usize;
    let protected_mode = (offset + payload.len()).next_multiple_of(16);
    let mut file = vec![0; 2 * 512 + protected_mode];
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    put(0x1f1, &[1]);
    put(0x1f4, &((protected_mode / 16) as u32).to_le_bytes());
    put(0x1fe, b"\x55\xaa");
    put(0x202, b"HdrS");
    put(0x206, &0x20f_u16.to_le_bytes());
    put(0x20e, &0x100_u16.to_le_bytes());
    put(0x22c, &0x7fff_ffff_u32.to_le_bytes());
    put(0x230, &0x20_0000_u32.to_le_bytes());
    put(0x234, &[1, 21]);
    put(0x236, &0x3f_u16.to_le_bytes());
    put(0x238, &2047_u32.to_le_bytes());
    put(0x248, &(offset as u32).to_le_bytes());
    put(0x24c, &(payload.len() as u32).to_le_bytes());
    put(0x258, &0x100_0000_u64.to_le_bytes());
    put(0x260, &0x200_0000_u32.to_le_bytes());
    put(0x300, b"9.9.9-test (somebody) #1 SMP\0");
    put(1024 + offset, payload);
    file
}

fn refusal(bytes: Vec<u8>) -> String {
    BzImage::parse(bytes).and_then(|image| image.vmlinux()).unwrap_err().to_string()
}

#[test]
fn the_header_is_read() {
    let image = BzImage::parse(bzimage(Compression::Zstd, None)).unwrap();
    assert_eq!(image.release(), "9.9.9-test");
    assert_eq!(image.header.protocol(), "2.15");
    assert_eq!(image.header.kernel_alignment, 0x20_0000);
    assert_eq!(image.header.pref_address, 0x100_0000);
    assert_eq!(image.header.init_size, 0x200_0000);
    assert_eq!(image.header.xloadflags, 0x3f);
    assert!(image.header.relocatable_kernel);
    assert_eq!(image.protected_mode().len() as u64, image.header.protected_mode_len);
}

#[test]
fn the_kernel_is_unpacked_whatever_its_compression() {
    for compression in COMPRESSED.into_iter().chain([Compression::None]) {
        let image = BzImage::parse(bzimage(compression, None)).unwrap();
        assert_eq!(image.compression().unwrap(), compression);
        let kernel = image.vmlinux().unwrap();
        assert!(kernel.starts_with(&vmlinux(None)), "{compression}");
    }
}

#[test]
fn the_configuration_is_found_if_there_is_one() {
    let image = BzImage::parse(bzimage(Compression::Xz, Some("CONFIG_SMP=y\n"))).unwrap();
    assert_eq!(embedded_config(&image.vmlinux().unwrap()).unwrap().as_deref(), Some("CONFIG_SMP=y\n"));
    let image = BzImage::parse(bzimage(Compression::Xz, None)).unwrap();
    assert_eq!(embedded_config(&image.vmlinux().unwrap()).unwrap(), None);
    assert!(embedded_config(b"....IKCFG_ST\x1f\x8b\x08garbage").is_err());
}

#[test]
fn what_is_no_kernel_is_named() {
    let mut arm = vec![0; 4096];
    arm[0x38..0x3c].copy_from_slice(b"ARM\x64");
    let mut i386 = bzimage(Compression::Gzip, None);
    i386[0x236] = 0;
    let mut old = bzimage(Compression::Gzip, None);
    old[0x206] = 9;
    let all = [
        ("empty", Vec::new()),
        ("text", b"hello\n".repeat(1000)),
        ("vmlinux", vmlinux(None)),
        ("initramfs", b"070701".repeat(200)),
        ("package", b"!<arch>\ndebian-binary   ".repeat(100)),
        ("arm64", arm),
        ("i386", i386),
        ("old", old),
    ];
    let text: Vec<String> =
        all.into_iter().map(|(what, bytes)| format!("{what}: {}", refusal(bytes))).collect();
    insta::assert_snapshot!(text.join("\n"));
}

#[test]
fn a_truncated_kernel_says_so() {
    let whole = bzimage(Compression::Zstd, None);
    for len in [0x210, 1100, whole.len() / 2, whole.len() - 1] {
        let message = refusal(whole[..len].to_vec());
        assert!(
            message.starts_with("cut short: ") || message.ends_with("it is too short"),
            "{len}: {message}"
        );
    }
}

#[test]
fn a_flipped_bit_in_the_payload_is_found() {
    for compression in [Compression::Gzip, Compression::Bzip2, Compression::Xz, Compression::Zstd] {
        let mut file = bzimage(compression, None);
        let at = file.len() / 2;
        file[at] ^= 4;
        let message = refusal(file);
        assert!(message.starts_with("damaged: "), "{compression}: {message}");
    }
}

#[test]
fn a_wrong_length_is_found() {
    let kernel = vmlinux(None);
    let mut payload = compress(Compression::Lz4, &kernel);
    payload.extend((kernel.len() as u32 + 1).to_le_bytes());
    let message = refusal(wrap(&payload));
    assert!(message.contains("bytes came out instead of"), "{message}");
    let mut payload = compress(Compression::Zstd, &kernel);
    payload.extend(u32::MAX.to_le_bytes());
    insta::assert_snapshot!(refusal(wrap(&payload)), @"damaged: its kernel would unpack to more than 1 GiB; copy or download it again");
}

#[test]
fn lzo_is_an_honest_refusal() {
    let message = refusal(wrap(b"\x89LZO\0\r\n\x1a\n.........."));
    assert!(message.starts_with("its kernel is compressed by lzo, which is not supported"), "{message}");
}

proptest! {
    /// Whatever stands in the header: an answer or an error, never a panic, never memory without bounds.
    #[test]
    fn mutated_headers_do_not_panic(
        changes in prop::collection::vec((0x1f1_usize..0x268, any::<u8>()), 1..24), cut in any::<prop::sample::Index>(), cut_it: bool,
    ) {
        let mut file = bzimage(Compression::Gzip, None);
        for (at, byte) in changes {
            file[at] = byte;
        }
        if cut_it {
            file.truncate(cut.index(file.len()));
        }
        if let Ok(image) = BzImage::parse(file) {
            let _ = image.release();
            let _ = image.protected_mode();
            let _ = image.vmlinux();
        }
    }

    /// Sizes and places alone, at their most hostile.
    #[test]
    fn hostile_sizes_do_not_panic(
        sectors: u8, syssize in prop_oneof![Just(u32::MAX), any::<u32>(), 0_u32..3000], offset in prop_oneof![Just(u32::MAX), any::<u32>(), 0_u32..3000],
        length in prop_oneof![Just(u32::MAX), any::<u32>(), 0_u32..3000], version: u16,
    ) {
        let mut file = bzimage(Compression::Lz4, None);
        file[0x1f1] = sectors;
        file[0x1f4..0x1f8].copy_from_slice(&syssize.to_le_bytes());
        file[0x248..0x24c].copy_from_slice(&offset.to_le_bytes());
        file[0x24c..0x250].copy_from_slice(&length.to_le_bytes());
        file[0x20e..0x210].copy_from_slice(&version.to_le_bytes());
        if let Ok(image) = BzImage::parse(file) {
            let _ = image.vmlinux();
        }
    }
}
