use super::*;
use crate::compression::tests::compress;
use proptest::prelude::*;
use std::fs;

/// A package with the given files, made here.
pub(crate) fn package(control: &str, files: &[(&str, &[u8])], compression: Compression) -> Vec<u8> {
    let tar = |files: &[(&str, &[u8])]| {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, bytes) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, format!("./{path}"), *bytes).unwrap();
        }
        compress(compression, &builder.into_inner().unwrap())
    };
    let extension = match compression {
        Compression::Xz => ".xz",
        Compression::Gzip => ".gz",
        Compression::Zstd => ".zst",
        _ => "",
    };
    let mut deb = AR_MAGIC.to_vec();
    for (name, bytes) in [
        ("debian-binary".to_owned(), b"2.0\n".to_vec()),
        (format!("control.tar{extension}"), tar(&[("control", control.as_bytes())])),
        (format!("data.tar{extension}"), tar(files)),
    ] {
        deb.extend(
            format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, bytes.len()).bytes(),
        );
        deb.extend(&bytes);
        deb.resize(deb.len().next_multiple_of(2), b'\n');
    }
    deb
}

const CONTROL: &str =
    "Package: linux-image-9.9\nVersion: 9.9-1\nArchitecture: amd64\nDescription: a\n kernel\n";

/// Bytes that no compression shortens.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..len).map(|_| next()).collect()
}

fn written(bytes: &[u8]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), bytes).unwrap();
    file
}

/// The message, without the name of the temporary file.
fn message(bytes: &[u8]) -> String {
    let file = written(bytes);
    let mut read = 0;
    let result = Deb::open(file.path()).and_then(|deb| {
        deb.each_file(|mut file| {
            read += file.to_memory(1 << 20)?.len();
            Ok(ControlFlow::Continue(()))
        })
    });
    let error = result.unwrap_err().to_string();
    error.replace(&file.path().display().to_string(), "kernel.deb")
}

#[test]
fn files_are_read_from_every_kind_of_package() {
    let contents = vec![7; 100_000];
    for compression in [Compression::None, Compression::Gzip, Compression::Xz, Compression::Zstd] {
        let file = written(&package(CONTROL, &[("boot/a", b"A"), ("boot/b", &contents)], compression));
        let deb = Deb::open(file.path()).unwrap();
        assert_eq!((deb.package.as_str(), deb.version.as_str()), ("linux-image-9.9", "9.9-1"));
        let directory = tempfile::tempdir().unwrap();
        let out = directory.path().join("b");
        deb.extract("boot/b", &out).unwrap();
        assert_eq!(fs::read(out).unwrap(), contents, "{compression}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let file = written(&package(CONTROL, &[("boot/a", b"A")], Compression::Gzip));
    let deb = Deb::open(file.path()).unwrap();
    let error = deb.extract("boot/z", Path::new("/nonexistent/z")).unwrap_err().to_string();
    assert!(error.ends_with("(package linux-image-9.9) has no boot/z"), "{error}");
}

#[test]
fn what_is_no_package_is_said_to_be_none() {
    insta::assert_snapshot!(message(b"\x7fELF..."), @"kernel.deb is not a Debian package: it does not begin with `!<arch>`");
    insta::assert_snapshot!(message(b""), @"kernel.deb is not a Debian package: it does not begin with `!<arch>`");
    let foreign = b"!<arch>\nfoo.o/          0           0     0     644     2         `\nhi";
    insta::assert_snapshot!(message(foreign), @"kernel.deb is not a Debian package: its first member is not debian-binary");
}

#[test]
fn a_truncated_package_says_so() {
    let noise = noise(60_000);
    let whole = package(CONTROL, &[("boot/a", &noise)], Compression::Xz);
    let error = message(&whole[..whole.len() / 2]);
    assert!(error.starts_with("kernel.deb is cut short: data.tar.xz needs "), "{error}");
    assert!(error.ends_with("; download it again"), "{error}");
    let before_data = whole.windows(8).position(|window| window == b"data.tar").unwrap();
    assert!(message(&whole[..before_data]).starts_with("kernel.deb is cut short: data.tar needs "));
    assert!(message(&whole[..before_data + 10]).contains("the header of a member needs"));
}

#[test]
fn a_flipped_bit_is_found() {
    let noise = noise(60_000);
    let mut deb = package(CONTROL, &[("boot/a", &noise)], Compression::Xz);
    let at = deb.len() - 2000;
    deb[at] ^= 0x10;
    let error = message(&deb);
    assert!(error.starts_with("kernel.deb is damaged: "), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever the bytes: an answer or an error, never a panic, never much memory.
    #[test]
    fn mutated_packages_do_not_panic(at in any::<prop::sample::Index>(), bytes in prop::collection::vec(any::<u8>(), 1..40)) {
        let mut deb = package(CONTROL, &[("boot/a", b"A")], Compression::None);
        let at = at.index(deb.len());
        let end = (at + bytes.len()).min(deb.len());
        deb.splice(at..end, bytes);
        let file = written(&deb);
        if let Ok(deb) = Deb::open(file.path()) {
            let _ = deb.each_file(|mut file| { file.to_memory(1 << 16)?; Ok::<_, DebError>(ControlFlow::Continue(())) });
        }
    }
}
