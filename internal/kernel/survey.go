package kernel

import "math"

// A Survey sums up rows.
type Survey struct {
	Same           bool   // whether all rows have the same weights, to the bit
	ReadsX, ReadsV bool   // whether any row has a weight of x, or of v, that is not 0
	Step, Block    uint32 // the largest Step and the largest Block
}

// SurveyOf surveys at least one row.
func SurveyOf(rows []Row) Survey {
	if use == portable || len(rows) == 1 {
		return surveyPortable(rows)
	}
	return survey(rows)
}

func surveyPortable(rows []Row) Survey {
	first := rows[0].bits()
	s := Survey{Same: true}
	for i := range rows {
		r := &rows[i]
		s.Same = s.Same && r.bits() == first
		s.ReadsX, s.ReadsV = s.ReadsX || r.X != 0, s.ReadsV || r.V != 0
		s.Step, s.Block = max(s.Step, r.Step), max(s.Block, r.Block)
	}
	return s
}

func (r *Row) bits() [3]uint64 {
	return [3]uint64{math.Float64bits(r.X), math.Float64bits(r.V), math.Float64bits(r.Eps)}
}
