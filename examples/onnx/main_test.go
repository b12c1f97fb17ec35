package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	ort "github.com/yalue/onnxruntime_go"

	"cps/examples/internal/codelines"
	"cps/internal/rules"
	"cps/noise"
	"cps/sampler"
	"cps/sampler/guidance"
	"cps/sampler/solver"
)

var ortPath = flag.String("ort", ".", "path of onnxruntime's library, or of the folder that npm installed it in")

var loaded error // why there is no onnxruntime

func TestMain(m *testing.M) {
	flag.Parse()
	loaded = start(*ortPath)
	code := m.Run()
	if loaded == nil {
		loaded = ort.DestroyEnvironment()
	}
	if loaded != nil && !errors.Is(loaded, errNoLibrary) {
		code = 1
	}
	os.Exit(code)
}

// sessions returns a lab with open sessions.
func sessions(t *testing.T) *lab {
	if loaded != nil {
		if !errors.Is(loaded, errNoLibrary) {
			t.Fatal(loaded)
		}
		t.Skip(loaded)
	}
	l := &lab{key: noise.Key(7), steps: 10}
	for _, open := range []struct {
		session **ort.DynamicAdvancedSession
		by      func() (*ort.DynamicAdvancedSession, error)
	}{{&l.velocity, options{threads: 1}.velocity}, {&l.classifier, options{threads: 1}.classifier}} {
		s, err := open.by()
		if err != nil {
			t.Fatal(err)
		}
		*open.session = s
		t.Cleanup(func() {
			if err := s.Destroy(); err != nil {
				t.Error(err)
			}
		})
	}
	return l
}

// The page says that model.go is 45 lines of code at most.
func TestLines(t *testing.T) {
	if n, err := codelines.Count("model.go"); n > 45 || err != nil {
		t.Errorf("model.go: %d lines and %v, want at most 45", n, err)
	}
}

// Whoever lacks the library reads how to get it.
func TestMissingLibrary(t *testing.T) {
	for _, name := range []string{t.TempDir(), "/nowhere"} {
		_, err := findLibrary(name)
		if !errors.Is(err, errNoLibrary) || !strings.Contains(err.Error(), install) {
			t.Errorf("%s: %v", name, err)
		}
	}
	file := filepath.Join(t.TempDir(), "libonnxruntime.so")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if found, err := findLibrary(file); found != file || err != nil {
		t.Errorf("found %s and %v, want %s", found, err, file)
	}
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(page, []byte(install)) {
		t.Errorf("README.md does not have the line %s", install)
	}
}

// onnxruntime computes what PyTorch did: float32 in another order, of values up to 5 or 10.
func TestTorch(t *testing.T) {
	l := sessions(t)
	v, logits, err := torchDifference(l.velocity, l.classifier)
	if err != nil || v > 1e-5 || logits > 2e-5 {
		t.Errorf("differences %v and %v, error %v", v, logits, err)
	}
}

// Every rule is an arm, or New refuses it on this schedule.
func TestEveryRule(t *testing.T) {
	l := &lab{steps: 10}
	var names []string
	for _, a := range arms() {
		names = append(names, sampler.FactsOf(a.rule).Name)
		if _, err := l.sampler(a.rule); err != nil {
			t.Errorf("%s: %v", a.name, err)
		}
	}
	for _, f := range rules.All() {
		r := f.At(0.9)
		if name := sampler.FactsOf(r).Name; !slices.Contains(names, name) {
			if _, err := l.sampler(r); err == nil {
				t.Errorf("%s samples, and is no arm", name)
			}
		}
	}
}

