package digits

import (
	"bytes"
	_ "embed"
	"os"
	"path/filepath"
)

// Names of the files that WriteWeights writes, and from which Velocity and Judge
// read what the last build embedded.
const (
	VelocityFile   = "velocity.bin"
	ClassifierFile = "classifier.bin"
)

var (
	//go:embed velocity.bin
	velocityWeights []byte
	//go:embed classifier.bin
	classifierWeights []byte
)

// Velocity returns a new copy of the committed velocity network.
func Velocity() (*Net, error) { return LoadNet(bytes.NewReader(velocityWeights)) }

// Judge returns a new copy of the committed classifier.
func Judge() (*Classifier, error) { return LoadClassifier(bytes.NewReader(classifierWeights)) }

// WriteWeights writes n and c to the folder dir. Files that are already there keep
// their old contents unless both networks can be saved.
func WriteWeights(dir string, n *Net, c *Classifier) error {
	var velocity, classifier bytes.Buffer
	if err := n.Save(&velocity); err != nil {
		return err
	}
	if err := c.Save(&classifier); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, VelocityFile), velocity.Bytes(), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, ClassifierFile), classifier.Bytes(), 0o644)
}
