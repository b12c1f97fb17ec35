package devicetest

import (
	"testing"

	"cps/sampler"
)

// testGather gathers rows by steps of weight {X: 1} between slices, into memory like
// that of the rows, and scatters them back. All of it stays on the device.
func testGather[B any](t *testing.T, s Subject[B]) {
	const dim = 37
	one := sampler.Batch{Dim: dim, Rows: []sampler.Row{{Affine: sampler.Affine{X: 1}}}}
	var none B
	for _, typ := range s.Types {
		from := hold(&s, random(generator(12), 5*dim), typ, 1)
		like, err := s.Device.Like(from.buffer, 4*dim)
		if err != nil {
			t.Fatal(err)
		}
		to := &latent[B]{s: &s, whole: like, buffer: like, typ: typ, want: make([]float32, 4*dim)}
		for i, row := range []int{3, 0, 3, 4} {
			s.Device.Step(s.Device.Slice(like, i*dim, (i+1)*dim), s.Device.Slice(from.buffer, row*dim, (row+1)*dim), none, one, nil)
			copy(to.want[i*dim:], from.want[row*dim:][:dim])
		}
		sync(t, &s)
		got := make([]float32, 4*dim)
		s.Download(got, like)
		for i := range got {
			if !same(got[i], to.want[i]) {
				t.Fatalf("%v: element %d is %v, want %v", typ, i, got[i], to.want[i])
			}
		}
		from.check(t, typ.String())

		// A slice shares the memory of its buffer, also if it is empty.
		s.Device.Step(s.Device.Slice(from.buffer, dim, 2*dim), s.Device.Slice(like, 0, dim), none, one, nil)
		copy(from.want[dim:], to.want[:dim])
		s.Device.Slice(like, 4*dim, 4*dim)
		sync(t, &s)
		from.check(t, typ.String()+", written through a slice")
		if err := s.Device.Free(like); err != nil {
			t.Error(err)
		}
	}
	empty, err := s.Device.Make(0, s.plain())
	if err == nil {
		err = s.Device.Free(empty)
	}
	if err != nil {
		t.Errorf("memory for nothing: %v", err)
	}
	b := s.make(8, s.plain())
	for name, call := range map[string]func(){
		"Make of -1":         func() { s.Device.Make(-1, s.plain()) },
		"Make of no type":    func() { s.Device.Make(1, sampler.Float16+1) },
		"Like of -1":         func() { s.Device.Like(b, -1) },
		"Slice before":       func() { s.Device.Slice(b, -1, 2) },
		"Slice beyond":       func() { s.Device.Slice(b, 2, 9) },
		"Slice of less than": func() { s.Device.Slice(b, 3, 2) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			call()
		}()
	}
}
