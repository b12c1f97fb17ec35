package noise

// A Source reads the words of a stream in order. It implements the Source of
// math/rand/v2, and thus serves that package's distributions:
//
//	r := rand.New(&noise.Source{Key: key, ID: id})
//
// The fields are the whole state. Set Pos to seek, copy a Source to fork it, and
// print one to record it. The zero Source is the start of the zero ID's stream
// under the zero Key. Give a Source an ID that no noise uses: [Normal] makes its
// draws from the same words. A Source is not safe for concurrent use.
type Source struct {
	Key Key
	ID  ID
	Pos uint64 // the word that is next
}

// Uint64 returns the next two words of the stream, the first in the low half. It
// panics at the end of the stream, and if s.ID.Step is reserved.
func (s *Source) Uint64() uint64 {
	var w [2]uint32
	Uint32s(w[:], s.Key, s.ID, s.Pos)
	s.Pos += 2
	return uint64(w[1])<<32 | uint64(w[0])
}
