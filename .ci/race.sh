#!/usr/bin/env bash
. .ci/lib.sh
step "race detector"
go test -race -short ./...
