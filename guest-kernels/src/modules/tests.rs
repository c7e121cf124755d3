use super::*;
use crate::compression::{Compression, tests::compress};

/// The smallest ELF object with a `.modinfo` section.
pub(crate) fn module(modinfo: &[&str]) -> Vec<u8> {
    let names = b"\0.modinfo\0.shstrtab\0";
    let data: Vec<u8> = modinfo.iter().flat_map(|string| string.bytes().chain([0])).collect();
    let (data_at, names_at) = (64_u64, 64 + data.len() as u64);
    let sections_at = (names_at + names.len() as u64).next_multiple_of(8);
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x01\0\x3e\0\x01\0\0\0".to_vec();
    elf.extend([0_u64, 0, sections_at].iter().flat_map(|n| n.to_le_bytes()));
    elf.extend([0_u16, 0, 64, 0, 0, 64, 3, 2].iter().flat_map(|n| n.to_le_bytes()));
    elf.extend(data.clone());
    elf.extend(names);
    elf.resize(sections_at as usize, 0);
    for (name, kind, at, len) in
        [(0_u32, 0_u32, 0, 0), (1, 1, data_at, data.len() as u64), (10, 3, names_at, names.len() as u64)]
    {
        elf.extend([name, kind].iter().flat_map(|n| n.to_le_bytes()));
        elf.extend([0, 0, at, len, 0, 1, 0].iter().flat_map(|n: &u64| n.to_le_bytes()));
    }
    elf
}

/// A package's modules: ext4 as Debian has it, with an algorithm that two modules provide.
fn tree(directory: &Path, changes: &[(&str, &[&str])]) -> ModuleTree {
    let files: [(&str, &[&str]); 8] = [
        (
            "kernel/fs/ext4/ext4.ko.xz",
            &["depends=jbd2,mbcache,built-in", "softdep=pre: crypto-crc32c", "name=ext4"],
        ),
        ("kernel/fs/jbd2/jbd2.ko.xz", &["depends=", "softdep=pre: crypto-crc32c post: never"]),
        ("kernel/fs/mbcache.ko", &["depends="]),
        ("kernel/crypto/crc32c_generic.ko.zst", &["alias=crypto-crc32c", "depends="]),
        ("kernel/arch/x86/crypto/crc32c-intel.ko", &["alias=crypto-crc32c", "depends="]),
        ("kernel/drivers/crypto/card.ko", &["alias=crypto-crc32c", "depends=nowhere"]),
        ("kernel/drivers/nvme/nvme.ko", &["depends=t10-pi", "softdep=pre: crypto-aes"]),
        ("kernel/lib/t10-pi.ko", &["depends="]),
    ];
    for (path, modinfo) in files.iter().chain(changes) {
        let path = directory.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let compression = Compression::by_extension(path.to_str().unwrap());
        fs::write(path, compress(compression, &module(modinfo))).unwrap();
    }
    fs::write(
        directory.join("modules.builtin"),
        "kernel/lib/built-in.ko\nkernel/drivers/virtio/virtio_pci.ko\n",
    )
    .unwrap();
    fs::write(directory.join("modules.builtin.modinfo"), b"aes.alias=crypto-aes\0aes.license=GPL\0").unwrap();
    ModuleTree::open(directory).unwrap()
}

fn names(closure: &Closure) -> Vec<&str> {
    closure.modules.iter().map(|module| module.name.as_str()).collect()
}

#[test]
fn what_is_needed_comes_first() {
    let directory = tempfile::tempdir().unwrap();
    let closure = close(&tree(directory.path(), &[]), &["virtio_pci", "nvme", "ahci", "ext4"]).unwrap();
    assert_eq!(
        names(&closure),
        ["t10_pi", "nvme", "crc32c_generic", "crc32c_intel", "jbd2", "mbcache", "ext4"]
    );
    assert_eq!((closure.built_in, closure.absent), (vec!["virtio_pci".to_owned()], vec!["ahci".to_owned()]));
}

#[test]
fn a_missing_dependency_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let tree = tree(directory.path(), &[("kernel/fs/mbcache.ko", &["depends=slab-cache"])]);
    insta::assert_snapshot!(
        close(&tree, &["ext4"]).unwrap_err(),
        @"module mbcache needs slab_cache, which is neither built into the kernel nor in its package; the package is incomplete (some distributions split modules off): fetch another kernel"
    );
}

#[test]
fn a_circle_is_an_error_not_a_hang() {
    let directory = tempfile::tempdir().unwrap();
    let tree = tree(directory.path(), &[("kernel/fs/mbcache.ko", &["depends=ext4"])]);
    insta::assert_snapshot!(
        close(&tree, &["ext4"]).unwrap_err(),
        @"modules depend on each other in a circle: ext4 needs mbcache needs ext4"
    );
}

#[test]
fn what_is_no_module_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let tree = tree(directory.path(), &[]);
    fs::write(directory.path().join("kernel/fs/mbcache.ko"), b"#!/bin/sh").unwrap();
    let error = close(&tree, &["mbcache"]).unwrap_err().to_string();
    assert!(error.contains("mbcache.ko is not a kernel module: "), "{error}");
    fs::write(directory.path().join("kernel/fs/jbd2/jbd2.ko.xz"), b"garbage").unwrap();
    let error = close(&tree, &["jbd2"]).unwrap_err().to_string();
    assert!(error.starts_with("cannot decompress "), "{error}");
}
