package noise

// A Source reads the words of a stream in order, for the distributions of
// math/rand/v2, whose Source it implements:
//
//	r := rand.New(&noise.Source{Key: key, ID: id})
//
// Its fields are its whole state. Assigning Pos seeks, copying a Source forks it
// and printing one records it. The zero Source is the start of the zero ID's
// stream under the zero Key. Give a Source an ID of its own: its words are those
// of which [Normal] makes the noise of that ID. A Source is not safe for
// concurrent use.
type Source struct {
	Key Key
	ID  ID
	Pos uint64 // the word that is next
}

// Uint64 returns the next two words of the stream, the first in the low half. It
// panics at the end of the stream, and if the step of s.ID is reserved.
func (s *Source) Uint64() uint64 {
	var w [2]uint32
	Uint32s(w[:], s.Key, s.ID, s.Pos)
	s.Pos += 2
	return uint64(w[1])<<32 | uint64(w[0])
}
