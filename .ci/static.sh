#!/usr/bin/env bash
# What can be said without running the module: format, vet, staticcheck, modules, imports.
. .ci/lib.sh
step "gofmt, vet, staticcheck, tidy"
unformatted=$(git ls-files '*.go' | xargs gofmt -l)
[ -z "$unformatted" ] || { echo "not formatted: $unformatted"; exit 1; }
go vet ./...
go vet -tags purego ./...
for target in linux/arm64 windows/amd64 darwin/arm64 linux/386; do
	echo "vet $target"
	GOOS=${target%/*} GOARCH=${target#*/} go vet ./...
done
"$tools/staticcheck" ./...
go mod tidy -diff
# Modules of their own: generators, the consumer, examples with dependencies of theirs.
for module in $(git ls-files '*/go.mod'); do
	echo "vet $module"
	(cd "$(dirname "$module")" && go vet ./... && go mod tidy -diff)
done

step "what importing the sampler brings"
foreign=$(go list -deps ./sampler | grep -E '^[^/]*\.' | grep -vE '^gonum.org/v1/gonum/(floats|integrate/quad|internal|mathext)(/|$)|^golang.org/x/sys/cpu$' || true)
[ -z "$foreign" ] || { echo "sampler depends on: $foreign"; exit 1; }
