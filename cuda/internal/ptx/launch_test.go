package ptx

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const header = ".version 6.3\n.target sm_70\n.address_size 64\n"

// wrapped returns a kernel k around a body, which starts on line 20. In each thread,
// %r0 is its index in the block, %r1 the index of the block, and %r2 is n. The address
// of the buffer is in %d0, and that of the thread's own word in it is in %d1.
func wrapped(body string) string {
	return header + `.extern .shared .align 4 .b8 dynamic[];
.visible .entry k(.param .u64 out, .param .u32 n)
{
.reg .pred %p<8>;
.reg .b16 %h<8>;
.reg .b32 %r<16>;
.reg .f32 %f<8>;
.reg .b64 %d<16>;
.shared .align 16 .b8 buf[256];
.shared .align 4 .b8 words[64];
ld.param.u64 %d0, [out];
ld.param.u32 %r2, [n];
mov.u32 %r0, %tid.x;
mov.u32 %r1, %ctaid.x;
mad.wide.u32 %d1, %r0, 4, %d0;
// body
` + body + "\nret;\n}\n"
}

const bodyLine = 20

// A scenario is a launch of a kernel on a buffer of words.
type scenario struct {
	body   string
	blocks int // 0: 1
	block  int // 0: 32
	words  int // of the buffer; 0: as many as threads in a block
	fill   bool
	n      uint64
	shared int
	free   bool // the buffer, before the launch
	limit  uint64
	racy   bool

	stats Stats // of the launch
}

func (s *scenario) launch(tb rapid.TB, seed uint64) (words []uint32, err error) {
	m, err := Parse(wrapped(s.body))
	if err != nil {
		tb.Fatalf("%v\n%s", err, wrapped(s.body))
	}
	k, err := m.Kernel("k")
	if err != nil {
		tb.Fatal(err)
	}
	block := s.block
	if block == 0 {
		block = 32
	}
	n := s.words
	if n == 0 {
		n = block
	}
	var mem Memory
	out, err := mem.Alloc(int64(4 * n))
	if err != nil {
		tb.Fatal(err)
	}
	if s.fill {
		err = mem.Fill(out, 0, int64(4*n))
	}
	if s.free {
		err = mem.Free(out)
	}
	if err != nil {
		tb.Fatal(err)
	}
	params, err := k.Pack(out, s.n)
	if err != nil {
		tb.Fatal(err)
	}
	c := Config{Grid: Dim{max(s.blocks, 1), 1, 1}, Block: Dim{block, 1, 1}, Shared: s.shared, Seed: seed, Limit: s.limit, Racy: s.racy}
	if s.stats, err = k.Launch(&mem, c, params); err != nil {
		return nil, err
	}
	if written, err := mem.Written(out, int64(4*n)); err != nil || written < int64(4*n) {
		return nil, err
	}
	buf := make([]byte, 4*n)
	if err := mem.Read(buf, out); err != nil {
		tb.Fatal(err)
	}
	words = make([]uint32, n)
	for i := range words {
		words[i] = binary.LittleEndian.Uint32(buf[4*i:])
	}
	return words, nil
}

// own puts the address of the thread's own word of buf in %d2, and that of the next
// thread's word in %d3. The next thread is counted cyclically, in blocks of 32 or 64.
func own(block int) string {
	return fmt.Sprintf(`mov.u64 %%d4, buf;
mad.wide.u32 %%d2, %%r0, 4, %%d4;
add.s32 %%r3, %%r0, 1;
and.b32 %%r3, %%r3, %d;
mad.wide.u32 %%d3, %%r3, 4, %%d4;
`, block-1)
}

