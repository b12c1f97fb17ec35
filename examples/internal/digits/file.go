package digits

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"cps/internal/kernel"
)

// Weights are stored in half precision. A file has
//
//	magic      8 bytes
//	version    uint32
//	sizes      In, Hidden, Depth, Out, Extra as uint32
//	baseline   mean[Dim], std[Dim] as float32, of a velocity network only
//	weights    float16
//	checksum   SHA-256 of everything before
//
// in little-endian order, without gaps, and nothing after the checksum.
const (
	magicNet        = "cps flow"
	magicClassifier = "cps read"
	magicCritic     = "cps rank"
	version         = 1
)

// Bounds of the shapes that Load and Train accept. The largest network has 2 million weights.
const (
	maxHidden = 512
	maxDepth  = 8
)

var (
	errMagic    = errors.New("not a file of this kind")
	errChecksum = errors.New("wrong checksum: the file is damaged")
)

// round rounds params to the type in which they are stored.
func round(params []float32) error {
	for i, x := range params {
		params[i] = kernel.Float16.Round(x)
		if math.IsNaN(float64(x)) || math.IsInf(float64(params[i]), 0) {
			return fmt.Errorf("digits: weight %d, %v, is not a finite float16", i, x)
		}
	}
	return nil
}

// Save writes n to w. Weights are rounded to float16. Those of Train and LoadNet are float16
// values already, so they keep their bits.
func (n *Net) Save(w io.Writer) error {
	return save(w, magicNet, n.shape, n.params, n.base.mean, n.base.std)
}

// Save writes c to w, as Net.Save does.
func (c *Classifier) Save(w io.Writer) error {
	return save(w, magicClassifier, c.shape, c.params)
}

// Save writes c to w, as Net.Save does.
func (c *Critic) Save(w io.Writer) error {
	return save(w, magicCritic, c.shape, c.params)
}

func save(w io.Writer, magic string, s shape, params []float32, table ...[Dim]float32) error {
	rounded := append([]float32(nil), params...)
	if err := round(rounded); err != nil {
		return err
	}
	half := make([]uint16, len(rounded))
	kernel.Float16.Pack(half, rounded)
	b := []byte(magic)
	for _, n := range [...]int{version, s.In, s.Hidden, s.Depth, s.Out, s.Extra} {
		b = binary.LittleEndian.AppendUint32(b, uint32(n))
	}
	for _, row := range table {
		for _, x := range row {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
		}
	}
	for _, h := range half {
		b = binary.LittleEndian.AppendUint16(b, h)
	}
	sum := sha256.Sum256(b)
	_, err := w.Write(append(b, sum[:]...))
	return err
}

// LoadNet reads what Net.Save wrote, to the end of r.
func LoadNet(r io.Reader) (*Net, error) {
	n := new(Net)
	var err error
	n.shape, n.params, err = load(r, magicNet, netShape, n.base.mean[:], n.base.std[:])
	if err != nil {
		return nil, fmt.Errorf("digits: velocity network: %w", err)
	}
	for p, std := range n.base.std {
		if mean := n.base.mean[p]; !(-1 <= mean && mean <= 1) || !(minStd <= std && std <= 1) {
			return nil, fmt.Errorf("digits: velocity network: pixel %d has mean %v and standard deviation %v", p, mean, std)
		}
	}
	return n, nil
}

// LoadClassifier reads what Classifier.Save wrote, to the end of r.
func LoadClassifier(r io.Reader) (*Classifier, error) {
	c := new(Classifier)
	var err error
	c.shape, c.params, err = load(r, magicClassifier, func(hidden, _ int) shape { return classifierShape(hidden) })
	if err != nil {
		return nil, fmt.Errorf("digits: classifier: %w", err)
	}
	return c, nil
}

// LoadCritic reads what Critic.Save wrote, to the end of r.
func LoadCritic(r io.Reader) (*Critic, error) {
	c := new(Critic)
	var err error
	c.shape, c.params, err = load(r, magicCritic, criticShape)
	if err != nil {
		return nil, fmt.Errorf("digits: critic: %w", err)
	}
	return c, nil
}

// load reads a file. The shape must be the one that want returns for its width and depth.
func load(r io.Reader, magic string, want func(hidden, depth int) shape, table ...[]float32) (s shape, params []float32, err error) {
	const header = 8 + 6*4
	var head [header]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return s, nil, fmt.Errorf("header: %w", err)
	}
	if string(head[:8]) != magic {
		return s, nil, errMagic
	}
	field := func(i int) int { return int(binary.LittleEndian.Uint32(head[8+4*i:])) }
	if v := field(0); v != version {
		return s, nil, fmt.Errorf("version %d, want %d", v, version)
	}
	s = shape{field(1), field(2), field(3), field(4), field(5)}
	if s.Hidden < 1 || s.Hidden > maxHidden || s.Depth < 1 || s.Depth > maxDepth || s != want(s.Hidden, s.Depth) {
		return s, nil, fmt.Errorf("a network with the sizes %+v does not belong here", s)
	}
	body := make([]byte, 4*Dim*len(table)+2*s.size()+sha256.Size)
	if _, err := io.ReadFull(r, body); err != nil {
		return s, nil, fmt.Errorf("weights: %w", err)
	}
	var more [1]byte
	if n, _ := io.ReadFull(r, more[:]); n != 0 {
		return s, nil, errors.New("bytes after the checksum")
	}
	sum := body[len(body)-sha256.Size:]
	body = body[:len(body)-sha256.Size]
	h := sha256.New()
	h.Write(head[:])
	h.Write(body)
	if !bytes.Equal(h.Sum(nil), sum) {
		return s, nil, errChecksum
	}
	for _, row := range table {
		for i := range row {
			row[i] = math.Float32frombits(binary.LittleEndian.Uint32(body))
			body = body[4:]
		}
	}
	half := make([]uint16, s.size())
	for i := range half {
		half[i] = binary.LittleEndian.Uint16(body[2*i:])
	}
	params = make([]float32, len(half))
	kernel.Float16.Unpack(params, half)
	for i, x := range params {
		if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
			return s, nil, fmt.Errorf("weight %d is %v", i, x)
		}
	}
	return s, params, nil
}