// Rules that preserve coefficients leave no more noise than the ODE, and the others what the
// audit of their steps says.
func TestResidual(t *testing.T) {
	l := sessions(t)
	train, _, err := mnist("")
	if err != nil {
		t.Fatal(err)
	}
	l.border = train.border()
	if len(l.border) != 67 {
		t.Errorf("%d pixels are -1 in all images, want 67", len(l.border))
	}
	for _, tc := range []struct {
		rule      sampler.Rule
		low, high float64
	}{
		{sampler.FlowODE{}, 0, 0.01},
		{sampler.FlowCPS{Eta: 0.9}, 0, 0.01},
		{solver.DPMPlus{Order: 2, Eta: 1}, 0, 0.01},
		{sampler.FlowSDE{Diffusion: sampler.Ratio(0.9)}, 0.09, 0.11}, // 0.105 where the network is exact
	} {
		s, err := l.sampler(tc.rule)
		if err != nil {
			t.Fatal(err)
		}
		x, spent, err := l.sample(context.Background(), s, 10, 1)
		if err != nil {
			t.Fatal(err)
		}
		if r := x.residual(l.border); !(tc.low <= r && r <= tc.high) {
			t.Errorf("%+v leaves %v, want %v to %v", tc.rule, r, tc.low, tc.high)
		}
		right, err := x.clipped().accuracy(l.classifier)
		if err != nil || right < 0.7 {
			t.Errorf("%+v: the classifier sees %v of the classes, error %v", tc.rule, right, err)
		}
		if !(spent.model > 0 && spent.model < spent.total) {
			t.Errorf("times %+v", spent)
		}
	}
}

// Rows find their classes wherever they stand in a call, guidance of scale 1 is the model,
// and of scale 2 as far beyond it as it is from the model without classes.
func TestRows(t *testing.T) {
	l := sessions(t)
	ctx := context.Background()
	classes := classesOf(0, 10)
	ask := func(m sampler.Model[[]float32], rows ...int) []float32 {
		c := sampler.Call[[]float32]{Dim: dim, Rows: rows, V: make([]float32, len(rows)*dim), X: make([]float32, len(rows)*dim)}
		for i, row := range rows {
			c.Times = append(c.Times, 0.05+0.09*float64(max(row, ^row)))
			noise.Normal(c.X[i*dim:(i+1)*dim], 1, noise.ID{Sample: uint64(max(row, ^row))}, 0)
		}
		if err := m(ctx, c); err != nil {
			t.Fatal(err)
		}
		return c.V
	}
	near := func(what string, got, want []float32) {
		t.Helper()
		if d := greatest(got, want); !(d < 1e-5) {
			t.Errorf("%s: off by %v", what, d)
		}
	}
	model := conditional(l.velocity, classes)
	v := ask(model, 3, 7)
	near("two rows the other way round", slices.Concat(v[dim:], v[:dim]), ask(model, 7, 3))
	near("of no class", ask(conditional(l.velocity, []int64{none, none, none, none}), 3), ask(model, ^3))
	guided := func(scale float64) sampler.Model[[]float32] {
		g, err := guidance.New(sampler.CPU{}, model, guidance.Guidance{Scale: scale})
		if err != nil {
			t.Fatal(err)
		}
		return g.Velocity
	}
	near("scale 1", ask(guided(1), 3, 7), v)
	far := ask(guided(2), 3, 7)
	for i, u := range ask(model, ^3, ^7) {
		if want := 2*v[i] - u; math.Abs(float64(far[i]-want)) > 1e-5 {
			t.Fatalf("scale 2: element %d is %v, want %v", i, far[i], want)
		}
	}
	if greatest(ask(model, 3), ask(model, ^3)) < 1e-2 {
		t.Error("the class makes no difference")
	}
}

// On policy in the batch of the rollout the ratio is 1; in other batches onnxruntime may, on
// some processors, choose other products. A time that is off by a millionth is found.
func TestOnPolicy(t *testing.T) {
	l := sessions(t)
	ctx := context.Background()
	s, err := l.sampler(sampler.FlowCPS{Eta: 0.9})
	if err != nil {
		t.Fatal(err)
	}
	model := conditional(l.velocity, classesOf(0, 4))
	run, b, err := l.rollout(ctx, s, model, 0, 4, sampler.Window{})
	if err != nil {
		t.Fatal(err)
	}
	switch err := sampler.CheckOnPolicy(ctx, sampler.CPU{}, s, b, run, model, 4, 3, 1); {
	case errors.Is(err, sampler.ErrOffPolicy) && !strings.Contains(err.Error(), "in the same batch"):
		t.Log(err)
	case err != nil:
		t.Error(err)
	}
	late := func(ctx context.Context, c sampler.Call[[]float32]) error {
		c.Times = slices.Clone(c.Times)
		for i := range c.Times {
			c.Times[i] *= 1 - 1e-6
		}
		return model(ctx, c)
	}
	if err := sampler.CheckOnPolicy(ctx, sampler.CPU{}, s, b, run, late, 4); !errors.Is(err, sampler.ErrOffPolicy) {
		t.Errorf("a time that is off: %v", err)
	}
}

