package ptx

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// run1 executes a body with one thread on a buffer, and returns the new contents.
func run1(t *testing.T, body string, before []byte) []byte {
	t.Helper()
	m, err := Parse(wrapped(body))
	if err != nil {
		t.Fatalf("%v\n%s", err, body)
	}
	k, err := m.Kernel("k")
	if err != nil {
		t.Fatal(err)
	}
	var mem Memory
	out, err := mem.Alloc(int64(len(before)))
	if err != nil {
		t.Fatal(err)
	}
	if err := mem.Write(out, before); err != nil {
		t.Fatal(err)
	}
	params, err := k.Pack(out, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Launch(&mem, Config{Grid: Dim{1, 1, 1}, Block: Dim{1, 1, 1}}, params); err != nil {
		t.Fatalf("%v\n%s", err, body)
	}
	after := make([]byte, len(before))
	if err := mem.Read(after, out); err != nil {
		t.Fatal(err)
	}
	return after
}

// pattern has values of both signs, and no two equal bytes.
func pattern() []byte {
	b := make([]byte, 128)
	for i := range b {
		b[i] = byte(37*i + 0x85)
	}
	return b
}

// vectorOf writes registers as a vector operand.
func vectorOf(names []string) string {
	if len(names) == 1 {
		return names[0]
	}
	return "{" + strings.Join(names, ", ") + "}"
}

// TestLoads executes every form of load from global memory. The register has the
// form's own type and, for integers, a wider one.
func TestLoads(t *testing.T) {
	count := 0
	for name, f := range forms() {
		if f.kind != kindLoad || f.space == param || f.space == shared {
			continue
		}
		count++
		widths := []uint{max(f.dst.bits(), 16)}
		if f.dst.class() != 'f' {
			widths = append(widths, 64)
		}
		size := int(f.dst.bytes())
		for _, width := range slices.Compact(widths) {
			class := byte('b')
			if f.dst.class() == 'f' {
				class = 'f'
			}
			names := []string{"%x0", "%x1", "%x2", "%x3"}[:f.vector]
			body := fmt.Sprintf(".reg .%c%d %%x<4>;\n%s %s, [%%d0+16];\n", class, width, name, vectorOf(names))
			before := pattern()
			want := slices.Clone(before)
			for i, x := range names {
				body += fmt.Sprintf("st.global.%c%d [%%d0+%d], %s;\n", class, width, 64+8*i, x)
				var word [8]byte
				copy(word[:], before[16+size*i:][:size])
				if f.dst.class() == 's' && word[size-1] >= 0x80 {
					for j := size; j < 8; j++ {
						word[j] = 0xff
					}
				}
				copy(want[64+8*i:], word[:width/8])
			}
			if got := run1(t, body, before); !bytes.Equal(got, want) {
				t.Errorf("%s into %d bits:\n got %x\nwant %x", name, width, got[64:], want[64:])
			}
		}
	}
	if count < 200 {
		t.Errorf("%d forms only", count)
	}
}

// TestStores executes every form of store to global memory. The register has the
// form's own type and, for integers, a wider one.
func TestStores(t *testing.T) {
	for name, f := range forms() {
		if f.kind != kindStore || f.space == shared {
			continue
		}
		ty := f.src[0]
		widths := []uint{max(ty.bits(), 16)}
		class := byte('f')
		if ty.class() != 'f' {
			class = 'b'
			widths = append(widths, 64)
		}
		size := int(ty.bytes())
		for _, width := range slices.Compact(widths) {
			names := []string{"%x0", "%x1", "%x2", "%x3"}[:f.vector]
			body := fmt.Sprintf(".reg .%c%d %%x<4>;\n", class, width)
			before := pattern()
			want := slices.Clone(before)
			for i, x := range names {
				body += fmt.Sprintf("ld.global.%c%d %s, [%%d0+%d];\n", class, width, x, 64+8*i)
				copy(want[16+size*i:][:size], before[64+8*i:])
			}
			body += fmt.Sprintf("%s [%%d0+16], %s;\n", name, vectorOf(names))
			if got := run1(t, body, before); !bytes.Equal(got, want) {
				t.Errorf("%s from %d bits:\n got %x\nwant %x", name, width, got[:64], want[:64])
			}
		}
	}
}

// TestStoreNumbers: a number can be stored directly.
func TestStoreNumbers(t *testing.T) {
	got := run1(t, "st.global.v2.u16 [%d0], {-2, 7};\nst.global.f32 [%d0+4], 0f3F800000;\nst.global.u64 [%d0+8], -1;", make([]byte, 16))
	want := []byte{0xfe, 0xff, 7, 0, 0, 0, 0x80, 0x3f, 255, 255, 255, 255, 255, 255, 255, 255}
	if !bytes.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
}

// TestPacks: the movs between a vector and a register put the first element lowest.
func TestPacks(t *testing.T) {
	got := run1(t, `.reg .b16 %q<4>;
ld.global.v4.u16 {%q0, %q1, %q2, %q3}, [%d0];
mov.b32 %r3, {%q0, %q1};
st.global.u32 [%d0+16], %r3;
mov.b64 %d2, {%q0, %q1, %q2, %q3};
st.global.u64 [%d0+24], %d2;
ld.global.v2.u32 {%r3, %r4}, [%d0+8];
mov.b64 %d2, {%r4, %r3};
st.global.u64 [%d0+32], %d2;
mov.b64 {%r5, %r6}, %d2;
st.global.v2.u32 [%d0+40], {%r6, %r5};
mov.b64 {%q0, %q1, %q2, %q3}, %d2;
st.global.v4.u16 [%d0+48], {%q3, %q2, %q1, %q0};
mov.b32 {%q0, %q1}, %r3;
st.global.v2.u16 [%d0+56], {%q1, %q0};
mov.b64 %d2, {%r4, 5};
st.global.u64 [%d0+64], %d2;`, pattern())
	p := pattern()
	u16 := func(i int) uint16 { return binary.LittleEndian.Uint16(p[2*i:]) }
	want := slices.Clone(p)
	copy(want[16:], p[:4])
	copy(want[24:], p[:8])
	copy(want[32:], p[12:16])
	copy(want[36:], p[8:12])
	copy(want[40:], p[8:16])
	for i, x := range []uint16{u16(5), u16(4), u16(7), u16(6)} {
		binary.LittleEndian.PutUint16(want[48+2*i:], x)
	}
	for i, x := range []uint16{u16(5), u16(4)} {
		binary.LittleEndian.PutUint16(want[56+2*i:], x)
	}
	copy(want[64:], p[12:16])
	copy(want[68:], []byte{5, 0, 0, 0})
	if !bytes.Equal(got, want) {
		t.Errorf("got  %x\nwant %x", got, want)
	}
}

// TestAddOfEveryType executes every form of atom and red.
func TestAddOfEveryType(t *testing.T) {
	for name, f := range forms() {
		if f.kind != kindAtomic && f.kind != kindReduce || f.space == shared {
			continue
		}
		before := make([]byte, 24)
		want := make([]byte, 24)
		ty := f.src[0]
		number := "-3"
		switch ty {
		case f32:
			number = "0fC0400000"                             // -3
			binary.LittleEndian.PutUint32(before, 0x40A00000) // 5
			binary.LittleEndian.PutUint32(want, 0x40000000)
		case u64:
			binary.LittleEndian.PutUint64(before, 1<<33+5)
			binary.LittleEndian.PutUint64(want, 1<<33+2)
		default: // no carry
			binary.LittleEndian.PutUint64(before, 7<<32|5)
			binary.LittleEndian.PutUint64(want, 7<<32|2)
		}
		body := fmt.Sprintf("%s [%%d0], %s;\n", name, number)
		if f.kind == kindAtomic {
			copy(want[8:], before[:ty.bytes()])
			body = fmt.Sprintf(".reg .%v %%x;\n%s %%x, [%%d0], %s;\nst.global.%v [%%d0+8], %%x;\n", ty, name, number, ty)
		}
		if got := run1(t, body, before); !bytes.Equal(got, want) {
			t.Errorf("%s: got %x, want %x", name, got, want)
		}
	}
}
