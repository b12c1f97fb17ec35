package main

import (
	"context"
	"errors"
	"runtime"

	ort "github.com/yalue/onnxruntime_go"

	"cps/sampler"
)

// conditional is a sampler.Model: an ONNX network of inputs x [n,1,28,28], t [n] and class [n]
// and output v. Row r of the run is of class classes[r]; row ^r is of none.
func conditional(s *ort.DynamicAdvancedSession, classes []int64) sampler.Model[[]float32] {
	return func(_ context.Context, c sampler.Call[[]float32]) error {
		n := int64(len(c.Rows))
		times, class := make([]float32, n), make([]int64, n)
		for i, row := range c.Rows {
			if times[i], class[i] = float32(c.Times[i]), none; row >= 0 {
				class[i] = classes[row]
			}
		}
		var t tensors
		return t.run(s, tensor(&t, c.V, n, 1, side, side), tensor(&t, c.X, n, 1, side, side), tensor(&t, times, n), tensor(&t, class, n))
	}
}

// tensors are over memory of Go. onnxruntime keeps its address until they are destroyed, and
// until then it is pinned.
type tensors struct {
	runtime.Pinner
	values []ort.Value
	err    error
}

func tensor[T ort.TensorData](t *tensors, data []T, shape ...int64) ort.Value {
	t.Pin(&data[0])
	v, err := ort.NewTensor(shape, data)
	if err == nil {
		t.values = append(t.values, v)
	}
	t.err = errors.Join(t.err, err)
	return v
}

// run calls a session, and destroys the tensors whatever comes of it.
func (t *tensors) run(s *ort.DynamicAdvancedSession, out ort.Value, in ...ort.Value) error {
	if t.err == nil {
		t.err = s.Run(in, []ort.Value{out})
	}
	for _, v := range t.values {
		t.err = errors.Join(t.err, v.Destroy())
	}
	t.Unpin()
	return t.err
}
