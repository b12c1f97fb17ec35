package golden

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// A tester takes the reports of judges. It is a test, or a record of what a test would say.
type tester interface {
	Helper()
	Name() string
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	Run(name string, f func(t tester)) bool
	differs(r reason)   // a case where the module differs on purpose was met, and judged by r
	notJudged(r reason) // ends the case: the module has nothing to compare it with
	judged(numbers int) // that many numbers were compared
}

// A live tester is a test.
type live struct{ *testing.T }

func (l live) Run(name string, f func(t tester)) bool {
	return l.T.Run(name, func(t *testing.T) { f(live{t}) })
}

func (l live) differs(r reason) {
	l.Helper()
	l.Logf("the module differs: %s", r)
}

func (l live) notJudged(r reason) {
	l.Helper()
	l.Skipf("not judged: %s", r)
}

func (l live) judged(int) {}

// A record keeps the reports of judges.
type record struct {
	name string
	*findings
}

type findings struct {
	failures []string
	reasons  map[reason]int
	numbers  int
}

func newRecord(name string) record {
	return record{name, &findings{reasons: map[reason]int{}}}
}

func (r record) Helper()             {}
func (r record) Name() string        { return r.name }
func (r record) Logf(string, ...any) {}

func (r record) Errorf(format string, args ...any) {
	r.failures = append(r.failures, r.name+": "+fmt.Sprintf(format, args...))
}

func (r record) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

func (r record) Fatal(args ...any) { r.Fatalf("%s", strings.TrimSuffix(fmt.Sprintln(args...), "\n")) }

func (r record) differs(why reason) { r.reasons[why]++ }

func (r record) notJudged(why reason) {
	r.reasons[why]++
	runtime.Goexit()
}

func (r record) judged(n int) { r.numbers += n }

// Run calls f on a new goroutine and waits for it. Fatal ends that goroutine.
func (r record) Run(name string, f func(t tester)) bool {
	before := len(r.failures)
	done := make(chan any)
	go func() {
		defer func() { done <- recover() }() // nil also after Goexit
		f(record{r.name + "/" + name, r.findings})
	}()
	if p := <-done; p != nil {
		r.Errorf("%s: panic: %v", name, p)
	}
	return len(r.failures) == before
}
