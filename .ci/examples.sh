#!/usr/bin/env bash
# The programs, each in a short mode.
. .ci/lib.sh
step "the consumer module"
(cd internal/consumer && go run .)

step "the examples"
go run ./examples/digits -out "$tools/out"
ls -l "$tools/out"
go run ./examples/device -rows 2 -dim 3000
go run ./examples/scheduler -model z-image -strength 0.6
go run ./examples/grpo -quick -out "$tools/grpo" 2>/dev/null
go run ./examples/grpo -quick -resume -out "$tools/grpo" 2>/dev/null
go run ./examples/paper -quick -out "$tools/paper" >"$tools/paper.txt" 2>&1 || { cat "$tools/paper.txt"; exit 1; }
[ "$(find "$tools/paper" -maxdepth 1 -name '*.png' | wc -l)" = 19 ]
grep -q 'On policy every ratio is exactly 1' "$tools/paper/paper.md"

step "GoMLX"
(cd examples/gomlx && go test ./...)

step "Gorgonia"
(cd examples/gorgonia && go test ./... && go run . -quick -out "$tools/gorgonia")

step "many processes over NATS"
(
	cd examples/cluster
	go run . -iterations 5 -listen 127.0.0.1:0 -out "$tools/cluster" >"$tools/cluster.txt"
	go run . single -iterations 5 -out "$tools/single" >"$tools/single.txt"
	grep -q '^weights: [0-9a-f]\{64\}$' "$tools/single.txt"
	diff <(grep weights: "$tools/cluster.txt") <(grep weights: "$tools/single.txt")
	go test -parallel 4 ./... # they wait for each other's processes more than they compute
)

step "a network of PyTorch through onnxruntime"
ort=${XDG_CACHE_HOME:-$HOME/.cache}/cps-onnxruntime
mkdir -p "$ort"
[ -d "$ort/node_modules/onnxruntime-node" ] ||
	npm install --no-save --ignore-scripts --prefix "$ort" onnxruntime-node@1.30.0 >/dev/null
(
	cd examples/onnx
	go run . -quick -ort "$ort" -out "$tools/onnx"
	go test -v . -ort "$ort" >"$tools/onnx.txt" 2>&1 || { cat "$tools/onnx.txt"; exit 1; }
	! grep -e '--- SKIP' "$tools/onnx.txt"
)

step "the benchmark"
go run ./internal/bench -quick -rounds 1 -json "$tools/bench.json" -plot "$tools/bench.png" >/dev/null
