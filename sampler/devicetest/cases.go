package devicetest

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"testing"

	"cps/noise"
	"cps/sampler"
	"cps/sampler/solver"
	"cps/schedule"
)

// testLongRows tests rows of so many blocks that their sums are added in several
// rounds.
func testLongRows[B any](t *testing.T, s Subject[B]) {
	r := generator(3)
	for _, dim := range []int{32 * 1024, 33*1024 + 5, 70 * 1024} {
		b := sampler.Batch{Dim: dim, Key: 1, Rows: []sampler.Row{
			{Affine: sampler.Affine{X: 0.55}, ID: noise.ID{Sample: 1, Step: 2}},
			{Affine: sampler.Affine{V: 0.7, X: 0.1}, ID: noise.ID{Sample: 2, Step: 2}},
		}}
		x, v := hold(&s, random(r, b.Len()), s.plain(), 0), hold(&s, random(r, b.Len()), s.plain(), 0)
		next := hold(&s, random(r, b.Len()), s.plain(), 0)
		sq := make([]float64, 2)
		s.Device.SumSquares(sq, next.buffer, x.buffer, v.buffer, b)
		sync(t, &s)
		checkSums(t, fmt.Sprint("Dim ", dim), sq, rowSquares(next.want, x.want, v.want, b))
	}
}

// testOrder tests the order in which squares are added. A wrong order shows where few
// squares are not 0; among many of one size it seldom does.
func testOrder[B any](t *testing.T, s Subject[B]) {
	r := generator(9)
	for _, typ := range s.Types {
		b := sampler.Batch{Dim: 64*1024 - 300, Rows: make([]sampler.Row, 3)}
		values := random(r, b.Len())
		for i := range values {
			if r.IntN(40) != 0 {
				values[i] = 0
			}
		}
		next := hold(&s, values, typ, 0)
		var none B
		sq := make([]float64, len(b.Rows))
		s.Device.SumSquares(sq, next.buffer, none, none, b)
		sync(t, &s)
		checkSums(t, typ.String(), sq, rowSquares(next.want, nil, nil, b))
	}
}

// testTies tests values halfway between two of a 16-bit type, which go to the even
// one.
func testTies[B any](t *testing.T, s Subject[B]) {
	r := generator(10)
	b := sampler.Batch{Dim: 2000, Rows: []sampler.Row{{Affine: sampler.Affine{X: 1, V: 1}}}}
	for _, typ := range s.storages(sampler.BFloat16, sampler.Float16) {
		half := map[sampler.Storage]uint32{sampler.BFloat16: 1 << 15, sampler.Float16: 1 << 12}[typ] // of the last place
		values, halves := random(r, b.Dim), make([]float32, b.Dim)
		for i := range values {
			values[i] = typ.Round(values[i] + float32(math.Copysign(0.1, float64(values[i]))))
			halves[i] = math.Float32frombits(bits(values[i])|half) - values[i]
		}
		x, v := hold(&s, values, s.plain(), 0), hold(&s, halves, s.plain(), 0)
		dst := hold(&s, values, s.plain(), 0)
		b.Storage = typ
		next, want := step(x.want, v.want, b, typ)
		down := 0
		for i, y := range next {
			if y == values[i] {
				down++
			}
		}
		if down < b.Dim/4 || down > 3*b.Dim/4 {
			t.Fatalf("%v: %d of %d values go down: they are not ties", typ, down, b.Dim)
		}
		sq := make([]float64, 1)
		s.Device.Step(dst.buffer, x.buffer, v.buffer, b, sq)
		sync(t, &s)
		dst.want = next
		dst.check(t, typ.String())
		checkSums(t, typ.String(), sq, want)
	}
}

