package noise_test

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"testing"

	"cps/noise"
)

// frozen holds known answers of this package, for ever: the first sixteen draws
// as bits, and a hash over 2²⁰ draws, little-endian. Words are frozen by
// Random123's known answers besides, in internal/golden.
var frozen = []struct {
	key        noise.Key
	id         noise.ID
	off        uint64
	first      [16]uint32 // of the float32 draws
	first64    [4]uint64  // of the float64 draws
	words      string     // SHA-256
	f32s, f64s string
}{
	{
		key: 0x0, id: noise.ID{Sample: 0x0, Step: 0x0}, off: 0,
		first: [16]uint32{
			0xbf6cb6af, 0x3f7dbb33, 0xbef6d1b3, 0xbf1e1ba1, 0x3e392a69, 0xbe1d5354, 0x3e4a2da2, 0x3f54ec98,
			0x4022d27d, 0xbf97da93, 0x3ffb065c, 0xbe8a0f8e, 0x3eb4029c, 0xbf186c98, 0x3ee40c4d, 0xbf661975,
		},
		first64: [4]uint64{
			0xbfed96d5f86bf03e, 0x3fefb7665698df2c, 0xbfdeda36485a08dd, 0xbfe3c373ea975466,
		},
		words: "9efae438ee00331fbc790a97ffb739576a04b80d8386d05506b8b379b202ac19",
		f32s:  "78eb46e5ea7e3ff03ae692ebd38468715e78efc175bde2f8cccb1f1f22741a7d",
		f64s:  "1d94f26c91e145b585bd9daac303c1918ceff86da2bc3a5d9a4b35b2773e5b6f",
	},
	{
		key: 0x2a, id: noise.ID{Sample: 0x7, Step: 0x1}, off: 0,
		first: [16]uint32{
			0xbd2b3861, 0xbce58221, 0xbe2ba9e9, 0xbe452d2f, 0xbfa82dbc, 0x40186b9e, 0xbfaa1919, 0xbfeb7adc,
			0xbfa6aa80, 0xbec101dd, 0x3fa3a48b, 0xbf039289, 0xbe1a4527, 0xbedcb929, 0x3f4a8ebc, 0xbe84792c,
		},
		first64: [4]uint64{
			0xbfa5670c2a2cd6c9, 0xbf9cb0440f68fc8d, 0xbfc5753ce536ab6d, 0xbfc8a5a58b980ba3,
		},
		words: "e41ad0bfd63999f58705381a2f0ff9d21eeca2401dd8e2ef4c1884e307587784",
		f32s:  "4e256b256ecf51f8edaa3f99669c9144e89aa356b5e74cc554c47b94a2bde27f",
		f64s:  "f06d4b3d72050401e7eb83cbd1ebe9a281f7280834546bca1a5e64f1a2129472",
	},
	{
		key: 0x123456789abcdef, id: noise.ID{Sample: 0xfedcba9876543210, Step: 0xfffffffe}, off: 3,
		first: [16]uint32{
			0xbf9f300b, 0x3e391d23, 0x3ebcff28, 0x3f28d36f, 0x3ea3e09f, 0xc00c15d2, 0x3fac9cc9, 0x3e44af6f,
			0x3ebd99f6, 0x3e77a5ec, 0xbfeacc38, 0x3fb2528f, 0xbf6cbb9f, 0xbe64323c, 0x3ea8b6dc, 0xbf6ee6d8,
		},
		first64: [4]uint64{
			0xbff3e60157af3674, 0x3fc723a3fe680e35, 0x3fd79fe4d01461c8, 0x3fe51a6de94eede8,
		},
		words: "56d0d4076a1a872abfa3892573ce1a6d659e2d6b61ebff6807a4f9f7e7d69436",
		f32s:  "8cb1bebb531b9930617ed52904d6032cfe6021940d85da9a8c27fd9c091172f2",
		f64s:  "1d34a382956970b1abc12cde3989dbd4e7a87b4a8c9196579d09397900bc235c",
	},
	{
		key: 0xffffffffffffffff, id: noise.ID{Sample: 0xffffffffffffffff, Step: 0x40000000}, off: 1<<34 - 1<<20,
		first: [16]uint32{
			0x3d51fe02, 0xbf6da4ff, 0x3fba7533, 0x3f09f768, 0xbefba9f7, 0xbfad9fa9, 0xbf3e121c, 0x3f02e4dd,
			0xbf8aafd7, 0xbfa648d5, 0x3f66bea0, 0xbeb148b3, 0xbcc30c9c, 0xbe28b5aa, 0xbee628da, 0x3f9d9502,
		},
		first64: [4]uint64{
			0x3faa3fc0306bea2b, 0xbfedb49fbe653428, 0x3ff74ea67191c258, 0x3fe13eecf8b86776,
		},
		words: "7e5ac762c1d9a4045b4bf4db4b1e2d7af0645c2a8d8d11931abb3f8842b6cec6",
		f32s:  "cbe3eea1ba15b8cd537d89df629dedd6114572e853232f485e4c708f8101ea5c",
		f64s:  "e328b6d97ae23ca744a1d7221d9f6504ead8278dc9c86468f8727b96c545d726",
	},
}

func TestFrozen(t *testing.T) {
	const n = 1 << 20
	for _, f := range frozen {
		t.Run(fmt.Sprintf("%x/%v/%d", uint64(f.key), f.id, f.off), func(t *testing.T) {
			words, f32s, f64s := make([]uint32, n), make([]float32, n), make([]float64, n)
			noise.Uint32s(words, f.key, f.id, f.off)
			noise.Normal(f32s, f.key, f.id, f.off)
			noise.Normal(f64s, f.key, f.id, f.off)
			for i, want := range f.first {
				if got := math.Float32bits(f32s[i]); got != want {
					t.Errorf("float32 draw %d is %#08x (%v), want %#08x", i, got, f32s[i], want)
				}
			}
			for i, want := range f.first64 {
				if got := math.Float64bits(f64s[i]); got != want {
					t.Errorf("float64 draw %d is %#016x (%v), want %#016x", i, got, f64s[i], want)
				}
			}
			for _, h := range []struct {
				what, want string
				data       any
			}{
				{"words", f.words, words},
				{"float32 draws", f.f32s, f32s},
				{"float64 draws", f.f64s, f64s},
			} {
				d := sha256.New()
				if err := binary.Write(d, binary.LittleEndian, h.data); err != nil {
					t.Fatal(err)
				}
				if got := fmt.Sprintf("%x", d.Sum(nil)); got != h.want {
					t.Errorf("hash of the %s is %s, want %s", h.what, got, h.want)
				}
			}
		})
	}
}

func TestDeriveFrozen(t *testing.T) {
	for _, c := range []struct {
		key  noise.Key
		n    uint64
		want noise.Key
	}{
		{0x0, 0x0, 0xf07f8d6f633989d},
		{0x0, 0x1, 0x4cdd514fd013b39},
		{0x2a, 0x0, 0x5ea39eee396fbc15},
		{0x2a, 0x1, 0xa74cd30085f61a85},
		{0x123456789abcdef, 0xfedcba9876543210, 0xb30cb43b22e9f3cb},
	} {
		if got := c.key.Derive(c.n); got != c.want {
			t.Errorf("Key(%#x).Derive(%d) = %#x, want %#x", uint64(c.key), c.n, uint64(got), uint64(c.want))
		}
	}
}
