//! What each ability needs of a kernel's configuration: the one place for it.

use super::ability::{Need, Want};

const fn yes(symbol: &'static str, why: &'static str) -> Need {
    Need { want: Want::Yes(symbol), why }
}

const fn loadable(symbol: &'static str, module: &'static str, why: &'static str) -> Need {
    Need { want: Want::Loadable(symbol, module), why }
}

const fn off(symbol: &'static str, why: &'static str) -> Need {
    Need { want: Want::Off(symbol), why }
}

const NO_LOCKDOWN: Need =
    off("LOCK_DOWN_KERNEL_FORCE_CONFIDENTIALITY", "lockdown forbids hibernation and kexec");
const NO_INTEGRITY: Need = off("LOCK_DOWN_KERNEL_FORCE_INTEGRITY", "lockdown forbids hibernation and kexec");
pub(super) const HIBERNATION: &[Need] =
    &[yes("HIBERNATION", "hibernation"), yes("SWAP", "the image goes to swap"), NO_LOCKDOWN, NO_INTEGRITY];
pub(super) const WITH_ACPI: &[Need] = &[
    yes("HIBERNATION", "hibernation"),
    yes("SWAP", "the image goes to swap"),
    yes("ACPI", "sleep states of the platform"),
    NO_LOCKDOWN,
    NO_INTEGRITY,
];

pub(super) const AGENT: &[Need] = &[
    yes("64BIT", "the agent is a 64-bit program"),
    yes("BINFMT_ELF", "programs"),
    yes("BLK_DEV_INITRD", "the agent comes in an initramfs"),
    yes("TTY", "serial ports"),
    yes("SERIAL_8250", "serial ports: console and agent"),
    yes("SERIAL_8250_CONSOLE", "the console"),
    Need { want: Want::AtLeast("SERIAL_8250_RUNTIME_UARTS", 2), why: "the agent speaks on the second port" },
    yes("PRINTK", "kernel messages"),
    yes("DEVTMPFS", "/dev"),
    yes("PROC_FS", "/proc"),
    yes("SYSFS", "/sys"),
    yes("FUTEX", "the agent's C library"),
    yes("MULTIUSER", "the agent's C library"),
];
pub(super) const VIRTIO_BLK: &[Need] = &[
    yes("PCI", "the bus"),
    loadable("VIRTIO_PCI", "virtio_pci", "virtio devices on PCI"),
    loadable("VIRTIO_BLK", "virtio_blk", "virtio disks"),
];
pub(super) const NVME: &[Need] = &[yes("PCI", "the bus"), loadable("BLK_DEV_NVME", "nvme", "NVMe disks")];
pub(super) const AHCI: &[Need] = &[
    yes("PCI", "the bus"),
    loadable("SATA_AHCI", "ahci", "SATA controllers"),
    loadable("BLK_DEV_SD", "sd_mod", "disks behind SATA"),
];
pub(super) const EXT4: &[Need] = &[loadable("EXT4_FS", "ext4", "the file system")];
pub(super) const WORKLOADS: &[Need] = &[
    yes("TMPFS", "the tmpfs workload"),
    yes("SHMEM", "the tmpfs workload"),
    yes("SWAP", "the swap workload"),
    yes("POSIX_TIMERS", "the timer workload"),
    yes("TIMERFD", "the timer workload"),
    yes("PROC_PAGE_MONITOR", "seeing which pages are in swap"),
];
pub(super) const ALARM: &[Need] = &[
    yes("RTC_CLASS", "the clock"),
    loadable("RTC_DRV_CMOS", "rtc_cmos", "the PC's clock"),
    yes("RTC_INTF_SYSFS", "setting the alarm"),
];
pub(super) const S2IDLE: &[Need] = &[yes("SUSPEND", "suspend")];
pub(super) const S3: &[Need] = &[yes("SUSPEND", "suspend"), yes("ACPI", "the S3 state is ACPI's")];
pub(super) const USWSUSP: &[Need] = &[
    yes("HIBERNATION", "hibernation"),
    yes("HIBERNATION_SNAPSHOT_DEV", "/dev/snapshot"),
    NO_LOCKDOWN,
    NO_INTEGRITY,
];
pub(super) const PM_TEST: &[Need] = &[yes("PM_DEBUG", "/sys/power/pm_test"), yes("SUSPEND", "suspend")];
pub(super) const KEXEC: &[Need] = &[yes("KEXEC", "the system call"), NO_LOCKDOWN, NO_INTEGRITY];
pub(super) const KEXEC_JUMP_PRIMARY: &[Need] = &[
    yes("KEXEC_JUMP", "coming back from the kernel jumped to"),
    yes("FIRMWARE_MEMMAP", "telling the other kernel which memory is whose"),
    yes("DEVMEM", "handing the saver a note that makes its /proc/vmcore"),
    off("STRICT_DEVMEM", "reading that note from RAM"),
];
pub(super) const KEXEC_JUMP_SAVER: &[Need] = &[
    yes("KEXEC_JUMP", "jumping back"),
    yes("RELOCATABLE", "running where the primary loads it"),
    yes("CRASH_DUMP", "seeing another kernel's memory"),
    yes("PROC_VMCORE", "reading the primary's memory"),
];
pub(super) const KEXEC_JUMP_RESTORER: &[Need] = &[
    yes("KEXEC_JUMP", "jumping into the primary"),
    yes("DEVMEM", "writing the primary's memory back"),
    off("STRICT_DEVMEM", "writing RAM through /dev/mem"),
];
