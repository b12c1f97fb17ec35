#!/usr/bin/env bash
# The same bits by every implementation and on every architecture at hand.
. .ci/lib.sh
step "the same bits: AVX2, portable code, GOAMD64=v3"
go test -v -run '^TestEveryLength$' ./internal/kernel >"$tools/implementations"
tested() { grep -q -- "--- PASS: TestEveryLength/$1" "$tools/implementations" || { echo "the $1 kernels were not tested"; exit 1; }; }
if [ "$(go env GOARCH)" = amd64 ]; then
	tested AVX2
fi
if grep -qw avx512f /proc/cpuinfo; then
	tested AVX512
	GODEBUG=cpu.avx512f=off go test ./internal/kernel ./sampler
fi
GODEBUG=cpu.avx2=off go test ./internal/kernel ./sampler ./examples/internal/digits ./examples/internal/finetune
go test -tags purego ./internal/kernel ./noise ./sampler ./logprob ./internal/golden ./examples/internal/digits ./examples/internal/finetune
if grep -qw bmi2 /proc/cpuinfo && grep -qw fma /proc/cpuinfo; then
	GOAMD64=v3 go test ./...
else
	echo "this processor has no GOAMD64=v3: skipped"
fi

step "the same bits: arm64, emulated"
arm64=$(command -v qemu-aarch64-static)
export CGO_ENABLED=0 GOARCH=arm64
go test -short -exec "$arm64" ./schedule ./grpo ./logprob ./internal/golden ./internal/readme
# The policy's gradient is statistics over many runs, and says nothing of bits.
go test -short -exec "$arm64" -skip '^TestPolicyGradient$' ./noise ./sampler/...
go test -short -exec "$arm64" -v ./internal/kernel -rapid.checks=2500 >"$tools/neon" || { tail -n 40 "$tools/neon"; exit 1; }
passed() { grep -- "--- PASS: .*/$1 " "$tools/neon" | sed "s|/$1 .*||" | sort; }
if ! passed NEON | grep -q TestEveryLength || ! diff <(passed portable) <(passed NEON); then
	echo "the NEON kernels were not tested, or not by every test of implementations"
	exit 1
fi
for package in $(packages .ci/lists/frozen.txt); do
	pattern=$(GOARCH= chosen .ci/lists/frozen.txt "$package")
	go test -short -tags purego -exec "$arm64" -run "$pattern" "$package"
done
