#!/usr/bin/env bash
# Runs the tests of kernels and sampler on a processor with AVX-512 that Bochs emulates. Bochs boots
# a Linux kernel whose only program is the test binary.
#
#	bash internal/kernel/_emulate/run.sh [test flags, as -test.run=Rows]
#
# As root on Debian 12, it installs what it needs. Bochs 2.7 of Debian 12 rounds some VCVTUDQ2PS and
# VCVTPS2PH wrongly. So Bochs 3 comes from Debian 13, in a folder of its own, CPS_EMULATOR.
set -euo pipefail
cd "$(dirname "$0")"
system=${CPS_EMULATOR:-/var/tmp/cps-emulator}
mkdir -p "$(dirname "$system")"
exec 9>"$system.lock"
flock 9 # one machine at a time
work=$(mktemp -d)
machine=
trap '[ -z "$machine" ] || kill "$machine" 2>/dev/null || true; rm -rf "$work"' EXIT

if [ ! -e "$system/ready" ]; then
	if ! command -v debootstrap >/dev/null || ! command -v cpio >/dev/null; then
		apt-get update -qq
		apt-get install -y -qq --no-install-recommends debootstrap cpio >/dev/null
	fi
	mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | sed -n 1p)
	rm -rf "$system"
	debootstrap --variant=minbase trixie "$system" "$mirror" >"$work/log" || { tail "$work/log"; exit 1; }
	chroot "$system" apt-get install -y -qq --no-install-recommends bochs bochs-term bochsbios isolinux syslinux-common xorriso >"$work/log" 2>&1 || { tail "$work/log"; exit 1; }
	package=$(chroot "$system" apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: //p' | sed -n 1p)
	(cd "$system" && chroot . apt-get download -qq "$package" 2>/dev/null && dpkg-deb -x "$package"*.deb linux && rm "$package"*.deb && mv linux/boot/vmlinuz-* vmlinuz && rm -r linux)
	touch "$system/ready"
fi

# The machine has these files: the test binaries, and what they read.
mkdir -p "$work"/root/{dev,proc,tmp} "$system"/machine/iso/isolinux
mknod "$work/root/dev/console" c 5 1
export CGO_ENABLED=0 GOARCH=amd64 GOOS=linux
go build -ldflags='-s -w' -o "$work/root/init" main.go
for dir in internal/kernel sampler; do
	mkdir -p "$work/root/tests/$(basename "$dir")"
	(cd "../../../$dir" && go test -c -ldflags='-s -w' -o "$work/root/tests/$(basename "$dir")/test" .)
done
cp ../*.s "$work/root/tests/kernel"
(cd "$work/root" && find . | cpio -o -H newc --quiet | gzip -1 >"$system/machine/iso/initrd")

cd "$system/machine"
cp ../vmlinuz iso/linux
cp ../usr/lib/ISOLINUX/isolinux.bin ../usr/lib/syslinux/modules/bios/ldlinux.c32 iso/isolinux
cat >iso/isolinux/isolinux.cfg <<-END
	default test
	label test
	kernel /linux
	append initrd=/initrd console=ttyS0 quiet panic=-1 mitigations=off nokaslr tsc=reliable lpj=1000000 no_timer_check rdinit=/init -- $*
END
cat >bochsrc <<-END
	cpu: model=corei7_skylake_x, ips=100000000, reset_on_triple_fault=0
	memory: guest=512, host=512
	romimage: file=/usr/share/bochs/BIOS-bochs-latest
	vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
	ata0-master: type=cdrom, path=/machine/cd.iso, status=inserted
	boot: cdrom
	com1: enabled=1, mode=file, dev=/machine/serial
	clock: sync=none, time0=946684800
	sound: waveoutdrv=dummy, waveindrv=dummy, midioutdrv=dummy
	display_library: term
	log: /machine/log
END
echo c >debugger # Debian's Bochs has a debugger, which waits for "continue"
: >serial
chroot "$system" xorriso -as mkisofs -quiet -o /machine/cd.iso -b isolinux/isolinux.bin -c isolinux/boot.cat \
	-no-emul-boot -boot-load-size 4 -boot-info-table /machine/iso 2>"$work/log"
# Without a screen, its only display is a terminal.
TERM=vt100 script -qec "stty rows 60 cols 160; exec chroot '$system' bochs -q -rc /machine/debugger -f /machine/bochsrc -unlock" \
	/dev/null </dev/null >display 2>&1 &
machine=$!
deadline=$((SECONDS + ${CPS_SECONDS:-1200}))
until grep -q '^exit code' serial; do
	if ! kill -0 "$machine" 2>/dev/null || [ $SECONDS -gt $deadline ]; then
		tail -n 20 serial
		echo "the emulated machine stopped or takes too long"
		exit 1
	fi
	sleep 1
done
cat serial
grep -q '^exit code 0' serial
