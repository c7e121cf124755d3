use super::*;
use crate::bzimage::tests::bzimage;
use crate::compression::{Compression, tests::compress};
use crate::debian::tests::package;
use crate::modules::StockModules;
use crate::modules::tests::module;
use crate::progress::Silent;

const CONTROL: &str = "Package: linux-image-9.9.9-test\nVersion: 9.9.9-1\nArchitecture: amd64\n";

struct Bench {
    directory: tempfile::TempDir,
    cache: Cache,
}

impl Bench {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::at(&directory.path().join("cache")).unwrap();
        Self { directory, cache }
    }

    fn fetch(&self, deb: &[u8]) -> Result<Outcome, StockError> {
        let path = self.directory.path().join("kernel.deb");
        fs::write(&path, deb).unwrap();
        fetch(&self.cache, &Host::here(), "stock-9.9", &Wanted::File(path), &Silent)
    }

    fn refusal(&self, deb: &[u8]) -> String {
        let error = self.fetch(deb).unwrap_err().to_string();
        assert!(self.cache.find("stock-9.9").unwrap().is_empty(), "a failed fetch left an entry");
        error.replace(&self.directory.path().display().to_string(), "")
    }
}

fn kernel_package(vmlinuz: &[u8], ext4: &[&str]) -> Vec<u8> {
    let ext4 = compress(Compression::Xz, &module(ext4));
    let jbd2 = module(&["depends="]);
    package(
        CONTROL,
        &[
            ("boot/vmlinuz-9.9.9-test", vmlinuz),
            ("boot/config-9.9.9-test", b"CONFIG_X86=y\n"),
            ("boot/System.map-9.9.9-test", b"ffffffffffffffff B it is elsewhere\n"),
            ("usr/lib/modules/9.9.9-test/kernel/fs/ext4/ext4.ko.xz", &ext4),
            ("usr/lib/modules/9.9.9-test/kernel/fs/jbd2/jbd2.ko", &jbd2),
            ("usr/lib/modules/9.9.9-test/modules.builtin", b"kernel/drivers/virtio/virtio_pci.ko\n"),
        ],
        Compression::Xz,
    )
}

#[test]
fn a_package_becomes_an_entry_with_its_modules() {
    let bench = Bench::new();
    let deb = kernel_package(&bzimage(Compression::Zstd, None), &["depends=jbd2"]);
    let Outcome::Fetched(entry) = bench.fetch(&deb).unwrap() else { panic!("it was there") };
    assert_eq!((entry.manifest.release.as_str(), entry.manifest.kind), ("9.9.9-test", Kind::Stock));
    let files: Vec<&str> = entry.manifest.files.keys().map(String::as_str).collect();
    assert_eq!(files, ["bzImage", "config", "modules/ext4.ko", "modules/jbd2.ko", "modules/modules.json"]);
    let modules = StockModules::of(&entry).unwrap();
    let names: Vec<&str> = modules.load_order().iter().map(|module| module.name.as_str()).collect();
    assert_eq!(names, ["jbd2", "ext4"]);
    assert_eq!(modules.built_in(), ["virtio_pci"]);
    assert!(modules.absent().contains(&"ahci".to_owned()));
    assert!(modules.read(&modules.load_order()[1]).unwrap().starts_with(b"\x7fELF"));
    assert!(matches!(bench.fetch(&deb).unwrap(), Outcome::Already(_)));
    let left: Vec<_> = fs::read_dir(bench.cache.kernel_dir("stock-9.9")).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn what_is_wrong_with_a_package_is_said_and_nothing_is_kept() {
    let bench = Bench::new();
    let kernel = bzimage(Compression::Zstd, None);
    let whole = kernel_package(&kernel, &["depends="]);
    let refusals = [
        bench.refusal(&package(CONTROL, &[("usr/share/doc/x", b"")], Compression::Gzip)),
        bench.refusal(&kernel_package(&kernel[..3000], &["depends="])),
        bench.refusal(&kernel_package(&kernel, &["depends=nowhere"])),
        bench.refusal(b"<html>404</html>"),
    ];
    let shown = refusals.join("\n\n").replace(&format!("{}", kernel.len()), "N");
    insta::assert_snapshot!(shown, @r"
    /kernel.deb (package linux-image-9.9.9-test) holds no kernel: it has no boot/vmlinuz-*. Meta packages only depend on the one that does: give linux-image-<version>-amd64

    the kernel in /kernel.deb: cut short: its protected-mode part ends at byte N, the file has 3000; copy or download it again

    module ext4 needs nowhere, which is neither built into the kernel nor in its package; the package is incomplete (some distributions split modules off): fetch another kernel

    /kernel.deb is not a Debian package: it does not begin with `!<arch>`
    ");
    assert!(
        bench.refusal(&whole[..whole.len() - 100]).contains("/kernel.deb is cut short: data.tar.xz needs ")
    );
}

#[test]
fn another_file_of_the_same_version_is_another_entry() {
    assert_ne!(key("1-1", Some("a")), key("1-1", Some("b")));
    assert_eq!(key("1-1", None), key("1-1", None));
    crate::cache::check_name(&key("2:6.1.192-2~bpo+1", None)).unwrap();
}

#[test]
fn the_series_is_read_from_the_name() {
    assert_eq!(series("stock-6.1-cloud"), Some("6.1"));
    assert_eq!(series("stock-6.12"), Some("6.12"));
    assert_eq!(series("mine"), None);
}
