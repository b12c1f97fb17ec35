#!/usr/bin/env bash
# What takes minutes.
. .ci/lib.sh
step "all mutants of the PTX"
go test ./cuda -run Mutants -timeout 1h -long

step "training reproduces the committed weights"
go test ./examples/internal/digits -run CommittedWeights -timeout 1h -long