// testManyRows tests more rows than a launch has warps on a small device, all
// different.
func testManyRows[B any](t *testing.T, s Subject[B]) {
	r := generator(4)
	b := sampler.Batch{Dim: 6, Key: 77, Rows: make([]sampler.Row, 700)}
	for i := range b.Rows {
		b.Rows[i] = sampler.Row{
			Affine: sampler.Affine{X: r.NormFloat64(), V: r.NormFloat64(), Eps: r.Float64()},
			ID:     noise.ID{Sample: r.Uint64(), Step: r.Uint32()},
		}
	}
	x, v := hold(&s, random(r, b.Len()), s.plain(), 0), hold(&s, random(r, b.Len()), s.plain(), 0)
	dst := hold(&s, random(r, b.Len()), s.plain(), 0)
	sq := make([]float64, len(b.Rows))
	s.Device.Step(dst.buffer, x.buffer, v.buffer, b, sq)
	sync(t, &s)
	next, want := step(x.want, v.want, b, s.plain())
	dst.want = next
	dst.check(t, "dst")
	checkSums(t, "700 rows", sq, want)
}

// testQueue tests that calls run in order, and have read batch and scale when they
// return. One Sync makes all sums valid, for any number of calls. A Sync without a
// call is fine.
func testQueue[B any](t *testing.T, s Subject[B]) {
	r := generator(5)
	const rows, dim, calls = 3, 1100, 40
	b := sampler.Batch{Dim: dim, Key: 3, Storage: s.storages(sampler.BFloat16)[0], Rows: make([]sampler.Row, rows)}
	x := hold(&s, random(r, b.Len()), s.plain(), 0)
	v := hold(&s, random(r, b.Len()), s.plain(), 0)
	dv := hold(&s, make([]float32, b.Len()), s.plain(), 0)
	scale := make([]float64, rows)
	var got, want [calls][]float64
	for round := range 2 {
		for k := range calls {
			for i := range b.Rows {
				b.Rows[i] = sampler.Row{
					Affine: sampler.Affine{X: 0.9 * r.Float64(), V: r.NormFloat64(), Eps: r.Float64()},
					ID:     noise.ID{Sample: r.Uint64(), Step: uint32(k)},
				}
				scale[i] = r.NormFloat64()
			}
			got[k] = make([]float64, rows)
			var next []float32
			switch k % 3 {
			case 0:
				next, want[k] = step(x.want, v.want, b, b.Storage)
				s.Device.Step(x.buffer, x.buffer, v.buffer, b, got[k])
				x.want = next
			case 1:
				want[k] = rowSquares(x.want, x.want, v.want, b)
				s.Device.SumSquares(got[k], x.buffer, x.buffer, v.buffer, b)
			case 2:
				want[k] = got[k]
				dv.want = grad(dv.want, x.want, x.want, v.want, b, scale, s.plain())
				s.Device.Grad(dv.buffer, x.buffer, x.buffer, v.buffer, b, scale)
			}
			clear(b.Rows) // the device has read them by now
			for i := range scale {
				scale[i] = math.NaN()
			}
		}
		sync(t, &s)
		for k := range calls {
			checkSums(t, fmt.Sprintf("round %d, call %d", round, k), got[k], want[k])
		}
		x.check(t, "x")
		dv.check(t, "dv")
		sync(t, &s)
	}
}

