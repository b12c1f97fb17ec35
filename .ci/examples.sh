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

step "the benchmark"
go run ./internal/bench -quick -rounds 1 -json "$tools/bench.json" -plot "$tools/bench.png" >/dev/null
