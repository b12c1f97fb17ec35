package ptx_test

import (
	"fmt"

	"cps/cuda/internal/ptx"
)

// A kernel stores the square of each index. The second launch has one thread too many.
func Example() {
	m, err := ptx.Parse(`
.version 6.3
.target sm_70
.address_size 64
.visible .entry squares(.param .u64 out)
{
	.reg .b32 %r<3>;
	.reg .b64 %rd<3>;
	ld.param.u64 %rd1, [out];
	mov.u32 %r1, %tid.x;
	mul.lo.s32 %r2, %r1, %r1;
	mad.wide.u32 %rd2, %r1, 4, %rd1;
	st.global.u32 [%rd2], %r2;
	ret;
}`)
	if err != nil {
		fmt.Println(err)
		return
	}
	k, err := m.Kernel("squares")
	if err != nil {
		fmt.Println(err)
		return
	}
	var memory ptx.Memory
	out, err := memory.Alloc(5 * 4)
	if err != nil {
		fmt.Println(err)
		return
	}
	params, err := k.Pack(out)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, threads := range []int{5, 6} {
		c := ptx.Config{Grid: ptx.Dim{X: 1, Y: 1, Z: 1}, Block: ptx.Dim{X: threads, Y: 1, Z: 1}}
		stats, err := k.Launch(&memory, c, params)
		fmt.Println(stats.Instructions, "instructions,", stats.Stored, "bytes stored:", err)
	}
	buf := make([]byte, 5*4)
	if err := memory.Read(buf, out); err != nil {
		fmt.Println(err)
	}
	fmt.Println(buf[0], buf[4], buf[8], buf[12], buf[16])
	// Output:
	// 30 instructions, 20 bytes stored: <nil>
	// 30 instructions, 20 bytes stored: ptx: squares, line 13, "st.global.u32 [%rd2], %r2": block (0,0,0) thread (5,0,0) at 0x7effffffff14: address outside of every allocation: 4 bytes from offset 20 of an allocation of 20
	// 0 1 4 9 16
}
