package digits

import (
	"bytes"
	"compress/gzip"
	"slices"
	"strings"
	"testing"
)

func TestLoad(t *testing.T) {
	s, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	if s.Len() != Images || len(s.Pixels) != Images*Dim {
		t.Fatalf("%d labels, %d pixels", s.Len(), len(s.Pixels))
	}
	// The first image of scikit-learn's load_digits, as printed in its tutorial.
	if s.Labels[0] != 0 {
		t.Errorf("the first image shows %d", s.Labels[0])
	}
	for p, count := range []float32{0, 0, 5, 13, 9, 1, 0, 0, 0, 0, 13, 15, 10, 15, 5, 0} {
		if x := s.Image(0)[p]; x != count/8-1 {
			t.Errorf("pixel %d is %v, want %v", p, x, count/8-1)
		}
	}
	// The number of images of each digit, from the description of the data set.
	var counts [Classes]int
	for _, l := range s.Labels {
		counts[l]++
	}
	if want := [Classes]int{178, 182, 177, 183, 181, 182, 181, 179, 174, 180}; counts != want {
		t.Errorf("images of each digit: %v, want %v", counts, want)
	}
	if lo, hi := slices.Min(s.Pixels), slices.Max(s.Pixels); lo != -1 || hi != 1 {
		t.Errorf("pixels from %v to %v", lo, hi)
	}
}

func TestSplit(t *testing.T) {
	s, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	train, test := s.Split()
	if train.Len() != 1438 || test.Len() != 359 {
		t.Errorf("%d and %d images", train.Len(), test.Len())
	}
	i, j := 0, 0
	for k := range s.Labels {
		from, at := train, &i
		if k%5 == 4 {
			from, at = test, &j
		}
		if from.Labels[*at] != s.Labels[k] || !slices.Equal(from.Image(*at), s.Image(k)) {
			t.Fatalf("image %d is not where it belongs", k)
		}
		*at++
	}
	train.Pixels[0] = 7
	if s.Pixels[0] == 7 {
		t.Error("the split shares memory with the set")
	}
}

func TestDecodeBadData(t *testing.T) {
	pack := func(raw []byte) []byte {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		z.Write(raw)
		z.Close()
		return b.Bytes()
	}
	raw := make([]byte, Images*(1+Dim))
	change := func(i int, x byte) []byte {
		b := slices.Clone(raw)
		b[i] = x
		return pack(b)
	}
	if _, err := decode(pack(raw)); err != nil {
		t.Fatalf("an empty sheet: %v", err)
	}
	for _, c := range []struct {
		name    string
		archive []byte
		want    string
	}{
		{"nothing", nil, "data"},
		{"no archive", []byte("hello, digits"), "data"},
		{"half an archive", archive[:len(archive)/2], "data"},
		{"an image too few", pack(raw[Dim:]), "116741 bytes, want 116805"},
		{"a byte too many", pack(append(slices.Clone(raw), 0)), "after the last image"},
		{"label", change(3, 10), "image 3 has label 10"},
		{"count", change(Images+Dim+5, 17), "image 1, pixel 5 has count 17"},
	} {
		if _, err := decode(c.archive); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
	}
}