// testNothingRead tests that an input of weight 0 is not read: it need not exist, and
// its contents do not matter.
func testNothingRead[B any](t *testing.T, s Subject[B]) {
	var none B
	r := generator(6)
	for _, dim := range []int{7, 1024, 1500} {
		id := noise.ID{Sample: 8, Step: 1}
		b := sampler.Batch{Dim: dim, Key: 4, Rows: make([]sampler.Row, 2)}
		nan := make([]float32, b.Len())
		for i := range nan {
			nan[i] = float32(math.NaN())
		}
		bad := hold(&s, nan, s.plain(), 0)
		good := hold(&s, random(r, b.Len()), s.plain(), 0)
		for _, a := range []sampler.Affine{{}, {X: 0.7}, {V: 0.7}, {Eps: 0.7}, {X: 0.7, Eps: 0.3}, {V: 0.7, Eps: 0.3}} {
			for i := range b.Rows {
				b.Rows[i] = sampler.Row{Affine: a, ID: id}
				id.Sample++
			}
			x, v, bx, bv := none, none, bad.buffer, bad.buffer
			if a.X != 0 {
				x, bx = good.buffer, good.buffer
			}
			if a.V != 0 {
				v, bv = good.buffer, good.buffer
			}
			dst := hold(&s, random(r, b.Len()), s.plain(), 0)
			for _, in := range [][2]B{{x, v}, {bx, bv}} {
				sq, again := make([]float64, 2), make([]float64, 2)
				next, want := step(good.want, good.want, b, s.plain())
				s.Device.Step(dst.buffer, in[0], in[1], b, sq)
				s.Device.SumSquares(again, dst.buffer, in[0], in[1], b)
				sync(t, &s)
				dst.want = next
				dst.check(t, fmt.Sprint(a))
				checkSums(t, fmt.Sprint("Step with ", a), sq, want)
				checkSums(t, fmt.Sprint("Squares with ", a), again, want)
				scale := []float64{0.3, -0.6}
				dst.want = grad(dst.want, good.want, good.want, good.want, b, scale, s.plain())
				s.Device.Grad(dst.buffer, good.buffer, in[0], in[1], b, scale)
				sync(t, &s)
				dst.check(t, fmt.Sprint("Grad with ", a))
			}
		}
		// One row reads an input and another does not.
		b.Rows[0].Affine, b.Rows[1].Affine = sampler.Affine{X: 1}, sampler.Affine{Eps: 1}
		half := hold(&s, append(random(r, dim), nan[:dim]...), s.plain(), 0)
		dst := hold(&s, nan, s.plain(), 0)
		next, _ := step(half.want, nil, b, s.plain())
		s.Device.Step(dst.buffer, half.buffer, none, b, nil)
		sync(t, &s)
		dst.want = next
		dst.check(t, "half")
	}
}

// testNonFinite tests that a NaN or an infinity in an input that is read shows in the
// row's sum, and in no other sum.
func testNonFinite[B any](t *testing.T, s Subject[B]) {
	r := generator(7)
	b := sampler.Batch{Dim: 1300, Key: 5, Rows: make([]sampler.Row, 3)}
	for i := range b.Rows {
		b.Rows[i] = sampler.Row{Affine: sampler.Affine{X: 0.8, V: 0.3, Eps: 0.1}, ID: noise.ID{Sample: uint64(i), Step: 1}}
	}
	for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))} {
		for _, at := range []int{0, 37, 1023, 1024, 1299} {
			for input := range 3 {
				values := [3][]float32{random(r, b.Len()), random(r, b.Len()), random(r, b.Len())}
				values[input][b.Dim+at] = bad
				typ := s.Types[at%len(s.Types)]
				next, x, v := hold(&s, values[0], typ, 0), hold(&s, values[1], typ, 0), hold(&s, values[2], typ, 0)
				sq := make([]float64, 3)
				s.Device.SumSquares(sq, next.buffer, x.buffer, v.buffer, b)
				sync(t, &s)
				checkSums(t, "Squares", sq, rowSquares(next.want, x.want, v.want, b))
				for i, sum := range sq {
					if finite := !math.IsNaN(sum) && !math.IsInf(sum, 0); finite != (i != 1) {
						t.Fatalf("%v at element %d of row 1: sum of row %d is %v", bad, at, i, sum)
					}
				}
				want, sums := step(x.want, v.want, b, typ)
				s.Device.Step(next.buffer, x.buffer, v.buffer, b, sq)
				sync(t, &s)
				next.want = want
				next.check(t, fmt.Sprintf("%v at %d", bad, at))
				checkSums(t, "Step", sq, sums)
			}
		}
	}
	// Results that a 16-bit type cannot hold.
	for _, round := range s.storages(sampler.BFloat16, sampler.Float16) {
		b := sampler.Batch{Dim: 4, Storage: round, Rows: []sampler.Row{{Affine: sampler.Affine{X: 1}}}}
		values := []float32{math.MaxFloat32, -math.MaxFloat32, 65519.9, 65520}
		if s.plain() != sampler.Float32 {
			most := map[sampler.Storage]float32{sampler.BFloat16: 0x1.fep127, sampler.Float16: 65504}[round]
			values, b.Rows[0].X = []float32{most, -most, most / 2, 1}, 1.003
		}
		x := hold(&s, values, s.plain(), 0)
		next, want := step(x.want, nil, b, round)
		sq := make([]float64, 1)
		var none B
		s.Device.Step(x.buffer, x.buffer, none, b, sq)
		sync(t, &s)
		x.want = next
		x.check(t, round.String())
		checkSums(t, round.String(), sq, want)
		if !math.IsInf(sq[0], 1) {
			t.Errorf("%v: sum is %v after an overflow", round, sq[0])
		}
	}
}