// TestFaults has programs for each kind of fault. Some must fail with it, and similar
// ones must not. line is the line of the fault in the body, from 1.
func TestFaults(t *testing.T) {
	tests := []struct {
		name string
		scenario
		want error
		line int
	}{
		{"global store", scenario{body: "st.global.u32 [%d1], %r0;"}, nil, 0},
		{"global store beyond the end", scenario{body: "st.global.u32 [%d1], %r0;", words: 31}, ErrBounds, 1},
		{"global store before the start", scenario{body: "st.global.u32 [%d1+-4], %r0;"}, ErrBounds, 1},
		{"half a vector beyond the end", scenario{body: "st.global.v2.u32 [%d0+128], {%r0, %r0};", words: 33, block: 1}, ErrBounds, 1},
		{"null", scenario{body: "mov.u64 %d2, 0;\nst.global.u32 [%d2], %r0;"}, ErrBounds, 2},
		{"address cut to 32 bits", scenario{body: "cvt.u32.u64 %r3, %d1;\ncvt.u64.u32 %d1, %r3;\nst.global.u32 [%d1], %r0;"}, ErrBounds, 3},
		{"carry dropped from the address", scenario{block: 128, body: `cvt.u32.u64 %r3, %d0;
mul.lo.s32 %r4, %r0, 4;
add.s32 %r3, %r3, %r4;
cvt.u64.u32 %d2, %r3;
and.b64 %d0, %d0, 0xffffffff00000000;
or.b64 %d2, %d2, %d0;
st.global.u32 [%d2], %r0;`}, ErrBounds, 7},
		{"freed", scenario{body: "st.global.u32 [%d1], %r0;", free: true}, ErrFreed, 1},
		{"vector aligned", scenario{body: "st.global.v4.u32 [%d0+16], {%r0, %r0, %r0, %r0};", block: 1, words: 8}, nil, 0},
		{"vector misaligned", scenario{body: "st.global.v4.u32 [%d0+8], {%r0, %r0, %r0, %r0};", block: 1, words: 8}, ErrAlign, 1},
		{"word misaligned", scenario{body: "st.global.u32 [%d0+2], %r0;", block: 1, words: 2}, ErrAlign, 1},
		{"read of written bytes", scenario{body: "ld.global.u32 %r3, [%d1];", fill: true}, nil, 0},
		{"read of unwritten bytes", scenario{body: "ld.global.u32 %r3, [%d1];"}, ErrUnwritten, 1},
		{"read half written", scenario{body: "st.global.u16 [%d1], %r0;\nld.global.u32 %r3, [%d1];"}, ErrUnwritten, 2},
		{"read of written shared bytes", scenario{body: own(32) + "st.shared.u32 [%d2], %r0;\nld.shared.u32 %r4, [%d2];"}, nil, 0},
		{"read of unwritten shared bytes", scenario{body: own(32) + "ld.shared.u32 %r4, [%d2];"}, ErrUnwritten, 6},
		{"shared memory does not survive a block", scenario{blocks: 2, block: 1, body: "setp.eq.u32 %p0, %r1, 0;\n@%p0 st.shared.u32 [buf], %r0;\nld.shared.u32 %r4, [buf];"}, ErrUnwritten, 3},
		{"end of shared variable", scenario{block: 1, body: "st.shared.u32 [words+60], %r0;"}, nil, 0},
		{"beyond a shared variable", scenario{block: 1, body: "st.shared.u32 [words+64], %r0;"}, ErrBounds, 1},
		{"before a shared variable", scenario{block: 1, body: "st.shared.u32 [words+-4], %r0;"}, ErrBounds, 1},
		{"shared vector on aligned variable", scenario{block: 1, body: "st.shared.v4.u32 [buf], {%r0, %r0, %r0, %r0};"}, nil, 0},
		{"shared vector on a variable aligned to words", scenario{block: 1, body: "st.shared.v4.u32 [words], {%r0, %r0, %r0, %r0};"}, ErrAlign, 1},
		{"dynamic shared memory", scenario{block: 1, shared: 8, body: "st.shared.u32 [dynamic+4], %r0;"}, nil, 0},
		{"beyond dynamic shared memory", scenario{block: 1, shared: 8, body: "st.shared.u32 [dynamic+8], %r0;"}, ErrBounds, 1},
		{"parameter", scenario{body: "mov.u64 %d2, out;\nld.param.u32 %r3, [%d2+4];"}, nil, 0},
		{"beyond a parameter", scenario{body: "ld.param.u32 %r3, [n+4];"}, ErrBounds, 1},
		{"beyond a parameter by register", scenario{body: "mov.u64 %d2, out;\nld.param.u64 %d2, [%d2+8];"}, ErrBounds, 2},
		{"parameter misaligned", scenario{body: "ld.param.u32 %r3, [out+2];"}, ErrAlign, 1},
		{"generic address of shared memory", scenario{body: own(32) + "cvta.shared.u64 %d5, %d2;\nst.u32 [%d5], %r0;\nld.shared.u32 %r4, [%d2];\ncvta.to.shared.u64 %d6, %d5;\nld.shared.u32 %r4, [%d6];"}, nil, 0},
		{"shared address as a generic one", scenario{body: own(32) + "st.u32 [%d2], %r0;"}, ErrBounds, 6},
		{"generic address of shared memory as a global one", scenario{body: own(32) + "cvta.shared.u64 %d5, %d2;\ncvta.to.global.u64 %d5, %d5;\nst.global.u32 [%d5], %r0;"}, ErrBounds, 8},
		{"global address as a shared one", scenario{body: "st.shared.u32 [%d1], %r0;"}, ErrBounds, 1},

		{"register never written", scenario{body: "add.s32 %r3, %r4, 1;"}, ErrRegister, 1},
		{"register written by some threads", scenario{body: "setp.lt.u32 %p0, %r0, 16;\n@%p0 mov.u32 %r4, 1;\nadd.s32 %r3, %r4, 1;"}, ErrRegister, 3},
		{"register used by the threads that wrote it", scenario{body: "setp.lt.u32 %p0, %r0, 16;\n@%p0 mov.u32 %r4, 1;\n@%p0 add.s32 %r3, %r4, 1;"}, nil, 0},
		{"guard never written", scenario{body: "@%p0 mov.u32 %r4, 1;"}, ErrRegister, 1},
		{"address never written", scenario{body: "ld.global.u32 %r4, [%d7];"}, ErrRegister, 1},
		{"registers do not survive a block", scenario{blocks: 2, body: "setp.eq.u32 %p0, %r1, 0;\n@%p0 mov.u32 %r4, 1;\nadd.s32 %r3, %r4, 1;"}, ErrRegister, 3},

		{"threads of a warp store to one word", scenario{body: "st.global.u32 [%d0], %r0;"}, ErrRace, 1},
		{"the same, not looked for", scenario{body: "st.global.u32 [%d0], %r0;", racy: true}, nil, 0},
		{"threads of a warp read one word", scenario{body: "ld.global.u32 %r3, [%d0];", fill: true}, nil, 0},
		{"threads add to one word", scenario{body: "red.global.add.u32 [%d0], 1;\natom.global.add.u32 %r3, [%d0], 1;", fill: true, blocks: 3, block: 64}, nil, 0},
		{"threads add to one word and read it", scenario{body: "red.global.add.u32 [%d0], 1;\nld.global.u32 %r3, [%d0];", fill: true}, ErrRace, 2},
		{"threads read one word and add to it", scenario{body: "ld.global.u32 %r3, [%d0];\nred.global.add.u32 [%d0], 1;", fill: true}, ErrRace, 2},
		{"threads add to one word, and read after a barrier", scenario{body: "red.global.add.u32 [%d0], 1;\nbar.sync 0;\nld.global.u32 %r3, [%d0];", fill: true}, nil, 0},
		{"blocks add to one word, and read after a barrier", scenario{blocks: 2, body: "red.global.add.u32 [%d0], 1;\nbar.sync 0;\nld.global.u32 %r3, [%d0];", fill: true}, ErrRace, 1},
		{"blocks store to one word", scenario{body: "st.global.u32 [%d1], %r0;", blocks: 2}, ErrRace, 1},
		{"blocks store to one word around barriers", scenario{body: "bar.sync 0;\nst.global.u32 [%d1], %r0;\nbar.sync 0;", blocks: 2}, ErrRace, 2},
		{"atomic after a store, and one of another block", scenario{blocks: 2, body: "mad.lo.s32 %r3, %r1, 32, %r0;\nsetp.eq.u32 %p0, %r3, 0;\n@%p0 st.global.u32 [%d0], %r0;\nbar.sync 0;\nsetp.eq.u32 %p1, %r0, 1;\n@%p1 red.global.add.u32 [%d0], 1;", fill: true}, ErrRace, 0},
		{"atomic after a read, and one of another block", scenario{blocks: 2, body: "mad.lo.s32 %r3, %r1, 32, %r0;\nsetp.eq.u32 %p0, %r3, 0;\n@%p0 ld.global.u32 %r4, [%d0];\nbar.sync 0;\nsetp.eq.u32 %p1, %r0, 1;\n@%p1 red.global.add.u32 [%d0], 1;", fill: true}, ErrRace, 0},
		{"threads store neighbouring bytes", scenario{words: 8, body: "cvt.u64.u32 %d2, %r0;\nadd.s64 %d2, %d0, %d2;\nst.global.u8 [%d2], %r0;\nbar.sync 0;\nld.global.v4.u32 {%r3, %r4, %r5, %r6}, [%d0];"}, nil, 0},
		{"wide loads beside narrow stores", scenario{words: 8, fill: true, body: "ld.global.v4.u32 {%r3, %r4, %r5, %r6}, [%d0];\ncvt.u64.u32 %d2, %r0;\nadd.s64 %d2, %d0, %d2;\nst.global.u8 [%d2], %r0;"}, ErrRace, 4},
		{"neighbour read without a barrier", scenario{body: own(32) + "st.shared.u32 [%d2], %r0;\nld.shared.u32 %r4, [%d3];"}, ErrRace, 7},
		{"neighbour read after a barrier", scenario{body: own(32) + "st.shared.u32 [%d2], %r0;\nbar.sync 0;\nld.shared.u32 %r4, [%d3];"}, nil, 0},
		{"neighbour read after a barrier of the warp", scenario{body: own(32) + "st.shared.u32 [%d2], %r0;\nbar.warp.sync -1;\nld.shared.u32 %r4, [%d3];"}, nil, 0},
		{"neighbour in another warp read after a barrier of the warp", scenario{block: 64, body: own(64) + "st.shared.u32 [%d2], %r0;\nbar.sync 0;\nst.shared.u32 [%d2], %r0;\nbar.warp.sync -1;\nld.shared.u32 %r4, [%d3];"}, ErrRace, 0},
		{"neighbour read after a shuffle", scenario{body: own(32) + "st.shared.u32 [%d2], %r0;\nshfl.sync.bfly.b32 %r5, %r0, 1, 31, -1;\nld.shared.u32 %r4, [%d3];"}, ErrRace, 8},
		{"store after the neighbour's read without a barrier", scenario{body: own(32) + "st.shared.u32 [%d2], %r0;\nbar.sync 0;\nld.shared.u32 %r4, [%d3];\nst.shared.u32 [%d2], %r4;"}, ErrRace, 9},
		{"store after the neighbour's read and a barrier", scenario{body: own(32) + "st.shared.u32 [%d2], %r0;\nbar.sync 0;\nld.shared.u32 %r4, [%d3];\nbar.sync 0;\nst.shared.u32 [%d2], %r4;"}, nil, 0},
		{"constant load", scenario{body: "ld.global.nc.u32 %r3, [%d1];", fill: true}, nil, 0},
		{"constant load of what the thread stores", scenario{body: "ld.global.nc.u32 %r3, [%d1];\nst.global.u32 [%d1], %r3;", fill: true}, ErrRace, 2},
		{"constant load of what the thread has stored", scenario{body: "st.global.u32 [%d1], %r0;\nld.global.nc.u32 %r3, [%d1];"}, ErrRace, 2},

		{"barrier", scenario{block: 64, body: "bar.sync 0;\nbarrier.sync 1;"}, nil, 0},
		{"barrier after a branch", scenario{block: 64, body: "setp.lt.u32 %p0, %r0, 7;\n@%p0 bra A;\nmov.u32 %r3, 1;\nA:\nbar.sync 0;"}, nil, 0},
		{"barrier that some threads of a warp skip", scenario{block: 64, body: "setp.lt.u32 %p0, %r0, 7;\n@%p0 bra A;\nbar.sync 0;\nA:\nmov.u32 %r3, 1;"}, ErrBarrier, 3},
		{"guarded barrier", scenario{block: 64, body: "setp.lt.u32 %p0, %r0, 7;\n@%p0 bar.sync 0;"}, ErrBarrier, 2},
		{"barrier that a warp skips", scenario{block: 64, body: "setp.lt.u32 %p0, %r0, 32;\n@%p0 bar.sync 0;"}, ErrBarrier, 2},
		{"barrier after the exit of a thread", scenario{block: 64, body: "setp.eq.u32 %p0, %r0, 40;\n@%p0 ret;\nbar.sync 0;"}, ErrBarrier, 3},
		{"barrier after the exit of a warp", scenario{block: 64, body: "setp.lt.u32 %p0, %r0, 32;\n@%p0 exit;\nbar.sync 0;"}, ErrBarrier, 3},
		{"warps at different barriers", scenario{block: 64, body: "setp.lt.u32 %p0, %r0, 32;\n@%p0 bra A;\nbar.sync 0;\nbra.uni B;\nA:\nbar.sync 0;\nB:\nmov.u32 %r3, 1;"}, ErrBarrier, 0},

		{"shuffle", scenario{body: "shfl.sync.down.b32 %r3, %r0, 16, 31, -1;"}, nil, 0},
		{"shuffle after the exit of a thread", scenario{body: "setp.eq.u32 %p0, %r0, 31;\n@%p0 ret;\nshfl.sync.down.b32 %r3, %r0, 16, 31, -1;"}, ErrMembers, 3},
		{"shuffle on one side of a branch", scenario{body: "setp.lt.u32 %p0, %r0, 16;\n@%p0 bra A;\nshfl.sync.down.b32 %r3, %r0, 16, 31, -1;\nA:\nmov.u32 %r4, 1;"}, ErrMembers, 3},
		{"shuffle among the threads of a side", scenario{body: "setp.lt.u32 %p0, %r0, 16;\n@%p0 bra A;\nshfl.sync.bfly.b32 %r3, %r0, 1, 31, 0xffff0000;\nA:\nmov.u32 %r4, 1;"}, nil, 0},
		{"shuffle from outside the mask", scenario{body: "setp.lt.u32 %p0, %r0, 16;\n@%p0 bra A;\nshfl.sync.bfly.b32 %r3, %r0, 16, 31, 0xffff0000;\nA:\nmov.u32 %r4, 1;"}, ErrMembers, 3},
		{"shuffle of threads not in their mask", scenario{body: "shfl.sync.bfly.b32 %r3, %r0, 1, 31, 0xffff;"}, ErrMembers, 1},
		{"shuffle with different masks", scenario{body: "or.b32 %r3, %r0, 0xffffffe0;\nshfl.sync.bfly.b32 %r3, %r0, 1, 31, %r3;"}, ErrMembers, 2},
		{"shuffle in half a warp", scenario{block: 48, body: "shfl.sync.bfly.b32 %r3, %r0, 1, 31, -1;"}, ErrMembers, 1},
		{"vote", scenario{body: "setp.lt.u32 %p0, %r0, 16;\nvote.sync.any.pred %p1, %p0, -1;"}, nil, 0},
		{"guarded vote", scenario{body: "setp.lt.u32 %p0, %r0, 16;\n@%p0 vote.sync.any.pred %p1, %p0, -1;"}, ErrMembers, 2},
		{"barrier of the warp on one side", scenario{body: "setp.lt.u32 %p0, %r0, 16;\n@%p0 bra A;\nbar.warp.sync -1;\nA:\nmov.u32 %r4, 1;"}, ErrMembers, 3},

		{"uniform branch", scenario{body: "setp.lt.u32 %p0, %r0, 32;\n@%p0 bra.uni A;\nA:\nmov.u32 %r4, 1;"}, nil, 0},
		{"uniform branch that is not", scenario{body: "setp.lt.u32 %p0, %r0, 31;\n@%p0 bra.uni A;\nA:\nmov.u32 %r4, 1;"}, ErrDivergent, 2},
		{"division", scenario{body: "add.s32 %r3, %r0, 1;\ndiv.u32 %r3, %r0, %r3;"}, nil, 0},
		{"division by zero", scenario{body: "div.u32 %r3, 1, %r0;"}, ErrDivision, 1},
		{"remainder by zero", scenario{body: "rem.s32 %r3, 1, %r0;"}, ErrDivision, 1},
		{"trap that no thread reaches", scenario{body: "setp.eq.u32 %p0, %r0, 99;\n@%p0 trap;"}, nil, 0},
		{"trap", scenario{body: "setp.eq.u32 %p0, %r0, 9;\n@%p0 trap;"}, ErrTrap, 2},
		{"loop that ends", scenario{body: "mov.u32 %r3, 0;\nA:\nadd.s32 %r3, %r3, 1;\nsetp.lt.u32 %p0, %r3, %r0;\n@%p0 bra A;", limit: 10000}, nil, 0},
		{"loop without end", scenario{body: "A:\nbra.uni A;", limit: 10000}, ErrLimit, 2},
		{"loop without end for one thread", scenario{body: "setp.eq.u32 %p0, %r0, 5;\nA:\n@%p0 bra A;", limit: 10000}, ErrLimit, 3},
		{"approximate sine", scenario{body: "mov.f32 %f0, 0f00000000;\nsin.approx.f32 %f1, %f0;"}, ErrNotExecuted, 2},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for seed := range uint64(6) {
				_, err := test.launch(t, seed)
				if test.want == nil {
					if err != nil {
						t.Fatalf("seed %d: %v", seed, err)
					}
					continue
				}
				var f *Fault
				if !errors.Is(err, test.want) || !errors.As(err, &f) {
					t.Fatalf("seed %d: got error %v, want %v", seed, err, test.want)
				}
				atAddress := test.name != "null" && slices.Contains([]error{ErrBounds, ErrFreed, ErrAlign, ErrUnwritten, ErrRace}, test.want)
				if atAddress != (f.Address != 0) {
					t.Fatalf("seed %d: %v with address %#x", seed, err, f.Address)
				}
				if line := bodyLine - 1 + test.line; test.line > 0 && f.Line != line {
					t.Fatalf("seed %d: %v, want line %d", seed, err, line)
				}
			}
		})
	}
}

