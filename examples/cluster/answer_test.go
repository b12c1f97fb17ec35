package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"math"
	"slices"
	"strings"
	"testing"

	"cps/examples/internal/finetune"

	"pgregory.net/rapid"
)

func randomOutcome(rt *rapid.T) *finetune.Outcome {
	o := &finetune.Outcome{}
	for _, bits := range rapid.SliceOfN(rapid.Uint32(), 0, 20).Draw(rt, "latents") {
		o.Latents = append(o.Latents, math.Float32frombits(bits))
	}
	for _, list := range []*[]float64{&o.SumSquares, &o.Rewards} {
		for _, bits := range rapid.SliceOfN(rapid.Uint64(), 0, 20).Draw(rt, "numbers") {
			*list = append(*list, math.Float64frombits(bits))
		}
	}
	return o
}

// What is sealed is read, to the bit of any number, and has the size that is announced.
func TestAnswer(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		key := rapid.SliceOfN(rapid.Byte(), keySize, keySize).Draw(rt, "key")
		a := answer{member: rapid.Uint32().Draw(rt, "member"), outcome: randomOutcome(rt)}
		copy(a.session[:], rapid.SliceOfN(rapid.Byte(), sessionSize, sessionSize).Draw(rt, "session"))
		copy(a.job[:], rapid.SliceOfN(rapid.Byte(), sha256.Size, sha256.Size).Draw(rt, "job"))
		b := a.seal(key)
		if len(b) != answerSize(a.outcome.Shape()) {
			rt.Fatalf("%d bytes, announced are %d", len(b), answerSize(a.outcome.Shape()))
		}
		got, err := decodeAnswer(b)
		if err != nil || got.session != a.session || got.member != a.member || got.job != a.job {
			rt.Fatalf("head %+v, %v", got, err)
		}
		if !authentic(b, key) || got.decodeBody(b, a.outcome.Shape()) != nil || !equalOutcomes(got.outcome, a.outcome) {
			rt.Fatal("the body is another")
		}
		other := a.outcome.Shape()
		other.Rewards++
		if got.decodeBody(b, other) == nil {
			rt.Fatal("another shape is taken")
		}
		// One changed bit, or another key, and nothing is authentic.
		at := rapid.IntRange(0, len(b)-1).Draw(rt, "at")
		b[at] ^= 1 << rapid.IntRange(0, 7).Draw(rt, "bit")
		if authentic(b, key) {
			rt.Fatal("a changed bit is not seen")
		}
		if authentic(a.seal(key), append([]byte{key[0] + 1}, key[1:]...)) {
			rt.Fatal("the key does not count")
		}
	})
}

// A failure is short text, whatever it was.
func TestFailure(t *testing.T) {
	key := make([]byte, keySize)
	for _, text := range []string{"", "no", strings.Repeat("é", 1000), "x" + strings.Repeat("é", 1000), "\xff\xfe", "broken \xc3"} {
		a := answer{failure: text}
		b := a.seal(key)
		got, err := decodeAnswer(b)
		if err == nil {
			err = got.decodeBody(b, finetune.Shape{Latents: 1})
		}
		if err != nil || got.outcome != nil || len(got.failure) > maxFailure || text != "" && strings.ToValidUTF8(text, "") != "" && got.failure == "" {
			t.Errorf("%.20q: %.20q, %v", text, got.failure, err)
		}
	}
}

// The bytes of an answer and of a job are frozen: programs of two builds understand each
// other, or know that they do not. (The digest is that of Python's struct and hmac.)
func TestFrozenMessages(t *testing.T) {
	a := answer{member: 3, outcome: &finetune.Outcome{Latents: []float32{1, -2}, SumSquares: []float64{3}, Rewards: []float64{.5}}}
	a.session[0], a.job[0] = 1, 2
	if got, want := hexSum(a.seal(make([]byte, keySize))), "814f7401f50ef980cd230630208a21a8eb6b67b5d2ad2bbefc3b19edcf507975"; got != want {
		t.Errorf("answer %s, want %s", got, want)
	}
	j := job{Session: strings.Repeat("ab", sessionSize), Version: strings.Repeat("cd", 32), Iteration: 4, Key: 5, Samples: []uint64{6, 7}, Classes: []int{8, 9}}
	if got, want := string(marshal(j)), `{"Session":"abababababababababababababababab","Version":"`+strings.Repeat("cd", 32)+`","Iteration":4,"Key":5,"Samples":[6,7],"Classes":[8,9]}`; got != want {
		t.Errorf("job %s, want %s", got, want)
	}
}

// The id of a job changes with all that its answer is a function of, and not with the session.
func TestJobID(t *testing.T) {
	j := job{Session: strings.Repeat("ab", sessionSize), Version: strings.Repeat("cd", 32), Iteration: 4, Key: 5, Samples: []uint64{6, 7}, Classes: []int{8, 9}}
	seen := map[jobID]string{j.id("config"): "as it is", j.id("other"): "config"}
	for name, change := range map[string]func(*job){
		"version":   func(j *job) { j.Version = strings.Repeat("ce", 32) },
		"iteration": func(j *job) { j.Iteration++ },
		"key":       func(j *job) { j.Key++ },
		"samples":   func(j *job) { j.Samples = []uint64{6, 8} },
		"classes":   func(j *job) { j.Classes = []int{8, 8} },
	} {
		other := j
		change(&other)
		if was, ok := seen[other.id("config")]; ok {
			t.Errorf("%s: the id is that of %s", name, was)
		}
		seen[other.id("config")] = name
	}
	other := j
	other.Session = strings.Repeat("00", sessionSize)
	if len(seen) != 7 || other.id("config") != j.id("config") {
		t.Error("the session counts, or something does not")
	}
}