// testSubnormal tests that no type flushes numbers below the smallest normal one.
func testSubnormal[B any](t *testing.T, s Subject[B]) {
	r := generator(8)
	b := sampler.Batch{Dim: 64, Key: 6, Rows: []sampler.Row{{Affine: sampler.Affine{X: 0.55, V: 0x1p-20}}}}
	for _, typ := range s.storages(sampler.Float32, sampler.BFloat16, sampler.Float16) {
		b.Storage = typ
		tiny := float32(0x1p-130)
		if typ == sampler.Float16 {
			tiny = 0x1p-18
		}
		values := random(r, b.Dim)
		for i := range values {
			values[i] *= tiny
		}
		x, v := hold(&s, values, s.plain(), 0), hold(&s, values, s.plain(), 0)
		dst := hold(&s, values, s.plain(), 0)
		next, _ := step(x.want, v.want, b, typ)
		s.Device.Step(dst.buffer, x.buffer, v.buffer, b, nil)
		sync(t, &s)
		dst.want = next
		dst.check(t, typ.String())
		zero := 0
		for _, y := range next {
			if y == 0 {
				zero++
			}
		}
		if zero > b.Dim/2 {
			t.Errorf("%v: %d of %d results are 0: the test shows nothing", typ, zero, b.Dim)
		}
	}
}

// testStreams tests that every bit of keys, samples and steps counts, and that a row
// does not depend on the other rows of its batch.
func testStreams[B any](t *testing.T, s Subject[B]) {
	var none B
	ids := []noise.ID{{}, {Sample: 1}, {Step: 1}, {Sample: 1 << 32}, {Sample: 1 << 63}, {Step: 1 << 31}, {Sample: math.MaxUint64, Step: 1<<32 - 2}}
	for _, key := range []noise.Key{0, 1, 1 << 32, 1 << 63, math.MaxUint64} {
		b := sampler.Batch{Dim: 1030, Key: key}
		for _, id := range ids {
			b.Rows = append(b.Rows, sampler.Row{Affine: sampler.Affine{Eps: 1}, ID: id})
		}
		dst := hold(&s, make([]float32, b.Len()), s.plain(), 0)
		dst.want, _ = step(nil, nil, b, s.plain())
		s.Device.Step(dst.buffer, none, none, b, nil)
		sync(t, &s)
		dst.check(t, fmt.Sprintf("key %#x", uint64(key)))
		for i := range ids {
			one := b
			one.Rows = b.Rows[i : i+1]
			d := hold(&s, make([]float32, b.Dim), s.plain(), 0)
			d.want = row(dst.want, b, i)
			s.Device.Step(d.buffer, none, none, one, nil)
			sync(t, &s)
			d.check(t, fmt.Sprintf("key %#x, %v alone", uint64(key), ids[i]))
		}
	}
	// Consecutive sample numbers may overflow.
	b := sampler.Batch{Dim: 5, Key: 2}
	for i := range uint64(3) {
		b.Rows = append(b.Rows, sampler.InitialRow(math.MaxUint64-1+i))
	}
	dst := hold(&s, make([]float32, b.Len()), s.plain(), 0)
	dst.want, _ = step(nil, nil, b, s.plain())
	s.Device.Step(dst.buffer, none, none, b, nil)
	sync(t, &s)
	dst.check(t, "samples that run over")
}

