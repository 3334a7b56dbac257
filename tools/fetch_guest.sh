#!/bin/sh
# For the tests: the kernel of the guests that they boot, into $1. Debian's package is unpacked, not installed.
#
#   vmlinux     uncompressed: under emulation a guest spends seconds in decompressing its kernel
#   vmlinuz     as it is, for boot loaders and firmware
#   modules/    what a guest needs for its disks, its network, and file systems that the host may not have
set -eu

kept=$1
made_by=$(cksum <"$0")
if [ -e "$kept/vmlinux" ] && [ "$(cat "$kept/made-by" 2>/dev/null)" = "$made_by" ]; then
    exit 0
fi

die() { echo "setup: $*" >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# apt's own user must get in, or it complains.
chmod 755 "$work"

newest() { apt-cache depends linux-image-cloud-amd64 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1; }

fetch() {
    name=$(newest)
    [ -n "$name" ] && (cd "$work" && apt-get -q download "$name" >&2)
}

echo "setup: fetching a kernel for the tests' guests" >&2
if ! fetch; then
    apt-get -q update >&2 </dev/null || true
    fetch || die "apt-get could not download linux-image-cloud-amd64; its words are above"
fi
dpkg-deb -x "$work"/*.deb "$work/unpacked"

mkdir -p "$kept/modules"
for module in virtio virtio_ring virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_blk \
    failover net_failover virtio_net button evdev fuse virtiofs efivarfs cdrom crc-itu-t isofs udf fat vfat exfat \
    nls_cp437 nls_ascii nls_utf8; do
    find "$work/unpacked" -name "$module.ko" -exec cp {} "$kept/modules" \;
    [ -e "$kept/modules/$module.ko" ] || grep -q "/$module.ko" "$work"/unpacked/lib/modules/*/modules.builtin \
        || die "the kernel package has no $module.ko"
done

# The kernel's own header says where its payload begins (Documentation/x86/boot.rst: setup_sects at 0x1f1,
# payload_offset at 0x248, payload_length at 0x24c); Debian's is compressed with lz4.
image=$(find "$work/unpacked/boot" -name 'vmlinuz-*')
number() { od -An -t "u$2" -j "$1" -N "$2" "$image" | tr -d ' '; }
begin=$(($(number 497 1) * 512 + 512 + $(number 584 4)))
# The last four bytes are the length, not lz4's; it takes the end of the stream for a truncated block without this.
length=$(($(number 588 4) - 4))
tail -c "+$((begin + 1))" "$image" | head -c "$length" | lz4 -dcq >"$kept/vmlinux.new"
mv "$kept/vmlinux.new" "$kept/vmlinux"
cp "$image" "$kept/vmlinuz"
echo "$made_by" >"$kept/made-by"
