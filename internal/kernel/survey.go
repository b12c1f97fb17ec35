package kernel

import "math"

// A Survey is what rows have in common.
type Survey struct {
	Same  bool   // whether they have the same weights, to the bit
	Step  uint32 // the largest of theirs
	Block uint32
}

// surveyPortable surveys rows, of which there is one at least.
func surveyPortable(rows []Row) Survey {
	first := rows[0].bits()
	s := Survey{Same: true}
	for i := range rows {
		r := &rows[i]
		s.Same = s.Same && r.bits() == first
		s.Step, s.Block = max(s.Step, r.Step), max(s.Block, r.Block)
	}
	return s
}

func (r *Row) bits() [3]uint64 {
	return [3]uint64{math.Float64bits(r.X), math.Float64bits(r.V), math.Float64bits(r.Eps)}
}