// testKnownAnswers tests the bits of one batch, which are frozen for ever. So the
// specification in this package cannot drift together with the devices.
func testKnownAnswers[B any](t *testing.T, s Subject[B]) {
	const dim = 2500
	b := sampler.Batch{Dim: dim, Key: 42, Storage: s.storages(sampler.Float16)[0], Rows: []sampler.Row{
		{Affine: sampler.Affine{X: 0.9, V: -0.1, Eps: 0.3}, ID: noise.ID{Sample: 1, Step: 7}},
		{Affine: sampler.Affine{Eps: 1}, ID: noise.ID{Sample: 1 << 40, Step: 0}},
	}}
	values := make([]float32, b.Len())
	for i := range values {
		values[i] = float32(float32(i%97)*0.031) - 1.5 // not fused anywhere
	}
	x, v := hold(&s, values, s.plain(), 0), hold(&s, values, s.plain(), 1)
	dst := hold(&s, values, s.plain(), 0)
	sq := make([]float64, 2)
	s.Device.Step(dst.buffer, x.buffer, v.buffer, b, sq)
	s.Device.Grad(v.buffer, dst.buffer, x.buffer, v.buffer, b, []float64{0.55, -3})
	sync(t, &s)
	h := sha256.New()
	for _, l := range []*latent[B]{dst, v} {
		got := make([]float32, b.Len())
		s.Download(got, l.buffer)
		binary.Write(h, binary.LittleEndian, got)
	}
	binary.Write(h, binary.LittleEndian, sq)
	want := map[sampler.Storage]string{
		sampler.Float32:  "1e1c2d6d06e4c20d012fa2e058073dc5d6e8c6d6410cf22f0d44a54ed3686db0",
		sampler.BFloat16: "eda6e91d99ef7675a9fbd87bf4dcc532a3745a44f18d8895254b5b85716e6f50",
		sampler.Float16:  "8b320d31fcfb1997e382630f47178a1cbe64643ff4614a34fdc77ceb65bbf500",
	}[s.plain()]
	if got := fmt.Sprintf("%x", h.Sum(nil)); got != want {
		t.Errorf("sha256 of results is %s, want %s", got, want)
	}
}

// rounding is the CPU with buffers of another type: every result is rounded to the
// type.
type rounding struct {
	sampler.CPU
	typ sampler.Storage
}

func (r rounding) Step(dst, x, v []float32, b sampler.Batch, sq []float64) {
	if b.Storage == sampler.Float32 {
		b.Storage = r.typ
	}
	r.CPU.Step(dst, x, v, b, sq)
}

// testRollout tests that a rollout and its replay give what the CPU gives, for a rule
// that looks back, too.
func testRollout[B any](t *testing.T, s Subject[B]) {
	for _, typ := range s.Types {
		for _, rule := range []sampler.Rule{sampler.FlowCPS{Eta: 0.55}, solver.DPMPlus{Order: 3, Eta: 0.7, Heun: true}} {
			testRolloutOf(t, s, typ, rule)
		}
	}
}