// TestFaultNames: a fault names its place.
func TestFaultNames(t *testing.T) {
	_, err := (&scenario{body: "setp.eq.u32 %p0, %r1, 2;\n@!%p0 ret;\nst.global.u32 [%d1+4], %r0;", blocks: 3}).launch(t, 0)
	var f *Fault
	if !errors.As(err, &f) {
		t.Fatal(err)
	}
	if want := (Fault{"k", bodyLine + 2, "st.global.u32 [%d1+4], %r0", Dim{2, 0, 0}, Dim{31, 0, 0}, f.Address, f.Err}); *f != want || f.Address%page != page-256+32*4 {
		t.Errorf("got %#v, want %#v", *f, want)
	}
	for _, part := range []string{"k, line 22", "st.global.u32", "block (2,0,0) thread (31,0,0)", fmt.Sprintf("%#x", f.Address), "4 bytes from offset 128 of an allocation of 128"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q lacks %q", err, part)
		}
	}
	_, err = (&scenario{body: "st.global.u32 [%d0], %r0;", words: 1, blocks: 2, block: 1}).launch(t, 0)
	if want := "write by block (0,0,0) thread (0,0,0)"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%q lacks %q", err, want)
	}
}

// TestAbsentNames: a fault of a member mask names the missing thread and the reason.
func TestAbsentNames(t *testing.T) {
	for _, test := range []struct {
		scenario
		want string
	}{
		{scenario{body: "setp.eq.u32 %p0, %r0, 31;\n@%p0 ret;\nshfl.sync.down.b32 %r3, %r0, 16, 31, -1;"}, "thread (31,0,0) has exited"},
		{scenario{body: "setp.eq.u32 %p0, %r0, 9;\n@!%p0 shfl.sync.down.b32 %r3, %r0, 16, 31, -1;"}, "thread (9,0,0) is elsewhere"},
		{scenario{block: 48, body: "shfl.sync.down.b32 %r3, %r0, 16, 31, -1;"}, "the block has no lane 16 here"},
		{scenario{block: 64, body: "setp.eq.u32 %p0, %r0, 40;\n@!%p0 bar.sync 0;"}, "thread (40,0,0) is elsewhere"},
		{scenario{block: 64, body: "setp.gt.u32 %p0, %r0, 31;\n@%p0 ret;\nbar.sync 0;"}, "thread (32,0,0) has exited"},
	} {
		if _, err := test.launch(t, 0); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: got %v, want %q", test.body, err, test.want)
		}
	}
}

