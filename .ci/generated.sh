#!/usr/bin/env bash
# Generated constants, assembly and PTX, made again byte for byte.
. .ci/lib.sh
step "generated constants, assembly and PTX"
constants() { grep -E '^\s*(log|sin|cos)C[0-9]+ = ' | tr -d '\t'; }
diff <(cd internal/kernel/_poly && go run . | constants) <(constants <internal/kernel/normal.go)
(cd internal/kernel/_neon && go test .) # its words against clang's assembler
go generate ./internal/kernel ./examples/internal/digits ./cuda
git diff --exit-code internal/kernel examples/internal/digits cuda/kernels cuda/testdata
