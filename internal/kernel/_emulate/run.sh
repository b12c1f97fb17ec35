#!/usr/bin/env bash
# Runs this package's tests on the processor that Bochs emulates, with AVX-512, for
# machines that have none. Bochs boots a Linux kernel, whose only program is the test
# binary, and prints what that prints.
#
#	bash internal/kernel/_emulate/run.sh [-install] [test flags]
#
# It needs Debian's bochs, bochs-term, bochsbios, isolinux, xorriso, cpio, bsdutils and
# a kernel image, CPS_KERNEL or unpacked from Debian's cloud kernel; -install fetches
# them, as root.
set -euo pipefail
cd "$(dirname "$0")"
model=${CPS_CPU:-corei7_skylake_x}
work=$(mktemp -d)
trap 'pkill -P $$ 2>/dev/null || true; rm -rf "$work"' EXIT

if [ "${1:-}" = -install ]; then
	shift
	apt-get install -y -qq --no-install-recommends bochs bochs-term bochsbios isolinux syslinux-common xorriso cpio bsdutils procps >/dev/null
fi
linux=${CPS_KERNEL:-/tmp/cps-emulate-vmlinuz}
if [ ! -s "$linux" ]; then
	package=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends:/ {print $2; exit}')
	(cd "$work" && apt-get download -qq "$package" 2>/dev/null && dpkg -x "$package"*.deb linux)
	cp "$work"/linux/boot/vmlinuz-* "$linux"
fi

# XSAVEC and XSAVES are switched off, for Linux refuses the size that Bochs 2.7 gives
# them, and AVX with it.
#
# The machine's files: the test binary, what it reads, and nothing else.
mkdir -p "$work"/root/{dev,proc,tmp} "$work"/iso/isolinux
mknod "$work/root/dev/console" c 5 1
export CGO_ENABLED=0 GOARCH=amd64 GOOS=linux
go build -ldflags='-s -w' -o "$work/root/init" main.go
(cd .. && go test -c -ldflags='-s -w' -o "$work/root/test" . && cp ./*.s "$work/root")
[ ! -d ../testdata ] || cp -r ../testdata "$work/root"
(cd "$work/root" && find . | cpio -o -H newc --quiet | gzip -1 >"$work/iso/initrd")
cp "$linux" "$work/iso/linux"
cp /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 "$work/iso/isolinux"
cat >"$work/iso/isolinux/isolinux.cfg" <<-END
	default test
	label test
	kernel /linux
	append initrd=/initrd console=ttyS0 quiet panic=-1 mitigations=off nokaslr clearcpuid=321,323 tsc=reliable lpj=1000000 no_timer_check rdinit=/init -- $*
END
xorriso -as mkisofs -quiet -o "$work/cd.iso" -b isolinux/isolinux.bin -c isolinux/boot.cat \
	-no-emul-boot -boot-load-size 4 -boot-info-table "$work/iso" 2>"$work/xorriso"
cat >"$work/bochsrc" <<-END
	cpu: model=$model, ips=100000000, reset_on_triple_fault=0
	memory: guest=512, host=512
	romimage: file=/usr/share/bochs/BIOS-bochs-latest
	vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
	ata0-master: type=cdrom, path=$work/cd.iso, status=inserted
	boot: cdrom
	com1: enabled=1, mode=file, dev=$work/serial
	clock: sync=none, time0=946684800
	sound: waveoutdrv=dummy, waveindrv=dummy, midioutdrv=dummy
	display_library: term
	log: $work/log
END
echo c >"$work/debugger" # Debian's Bochs has a debugger, which waits for "continue"
cd "$work"
: >serial
# The only display it has without a screen is a terminal.
TERM=vt100 script -qec "stty rows 60 cols 160; exec bochs -q -rc debugger -f bochsrc -unlock" /dev/null </dev/null >display 2>&1 &
machine=$!
deadline=$((SECONDS + ${CPS_SECONDS:-900}))
until grep -q '^exit code' serial; do
	if ! kill -0 "$machine" 2>/dev/null || [ $SECONDS -gt $deadline ]; then
		tail -n 20 serial
		echo "the emulated machine stopped or takes too long"
		exit 1
	fi
	sleep 1
done
kill "$machine" 2>/dev/null || true
pkill -f "$work/bochsrc" 2>/dev/null || true
cat serial
grep -q '^exit code 0' serial