// TestDivergence: threads take different paths through nested branches and loops. They
// meet again where they must.
func TestDivergence(t *testing.T) {
	// A loop with a branch takes Collatz steps of tid+1. A shuffle and a barrier after
	// it need convergence. Two exits inside it end threads early.
	body := `add.s32 %r3, %r0, 1;
mov.u32 %r4, 0;
LOOP:
setp.eq.u32 %p0, %r3, 1;
@%p0 bra DONE;
and.b32 %r5, %r3, 1;
setp.eq.u32 %p1, %r5, 0;
@%p1 bra EVEN;
mad.lo.s32 %r3, %r3, 3, 1;
add.s32 %r4, %r4, 1;
bra.uni LOOP;
EVEN:
shr.u32 %r3, %r3, 1;
add.s32 %r4, %r4, 1;
setp.gt.u32 %p2, %r4, 200;
@%p2 trap;
bra.uni LOOP;
DONE:
bar.warp.sync -1;
shfl.sync.bfly.b32 %r6, %r4, 1, 31, -1;
bar.sync 0;
st.global.u32 [%d1], %r6;`
	for seed := range uint64(5) {
		words, err := (&scenario{body: body, block: 64}).launch(t, seed)
		if err != nil {
			t.Fatal(err)
		}
		for i, got := range words {
			want := uint32(0)
			neighbour := i ^ 1
			for x := neighbour + 1; x != 1; want++ {
				if x%2 == 0 {
					x /= 2
				} else {
					x = 3*x + 1
				}
			}
			if got != want {
				t.Errorf("seed %d thread %d: %d steps, want %d", seed, i, got, want)
			}
		}
	}
}