func testRolloutOf[B any](t *testing.T, s Subject[B], typ sampler.Storage, rule sampler.Rule) {
	run, err := sampler.New(sampler.Config{
		Scheduler: schedule.Linear(4).Shift(3),
		Rule:      rule,
		Storage:   typ,
	})
	if err != nil {
		t.Fatal(err)
	}
	b := run.Batch(700, 11, 5, 6, 9)
	want := sampler.NewTrajectory(b, run.Steps(), sampler.Window{})
	cpu := rounding{sampler.CPU{Workers: 1}, s.plain()}
	cpu.Step(want.Latents[0], nil, nil, b, nil)
	if err := sampler.Rollout(context.Background(), cpu, run, b, want, sampler.OneTime(func(v, x []float32, time float64) error {
		err := velocity(v, x, time)
		for i := range v {
			v[i] = s.plain().Round(v[i]) // as the device's buffer does
		}
		return err
	})); err != nil {
		t.Fatal(err)
	}

	b = run.Batch(700, 11, 5, 6, 9)
	got := &sampler.Trajectory[B]{V: s.make(b.Len(), s.plain()), SumSquares: make([][]float64, run.Steps())}
	for range run.Steps() + 1 {
		got.Latents = append(got.Latents, s.make(b.Len(), typ))
	}
	for i := range got.SumSquares {
		got.SumSquares[i] = make([]float64, len(b.Rows))
	}
	var none B
	s.Device.Step(got.Latents[0], none, none, b, nil)
	hostX := make([]float32, b.Len())
	model := func(_ context.Context, c sampler.Call[B]) error {
		n := len(c.Rows) * c.Dim
		x, v := make([]float32, n), make([]float32, n)
		s.Download(x, c.X)
		velocity(v, x, c.Times[0])
		s.Upload(c.V, v)
		return nil
	}
	if err := sampler.Rollout(context.Background(), s.Device, run, b, got, model); err != nil {
		t.Fatal(err)
	}
	for i := range want.Latents {
		s.Download(hostX, got.Latents[i])
		for j := range hostX {
			if !same(hostX[j], want.Latents[i][j]) {
				t.Fatalf("%v, %T: element %d of latents %d is %v, want %v", typ, rule, j, i, hostX[j], want.Latents[i][j])
			}
		}
	}
	for i := range want.SumSquares {
		checkSums(t, fmt.Sprintf("%v, %T, step %d", typ, rule, i), got.SumSquares[i], want.SumSquares[i])
	}
	if err := sampler.CheckOnPolicy(context.Background(), s.Device, run, b, got, model); err != nil {
		t.Errorf("%v, %T: %v", typ, rule, err)
	}
}

// velocity is a model whose float32 operations are not fused.
func velocity(v, x []float32, time float64) error {
	c := float32(0.37 * time)
	for i, x := range x {
		v[i] = float32(0.55*x) - c
	}
	return nil
}

