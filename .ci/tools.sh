#!/usr/bin/env bash
# Installs what the checks need beside Go.
. .ci/lib.sh
GOBIN=$tools go install honnef.co/go/tools/cmd/staticcheck@v0.8.2
missing=()
for tool in clang-14 g++ curl cpio debootstrap readelf:binutils qemu-aarch64-static:qemu-user-static npm; do
	command -v "${tool%:*}" >/dev/null || missing+=("${tool#*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
	apt-get update -qq
	apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