// TestAtomics: the additions of all threads arrive, and each thread gets another sum.
func TestAtomics(t *testing.T) {
	body := `mov.u32 %r3, 1;
atom.global.add.u32 %r4, [%d0], %r3;
mad.wide.u32 %d2, %r4, 4, %d0;
st.global.u32 [%d2+4], %r4;`
	for seed := range uint64(4) {
		words, err := (&scenario{body: body, blocks: 3, block: 40, words: 121, fill: true}).launch(t, seed)
		if err != nil {
			t.Fatal(err)
		}
		for i, w := range words {
			if want := uint32(max(i-1, 0)); i > 0 && w != want || i == 0 && w != 120 {
				t.Errorf("seed %d: word %d is %d", seed, i, w)
			}
		}
	}
}

// TestSpecialRegisters checks what each thread of a grid in three dimensions sees.
func TestSpecialRegisters(t *testing.T) {
	var body strings.Builder
	names := strings.Fields("%tid.x %tid.y %tid.z %ntid.x %ntid.y %ntid.z %ctaid.x %ctaid.y %ctaid.z %nctaid.x %nctaid.y %nctaid.z %laneid %warpid")
	for i, name := range names {
		fmt.Fprintf(&body, "mov.u32 %%r0, %s;\nst.global.u32 [%%d0+%d], %%r0;\n", name, 4*i)
	}
	text := header + fmt.Sprintf(`.visible .entry k(.param .u64 out)
{
.reg .b32 %%r<9>;
.reg .b64 %%d<2>;
ld.param.u64 %%d0, [out];
mov.u32 %%r1, %%ctaid.z; mov.u32 %%r2, %%nctaid.y; mov.u32 %%r3, %%ctaid.y; mad.lo.s32 %%r1, %%r1, %%r2, %%r3;
mov.u32 %%r2, %%nctaid.x; mov.u32 %%r3, %%ctaid.x; mad.lo.s32 %%r1, %%r1, %%r2, %%r3;
mov.u32 %%r2, %%ntid.z; mov.u32 %%r3, %%tid.z; mad.lo.s32 %%r1, %%r1, %%r2, %%r3;
mov.u32 %%r2, %%ntid.y; mov.u32 %%r3, %%tid.y; mad.lo.s32 %%r1, %%r1, %%r2, %%r3;
mov.u32 %%r2, %%ntid.x; mov.u32 %%r3, %%tid.x; mad.lo.s32 %%r1, %%r1, %%r2, %%r3;
mad.wide.u32 %%d0, %%r1, %d, %%d0;
%sret;
}`, 4*len(names), body.String())
	m, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	k, err := m.Kernel("k")
	if err != nil {
		t.Fatal(err)
	}
	var mem Memory
	grid, block := Dim{3, 2, 4}, Dim{5, 3, 4}
	threads := grid.count() * block.count()
	out, err := mem.Alloc(int64(threads * 4 * len(names)))
	if err != nil {
		t.Fatal(err)
	}
	params, err := k.Pack(out)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Launch(&mem, Config{Grid: grid, Block: block, Seed: 3}, params); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, threads*4*len(names))
	if err := mem.Read(buf, out); err != nil {
		t.Fatal(err)
	}
	i := 0
	for bz := range grid.Z {
		for by := range grid.Y {
			for bx := range grid.X {
				for j := range block.count() {
					x, y, z := j%5, j/5%3, j/15
					for l, want := range []int{x, y, z, 5, 3, 4, bx, by, bz, 3, 2, 4, j % 32, j / 32} {
						if got := binary.LittleEndian.Uint32(buf[4*i:]); got != uint32(want) {
							t.Fatalf("block (%d,%d,%d) thread %d: %s is %d, want %d", bx, by, bz, j, names[l], got, want)
						}
						i++
					}
				}
			}
		}
	}
}