// A job that nobody can do is an error that says why.
func TestBadJobs(t *testing.T) {
	good := job{Session: strings.Repeat("ab", sessionSize), Version: strings.Repeat("cd", 32), Samples: []uint64{6, 7}, Classes: []int{8, 9}}
	if _, err := decodeJob(marshal(good)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		want   string
		change func(*job)
	}{
		{"session", func(j *job) { j.Session = "" }},
		{"session", func(j *job) { j.Session = strings.ToUpper(j.Session) }},
		{"version", func(j *job) { j.Version = j.Version[:62] }},
		{"version", func(j *job) { j.Version = "xx" + j.Version[2:] }},
		{"iteration -1", func(j *job) { j.Iteration = -1 }},
		{"0 samples", func(j *job) { j.Samples = nil }},
		{"3 classes", func(j *job) { j.Classes = append(slices.Clone(j.Classes), 1) }},
		{"4097 samples", func(j *job) { j.Samples, j.Classes = make([]uint64, 4097), make([]int, 4097) }},
		{"digit 10", func(j *job) { j.Classes = []int{8, 10} }},
		{"digit -1", func(j *job) { j.Classes = []int{-1, 1} }},
	} {
		j := good
		c.change(&j)
		if _, err := decodeJob(marshal(j)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want one with %q", err, c.want)
		}
	}
	for _, text := range []string{"", "{", "[]", `{"Unknown":1}`, string(marshal(good)) + "x", strings.Repeat(" ", maxJob+1)} {
		if _, err := decodeJob([]byte(text)); err == nil {
			t.Errorf("%.20q is taken for a job", text)
		}
	}
}

// Nothing from the network makes a decoder panic, or take what no encoder makes.
func FuzzAnswer(f *testing.F) {
	key := make([]byte, keySize)
	shape := finetune.Shape{Latents: 3, SumSquares: 2, Rewards: 1}
	good := answer{member: 1, outcome: &finetune.Outcome{Latents: []float32{1, 2, float32(math.NaN())}, SumSquares: []float64{1, 2}, Rewards: []float64{3}}}
	f.Add(good.seal(key))
	f.Add(answer{failure: "no"}.seal(key))
	f.Add([]byte(answerMagic))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := decodeAnswer(b)
		if err != nil {
			return
		}
		genuine := authentic(b, key)
		if err := a.decodeBody(b, shape); err != nil {
			return
		}
		again := a.seal(key)
		if a.outcome == nil && len(a.failure) > maxFailure || a.outcome != nil && a.outcome.Shape() != shape {
			t.Errorf("%+v is taken", a)
		}
		// The bytes before the MAC are the only ones for what they say.
		if n := len(b) - sha256.Size; !bytes.Equal(again[:len(again)-sha256.Size], b[:n]) || genuine != bytes.Equal(again, b) {
			t.Errorf("%x is taken, and encoded as %x", b, again)
		}
	})
}

func FuzzJob(f *testing.F) {
	f.Add(marshal(job{Session: strings.Repeat("ab", sessionSize), Version: strings.Repeat("cd", 32), Samples: []uint64{6, 7}, Classes: []int{8, 9}}))
	f.Add([]byte(`{"Classes":[10]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		j, err := decodeJob(b)
		if err != nil {
			return
		}
		again, err := decodeJob(marshal(j))
		if err != nil || again.id("") != j.id("") || len(j.Samples) > maxSamples {
			t.Errorf("%s: %v", b, err)
		}
	})
}

// The handshake takes nothing that it does not know, either.
func FuzzHandshake(f *testing.F) {
	r := testRoster()
	f.Add(marshal(helloRequest{Worker: "w"}))
	f.Add(marshal(proveRequest{Worker: "w", Session: r.name(), Config: r.digest, Proof: "proof"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		r.hello(b)
		a, m := r.prove(b)
		if (m == nil) != (a.Refused != "") {
			t.Errorf("%s: %+v, member %v", b, a, m)
		}
		if m != nil && (!workerName.MatchString(m.name) || a.Member != m.id) {
			t.Errorf("%s: member %+v", b, m)
		}
		if key, err := hex.DecodeString(a.Key); m != nil && (err != nil || !bytes.Equal(key, m.key)) {
			t.Errorf("%s: key %q", b, a.Key)
		}
	})
}

// What the learner does for an answer of twelve samples that it does not check.
func BenchmarkAnswer(b *testing.B) {
	c, err := defaultSettings().config()
	if err != nil {
		b.Fatal(err)
	}
	shape, err := c.Shape(0, 12)
	if err != nil {
		b.Fatal(err)
	}
	key := make([]byte, keySize)
	message := answer{outcome: &finetune.Outcome{
		Latents: make([]float32, shape.Latents), SumSquares: make([]float64, shape.SumSquares), Rewards: make([]float64, shape.Rewards),
	}}.seal(key)
	b.SetBytes(int64(len(message)))
	b.ReportAllocs()
	for b.Loop() {
		a, err := decodeAnswer(message)
		if err != nil || !authentic(message, key) || a.decodeBody(message, shape) != nil {
			b.Fatal("the answer is not taken")
		}
	}
}
