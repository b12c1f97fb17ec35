package kernel

// A Work holds what the steps of many rows share: memory for the noise of a block and
// the round keys of a key. The zero Work is ready; keep one per goroutine, since its
// memory costs more to clear than a short row to step.
type Work struct {
	noise [BlockLen]float32
	keys  roundKeys
}

// roundKeys are the keys of all rounds of Philox, two words a round.
type roundKeys struct {
	key   uint64
	known bool
	words [20]uint32
}

// of returns the round keys of a key.
func (r *roundKeys) of(key uint64) *[20]uint32 {
	if !r.known || r.key != key {
		k0, k1 := uint32(key), uint32(key>>32)
		for i := 0; i < len(r.words); i += 2 {
			r.words[i], r.words[i+1] = k0, k1
			k0 += philoxW0
			k1 += philoxW1
		}
		r.key, r.known = key, true
	}
	return &r.words
}