// TestShuffle compares shuffles in segments of a warp, and votes, with their definition
// in the CUDA programming guide.
func TestShuffle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mode := rapid.SampledFrom([]string{"up", "down", "bfly", "idx"}).Draw(t, "mode")
		width := 1 << rapid.IntRange(0, 5).Draw(t, "log width")
		by := rapid.IntRange(0, 31).Draw(t, "by")
		limit := 31
		if mode == "up" {
			limit = 0
		}
		words, err := (&scenario{fill: true, body: fmt.Sprintf("mul.lo.s32 %%r3, %%r0, 3;\nshfl.sync.%s.b32 %%r4, %%r3, %d, %d, -1;\nst.global.u32 [%%d1], %%r4;",
			mode, by, (32-width)<<8|limit)}).launch(t, 1)
		if err != nil {
			t.Fatal(err)
		}
		for lane, got := range words {
			start := lane / width * width
			source := map[string]int{"up": lane - by, "down": lane + by, "bfly": lane ^ by, "idx": start + by%width}[mode]
			if mode == "bfly" { // may read from earlier segments, but not later ones
				if source >= start+width {
					source = lane
				}
			} else if source < start || source >= start+width {
				source = lane
			}
			if got != uint32(3*source) {
				t.Fatalf("lane %d got the value of lane %d, want %d", lane, got/3, source)
			}
		}
	})
}