// testPanics tests that wrong lengths, an unknown storage type and noise that does not
// exist panic on every device. A small call does so before anything is written.
func testPanics[B any](t *testing.T, s Subject[B]) {
	b := sampler.Batch{Dim: 3, Rows: []sampler.Row{
		{Affine: sampler.Affine{X: 1}},
		{Affine: sampler.Affine{V: 1, Eps: 1}},
	}}
	var none B
	f := func(n int) B { return s.make(n, s.plain()) }
	d := func(n int) []float64 { return make([]float64, n) }
	with := func(change func(b *sampler.Batch)) sampler.Batch {
		c := b
		c.Rows = append([]sampler.Row(nil), b.Rows...)
		change(&c)
		return c
	}
	zero := with(func(b *sampler.Batch) { b.Dim = 0 })
	most := uint64(sampler.MaxDim)
	long := with(func(b *sampler.Batch) { b.Dim = int(min(most+1, math.MaxInt)) }) // beyond MaxDim, or beyond an int
	stored := with(func(b *sampler.Batch) { b.Storage = sampler.Float16 + 1 })
	beyond := with(func(b *sampler.Batch) {
		b.Dim, b.Rows = 6, b.Rows[1:]
		b.Rows[0].Block = math.MaxUint32
	})
	reserved := with(func(b *sampler.Batch) { b.Rows[1].Step = math.MaxUint32 })
	dev := s.Device
	for i, call := range []func(){
		func() { dev.Step(f(5), f(6), f(6), b, nil) },
		func() { dev.Step(f(9), f(9), f(9), b, nil) },
		func() { dev.Step(none, f(6), f(6), b, nil) },
		func() { dev.Step(f(6), f(5), f(6), b, nil) },
		func() { dev.Step(f(6), none, f(6), b, nil) },
		func() { dev.Step(f(6), f(6), f(7), b, nil) },
		func() { dev.Step(f(6), f(6), none, b, nil) },
		func() { dev.Step(f(6), f(6), f(6), b, d(1)) },
		func() { dev.Step(f(6), f(6), f(6), b, []float64{}) },
		func() { dev.Step(f(6), f(6), f(6), zero, nil) },
		func() { dev.Step(f(6), f(6), f(6), long, nil) },
		func() { dev.Step(f(6), f(6), f(6), reserved, nil) },
		func() { dev.Step(f(6), f(6), f(6), beyond, nil) },
		func() { dev.Step(f(6), f(6), f(6), stored, nil) },
		func() { dev.SumSquares(d(2), f(3), f(6), f(6), b) },
		func() { dev.SumSquares(d(2), f(6), f(3), f(6), b) },
		func() { dev.SumSquares(d(2), f(6), f(6), f(3), b) },
		func() { dev.SumSquares(d(3), f(6), f(6), f(6), b) },
		func() { dev.SumSquares(nil, f(6), f(6), f(6), b) },
		func() { dev.SumSquares(d(2), f(6), f(6), f(6), zero) },
		func() { dev.SumSquares(d(1), f(6), f(6), f(6), beyond) },
		func() { dev.SumSquares(d(2), f(6), f(6), f(6), stored) },
		func() { dev.Grad(f(6), f(3), f(6), f(6), b, d(2)) },
		func() { dev.Grad(f(6), f(6), f(3), f(6), b, d(2)) },
		func() { dev.Grad(f(6), f(6), f(6), f(3), b, d(2)) },
		func() { dev.Grad(f(3), f(6), f(6), f(6), b, d(2)) },
		func() { dev.Grad(none, f(6), f(6), f(6), b, d(2)) },
		func() { dev.Grad(f(6), f(6), f(6), f(6), b, d(1)) },
		func() { dev.Grad(f(6), f(6), f(6), f(6), b, nil) },
		func() { dev.Grad(f(6), f(6), f(6), f(6), zero, d(2)) },
		func() { dev.Grad(f(6), f(6), f(6), f(6), beyond, d(1)) },
		func() { dev.Grad(f(6), f(6), f(6), f(6), stored, d(2)) },
	} {
		if message := panics(call); message == nil {
			t.Errorf("call %d with wrong lengths or an unknown storage type does not panic", i)
		}
	}
	sync(t, &s) // none of these calls was queued

	// A small call panics before anything is written, also where the last row is at fault.
	was := make([]float32, 6)
	for i := range was {
		was[i] = border
	}
	held, in := f(6), f(6)
	s.Upload(held, was)
	s.Upload(in, was)
	last := with(func(b *sampler.Batch) {
		b.Dim, b.Rows = 1, make([]sampler.Row, 6)
		for i := range b.Rows {
			b.Rows[i].Affine = sampler.Affine{X: 2}
		}
		b.Rows[5].Step = math.MaxUint32
	})
	ones := []float64{1, 1, 1, 1, 1, 1}
	for _, call := range []func(){
		func() { dev.Step(held, in, none, last, nil) },
		func() { dev.Grad(held, in, in, none, last, ones) },
	} {
		if panics(call) == nil {
			t.Error("the reserved noise step in the last row does not panic")
		}
	}
	now := make([]float32, 6)
	s.Download(now, held)
	for i, x := range now {
		if x != border {
			t.Errorf("element %d was written by a call that panics: %v", i, x)
		}
	}
}

func panics(call func()) (message any) {
	defer func() { message = recover() }()
	call()
	return nil
}

// testEmpty tests a batch without rows.
func testEmpty[B any](t *testing.T, s Subject[B]) {
	var none B
	b := sampler.Batch{Dim: 3}
	s.Device.Step(none, none, none, b, []float64{})
	s.Device.Step(none, none, none, b, nil)
	s.Device.SumSquares([]float64{}, none, none, none, b)
	s.Device.Grad(none, none, none, none, b, []float64{})
	sync(t, &s)
}
