package digits

import (
	"bytes"
	_ "embed"
	"os"
	"path/filepath"
)

// Names of the files that WriteWeights and WriteCritic write. A build embeds them, and
// Velocity, Judge and Taste read them.
const (
	VelocityFile   = "velocity.bin"
	ClassifierFile = "classifier.bin"
	CriticFile     = "critic.bin"
)

var (
	//go:embed velocity.bin
	velocityWeights []byte
	//go:embed classifier.bin
	classifierWeights []byte
	//go:embed critic.bin
	criticWeights []byte
)

// Velocity returns a new copy of the committed velocity network.
func Velocity() (*Net, error) { return LoadNet(bytes.NewReader(velocityWeights)) }

// Judge returns a new copy of the committed classifier.
func Judge() (*Classifier, error) { return LoadClassifier(bytes.NewReader(classifierWeights)) }

// Taste returns a new copy of the committed critic.
func Taste() (*Critic, error) { return LoadCritic(bytes.NewReader(criticWeights)) }

// WriteCritic writes c to the folder dir.
func WriteCritic(dir string, c *Critic) error {
	var b bytes.Buffer
	if err := c.Save(&b); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, CriticFile), b.Bytes(), 0o644)
}

// WriteWeights writes n and c to the folder dir. If one of the two cannot be saved, files that
// are already there keep their contents.
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