func TestVote(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		members := rapid.OneOf(rapid.Just(uint32(1<<32-1)), rapid.Uint32Min(1)).Draw(t, "members")
		yes := rapid.OneOf(rapid.Just(uint32(0)), rapid.Just(uint32(1<<32-1)), rapid.Uint32()).Draw(t, "yes")
		body := fmt.Sprintf(`mov.u32 %%r3, 0x%x;
shr.u32 %%r3, %%r3, %%r0;
and.b32 %%r3, %%r3, 1;
setp.ne.s32 %%p0, %%r3, 0;
setp.eq.s32 %%p1, %%r3, 0;
mov.u32 %%r4, 0x%x;
shr.u32 %%r4, %%r4, %%r0;
and.b32 %%r4, %%r4, 1;
setp.ne.s32 %%p1, %%r4, 0;
@!%%p0 bra OUT;
vote.sync.all.pred %%p2, %%p1, 0x%x;
vote.sync.any.pred %%p3, %%p1, 0x%x;
vote.sync.uni.pred %%p4, %%p1, 0x%x;
vote.sync.ballot.b32 %%r5, %%p1, 0x%x;
selp.u32 %%r6, 1, 0, %%p2;
selp.u32 %%r7, 2, 0, %%p3;
selp.u32 %%r8, 4, 0, %%p4;
or.b32 %%r6, %%r6, %%r7;
or.b32 %%r6, %%r6, %%r8;
xor.b32 %%r5, %%r5, %%r6;
st.global.u32 [%%d1], %%r5;
OUT:
mov.u32 %%r3, 1;`, members, yes, members, members, members, members)
		words, err := (&scenario{body: body, fill: true}).launch(t, 0)
		if err != nil {
			t.Fatal(err)
		}
		want := yes & members
		if yes&members == members {
			want ^= 1 | 2 | 4
		} else if yes&members == 0 {
			want ^= 4
		} else {
			want ^= 2
		}
		for lane, got := range words {
			if members>>lane&1 == 1 && got != want || members>>lane&1 == 0 && got != 0 {
				t.Fatalf("lane %d: %#x, want %#x", lane, got, want)
			}
		}
	})
}