// An error of onnxruntime comes back, and names the step.
func TestError(t *testing.T) {
	l := sessions(t)
	s, err := l.sampler(sampler.FlowODE{})
	if err != nil {
		t.Fatal(err)
	}
	model := conditional(l.velocity, []int64{11}) // there are ten, and none
	if _, _, err := l.rollout(context.Background(), s, model, 0, 1, sampler.Window{}); err == nil || !strings.Contains(err.Error(), "step 0") {
		t.Errorf("class 11: %v", err)
	}
}

func TestMeasures(t *testing.T) {
	m := images{make([]float32, 4*dim), []int64{1, 2, 1, 1}}
	for i, v := range []float32{-1, -2, -0.5, 0} {
		for p := range dim {
			m.pixels[i*dim+p] = v
		}
	}
	if got, want := m.residual([]int{0, 5}), math.Sqrt((0+1+0.25+1)/4); math.Abs(got-want) > 1e-12 {
		t.Errorf("residual %v, want %v", got, want)
	}
	if got := m.diversity(); math.Abs(got-0.5) > 1e-12 {
		t.Errorf("diversity %v, want 0.5", got)
	}
	if got := m.clipped().pixels[dim]; got != -1 {
		t.Errorf("-2 is clipped to %v", got)
	}
	if got := m.border(); got != nil {
		t.Errorf("border %v", got)
	}
	if got := m.some(0); len(got.classes) != 0 {
		t.Errorf("no images: %v", got.classes)
	}
}

// The pictures of the page are what encode draws, and no larger than a page should load.
func TestPicture(t *testing.T) {
	var b bytes.Buffer
	pixels := make([]float32, columns*dim)
	for i := range pixels {
		pixels[i] = -1
	}
	if err := encode(&b, "title", "remark", []strip{{"a", "b", pixels, 0.1, noisy}, {"c", "", pixels, 0, clean}}); err != nil {
		t.Fatal(err)
	}
	m, err := png.Decode(&b)
	if err != nil {
		t.Fatal(err)
	}
	if got := m.Bounds().Size(); got.X != width*scale || got.Y != (heading+2*pitch+margin)*scale {
		t.Errorf("size %v", got)
	}
	// -1 is above black, so that noise below it is seen.
	if g, _, _, _ := m.At((margin+labels+5)*scale, (heading+5)*scale).RGBA(); g>>8 < 30 || g>>8 > 36 {
		t.Errorf("-1 is drawn as %d of 255", g>>8)
	}
	for _, name := range []string{"mnist.png", "rules.png"} {
		if info, err := os.Stat(name); err != nil || info.Size() > 300e3 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}

func TestParse(t *testing.T) {
	for args, want := range map[string]string{
		"-per 1":         "-per is 1",
		"-threads 0":     "-threads is 0",
		"-guidance 0":    "-guidance is 0",
		"-guidance -1":   "-guidance is -1",
		"-guidance NaN":  "-guidance is NaN",
		"x":              "flags alone",
		"-steps nothing": "invalid value",
	} {
		if _, err := parse(strings.Fields(args), io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
	}
	if err := run(context.Background(), settings{steps: 0}, io.Discard); err == nil || !strings.Contains(err.Error(), "fewer than two points") {
		t.Errorf("no steps: %v", err)
	}
	if _, _, err := mnist(t.TempDir()); err == nil || !strings.Contains(err.Error(), "MNIST in") {
		t.Errorf("no data: %v", err)
	}
}
