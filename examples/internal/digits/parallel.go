package digits

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// parallel calls f(0) to f(tasks-1) on as many goroutines as there are processors, and returns
// when all are done. Tasks must write to different memory, and must not depend on the number
// of processors. Then the bits do not depend on it either.
func parallel(tasks int, f func(task int)) {
	workers := min(runtime.GOMAXPROCS(0), tasks)
	if workers == 1 {
		for t := range tasks {
			f(t)
		}
		return
	}
	var next atomic.Int64
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for t := int(next.Add(1)) - 1; t < tasks; t = int(next.Add(1)) - 1 {
				f(t)
			}
		})
	}
	all.Wait()
}

// pieces returns the number of pieces of a size that cover n.
func pieces(n, size int) int { return (n + size - 1) / size }