// TestConfig: a launch that a device would refuse is an error. A launch at the limits
// is not.
func TestConfig(t *testing.T) {
	m, err := Parse(header + `.visible .entry free(.param .u32 n) { ret; }
.visible .entry bound() .maxntid 64, 2, 1 .minnctapersm 2 { ret; }
.visible .entry exact() .reqntid 64, 2 { ret; }
.visible .entry big() { .shared .align 4 .b8 a[49152]; ret; }`)
	if err != nil {
		t.Fatal(err)
	}
	one := Dim{1, 1, 1}
	tests := []struct {
		kernel string
		config Config
		ok     bool
	}{
		{"free", Config{Grid: one, Block: Dim{1024, 1, 1}}, true},
		{"free", Config{Grid: one, Block: Dim{1, 16, 64}, Shared: 48 << 10}, true},
		{"free", Config{Grid: Dim{2, 3, 4}, Block: Dim{1, 2, 1}}, true},
		{"free", Config{Grid: one}, false},
		{"free", Config{Block: one}, false},
		{"free", Config{Grid: one, Block: Dim{1025, 1, 1}}, false},
		{"free", Config{Grid: one, Block: Dim{512, 3, 1}}, false},
		{"free", Config{Grid: one, Block: Dim{1, 1, 65}}, false},
		{"free", Config{Grid: Dim{1, 65536, 1}, Block: one}, false},
		{"free", Config{Grid: Dim{1, 1, 65536}, Block: one}, false},
		{"free", Config{Grid: Dim{1<<31 - 1, 65535, 65535}, Block: one}, false},
		{"free", Config{Grid: Dim{1 << 21, 1, 1}, Block: Dim{1024, 1, 1}}, false},
		{"free", Config{Grid: Dim{-1, 1, 1}, Block: one}, false},
		{"free", Config{Grid: one, Block: one, Shared: 48<<10 + 1}, false},
		{"free", Config{Grid: one, Block: one, Shared: -1}, false},
		{"bound", Config{Grid: one, Block: Dim{128, 1, 1}}, true},
		{"bound", Config{Grid: one, Block: Dim{129, 1, 1}}, false},
		{"exact", Config{Grid: one, Block: Dim{64, 2, 1}}, true},
		{"exact", Config{Grid: one, Block: Dim{32, 2, 1}}, false},
		{"big", Config{Grid: one, Block: one}, true},
		{"big", Config{Grid: one, Block: one, Shared: 4}, false},
	}
	for _, test := range tests {
		k, err := m.Kernel(test.kernel)
		if err != nil {
			t.Fatal(err)
		}
		var mem Memory
		_, err = k.Launch(&mem, test.config, make([]byte, k.ParamBytes()))
		if test.ok && err != nil || !test.ok && !errors.Is(err, ErrLaunch) {
			t.Errorf("%s %+v: %v", test.kernel, test.config, err)
		}
		_, err = k.Launch(&mem, test.config, make([]byte, k.ParamBytes()+1))
		if !errors.Is(err, ErrLaunch) {
			t.Errorf("%s with a byte of parameters too many: %v", test.kernel, err)
		}
	}
}
