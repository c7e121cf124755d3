import os, struct, subprocess, sys, tempfile, threading


def rebuild(log, image, size):
    """Applies a dm-log-writes log to a blank image."""
    with open(log, "rb") as log, open(image, "wb") as image:
        image.truncate(size)
        magic, version, entries, sector_size = struct.unpack("<QQQI", log.read(28))
        assert magic == 0x6A736677736872 and version == 1, "not a log of dm-log-writes"
        log.seek(sector_size)
        for _ in range(entries):
            sector, sectors, flags, _ = struct.unpack("<QQQQ", log.read(sector_size)[:32])
            image.seek(sector * sector_size)
            if flags & 8:  # a mark
                continue
            elif flags & 4:  # discard
                image.write(bytes(sectors * sector_size))
            else:
                image.write(log.read(sectors * sector_size))


def header(image, offset):
    """What the signature of a swap area says."""
    with open(image, "rb") as image:
        image.seek(offset + 4096 - 10)
        return image.read(10).rstrip(b"\0").decode("ascii", "replace")


def blobs(kernel, initrd, line):
    """What a boot loader would put into memory, with the memory map that the kernel slept with, and where."""
    zero_page, command_line = 0x110000, 0x112000
    sectors = kernel[0x1F1] or 4
    code = kernel[(sectors + 1) * 512 :]
    load, room = struct.unpack_from("<QI", kernel, 0x258)
    ramdisk = (load + room + 0x1FFFFF) & ~0xFFFFF
    params = bytearray(4096)
    end = 0x202 + kernel[0x201]
    params[0x1F1:end] = kernel[0x1F1:end]
    params[0x210] = 0xFF
    params[0x211] |= 1
    struct.pack_into("<III", params, 0x214, load, ramdisk, len(initrd))
    struct.pack_into("<I", params, 0x228, command_line)
    params[0x1E8] = len(MEMORY)
    for number, (start, length, kind) in enumerate(MEMORY):
        struct.pack_into("<QQI", params, 0x2D0 + 20 * number, start, length, kind)
    at = 0x100000
    gdt = at + 0x80
    # cli; lgdt; far jump to 0x10; segments 0x18; the FACS, which lies near the end of RAM, gets the hardware signature that the image
    # was made with; esi = zero page; esp; ebx = edi = ebp = 0; jump to the kernel
    shim = b"\xfa\x0f\x01\x15" + struct.pack("<I", gdt + 32)
    shim += b"\xea" + struct.pack("<IH", at + 0x20 + len(shim) + 7, 0x10)
    shim += b"\xb8\x18\0\0\0\x8e\xd8\x8e\xc0\x8e\xd0\x8e\xe0\x8e\xe8"
    shim += b"\xbf" + struct.pack("<I", RAM + (48 << 20)) + b"\xb9" + struct.pack("<I", (16 << 20) // 64)
    shim += b"\x81\x3fFACS\x75\x0d\x83\x7f\x04\x40\x75\x07\xc7\x47\x08" + struct.pack("<I", SIGNATURE)
    shim += b"\x83\xc7\x40\xe2\xe6"
    shim += b"\xbe" + struct.pack("<I", zero_page) + b"\xbc\0\x90\0\0"
    shim += b"\x31\xdb\x31\xff\x31\xed\xb8" + struct.pack("<I", load) + b"\xff\xe0"
    multiboot = struct.pack("<III", 0x1BADB002, 0x10000, -(0x1BADB002 + 0x10000) & 0xFFFFFFFF)
    multiboot += struct.pack("<IIIII", at, at, at + 0x100, at + 0x100, at + 0x20)
    shim = (multiboot + shim).ljust(0x80, b"\0")
    shim += struct.pack("<QQQQ", 0, 0, 0xCF9B000000FFFF, 0xCF93000000FFFF) + struct.pack("<HI", 31, gdt)
    rest = [(code, load), (initrd, ramdisk), (bytes(params), zero_page), (line.encode() + b"\0", command_line)]
    return shim.ljust(0x100, b"\0"), rest


def main():
    here, arguments = sys.argv[1], sys.argv[2:]
    directory = tempfile.mkdtemp(prefix="finding-")
    images = []
    for name, front_end, size, log in DISKS:
        image = os.path.join(directory, name + ".img")
        if log:
            rebuild(os.path.join(here, log), image, size)
        else:
            open(image, "wb").truncate(size)
        images.append((image, front_end))
    for disk, offset in SWAP:
        print("swap header in %s: %s" % (images[disk][0], header(images[disk][0], offset)))
    if len(arguments) != 2:
        print("disks are in %s; to boot them: %s BZIMAGE INITRD" % (directory, os.path.join(here, NAME + ".sh")))
        return 0
    kernel, initrd = (open(path, "rb").read() for path in arguments)
    shim, rest = blobs(kernel, initrd, LINE + os.environ.get("APPEND", ""))
    command = [os.environ.get("QEMU", "qemu-system-x86_64"), "-machine", "pc", "-cpu", "max", "-smp", str(CPUS)]
    command += ["-m", str(RAM // (1 << 20) + 64), "-display", "none", "-monitor", "none", "-serial", "stdio", "-no-reboot"]
    path = os.path.join(directory, "shim")
    open(path, "wb").write(shim)
    command += ["-kernel", path]
    for number, (blob, address) in enumerate(rest):
        path = os.path.join(directory, "blob-%d" % number)
        open(path, "wb").write(blob)
        command += ["-device", "loader,file=%s,addr=%#x,force-raw=on" % (path, address)]
    for number, (image, front_end) in enumerate(images):
        command += ["-drive", "if=none,id=d%d,format=raw,file=%s" % (number, image)]
        kind = "nvme,serial=d%d" % number if front_end == "nvme" else "virtio-blk-pci"
        command += ["-device", "%s,drive=d%d" % (kind, number)]
    qemu = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    timer = threading.Timer(float(os.environ.get("TIMEOUT", "180")), qemu.kill)
    timer.start()
    seen = False
    for line in qemu.stdout:
        line = line.decode("ascii", "replace").rstrip()
        if "PM:" in line or "ibernat" in line or "Kernel panic" in line:
            print(line)
        seen = bool(EXPECT) and EXPECT in line
        if seen or "Image loading done" in line or "Kernel panic" in line:
            break
    timer.cancel()
    qemu.kill()
    print("SHOWN: the kernel says what the finding says" if seen else "NOT SHOWN on the console")
    return 0 if seen else 1


sys.exit(main())
