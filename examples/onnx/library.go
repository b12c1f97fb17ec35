package main

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	ort "github.com/yalue/onnxruntime_go"
)

// install is the command that brings onnxruntime's library to a folder.
const install = "npm install --no-save --ignore-scripts --prefix . onnxruntime-node@1.30.0"

var errNoLibrary = errors.New("onnxruntime's library is missing")

// findLibrary returns onnxruntime's library: the file that is named, or the one that install
// brings to the folder that is named.
func findLibrary(name string) (string, error) {
	info, err := os.Stat(name)
	if err == nil && !info.IsDir() {
		return name, nil
	}
	if err == nil {
		system, processor := runtime.GOOS, runtime.GOARCH
		if system == "windows" {
			system = "win32"
		}
		if processor == "amd64" {
			processor = "x64"
		}
		for _, file := range []string{"libonnxruntime.so.1", "libonnxruntime.1.dylib", "onnxruntime.dll"} {
			found, err := filepath.Glob(filepath.Join(name, "node_modules/onnxruntime-node/bin/napi-v*", system, processor, file))
			if err != nil {
				return "", err
			}
			if len(found) > 0 {
				return found[len(found)-1], nil
			}
		}
	}
	return "", fmt.Errorf("%w: -ort %q is neither its file nor a folder with node_modules/onnxruntime-node for %s/%s.\nThis installs it in the folder where you run it (290 MB):\n\n\t%s",
		errNoLibrary, name, runtime.GOOS, runtime.GOARCH, install)
}

// start loads onnxruntime's library, see findLibrary.
func start(name string) error {
	file, err := findLibrary(name)
	if err != nil {
		return err
	}
	ort.SetSharedLibraryPath(file)
	if err := ort.InitializeEnvironment(); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

//go:embed velocity.onnx
var velocityONNX []byte

//go:embed classifier.onnx
var classifierONNX []byte

// Options of a session.
type options struct {
	threads int
	plain   bool // the graph as it is, without onnxruntime's fusions
}

func (o options) velocity() (*ort.DynamicAdvancedSession, error) {
	return o.open(velocityONNX, []string{"x", "t", "class"}, "v")
}

func (o options) classifier() (*ort.DynamicAdvancedSession, error) {
	return o.open(classifierONNX, []string{"x"}, "logits")
}

func (o options) open(model []byte, inputs []string, output string) (*ort.DynamicAdvancedSession, error) {
	s, err := ort.NewSessionOptions()
	if err != nil {
		return nil, err
	}
	defer s.Destroy()
	level := ort.GraphOptimizationLevel(ort.GraphOptimizationLevelEnableAll)
	if o.plain {
		level = ort.GraphOptimizationLevelDisableAll
	}
	if err := errors.Join(
		s.SetIntraOpNumThreads(o.threads),
		s.SetGraphOptimizationLevel(level),
		s.AddSessionConfigEntry("session.intra_op.allow_spinning", "0"), // between calls the library needs the cores
	); err != nil {
		return nil, err
	}
	return ort.NewDynamicAdvancedSessionWithONNXData(model, inputs, []string{output}, s)
}
