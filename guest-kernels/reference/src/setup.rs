//! What a machine is built from.

use crate::disk::Layout;
use crate::kernels::Kernels;
use crate::qemu::Front;

/// What to build a machine from.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The kernels.
    pub kernels: Kernels,
    /// Virtual processors.
    pub cpus: u32,
    /// How both disks are attached.
    pub front: Front,
    /// `q35` or `pc`.
    pub board: &'static str,
    /// In MiB.
    pub memory_mib: u32,
    /// Of the main disk.
    pub layout: Layout,
    /// Whether all virtual processors take turns on one host thread.
    pub one_thread: bool,
    /// Whether executed instructions are counted.
    pub counted: bool,
    /// Whether A leaves the saver's region alone from the start; otherwise it is swapped during the jump.
    pub reserve_region: bool,
}

impl Setup {
    /// The usual machine for these kernels.
    pub fn new(kernels: Kernels, cpus: u32) -> Setup {
        let stock = kernels.saver.is_none();
        Setup {
            kernels,
            cpus,
            front: Front::Virtio,
            // On q35 the ACPI registers are gone after the first S3 (QEMU 7.2 with SeaBIOS 1.16): a second one never comes.
            board: "pc",
            // A distribution's kernel and its modules want more room.
            memory_mib: if stock { 512 } else { 256 },
            layout: Layout::default(),
            // With a thread for each processor QEMU now and then delivers the int3 of a kernel that patches its own code on another
            // processor after the patch is done ("Oops: int3"). Taking turns is as fast here and leaves the host's other processors
            // to other runs.
            one_thread: true,
            counted: false,
            reserve_region: true,
        }
    }
}
