package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"cps/examples/internal/digits"

	"github.com/nats-io/nats.go/jetstream"
)

// A version of the policy is its weights as little-endian float32, an object named "weights"
// in a bucket of its own. Its name is the SHA-256 of these bytes. A bucket is deleted as a
// whole, which frees its memory at once.
const weightsObject = "weights"

// stall is the time without a byte after which a transfer of weights is given up. It has no
// other limit: weights may take as long as they take.
const stall = 10 * time.Second

// transfer returns a context that ends when moved was not called for a stall, and the error of
// an operation under it.
func transfer(ctx context.Context) (moving context.Context, moved func(), end func(error) error) {
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(stall, func() { cancel(errStalled) })
	// With a deadline the client does not set its own, of some seconds.
	ctx, release := context.WithTimeout(ctx, 1000*time.Hour)
	end = func(err error) error {
		timer.Stop()
		release()
		if err != nil && context.Cause(ctx) == errStalled {
			err = errStalled
		}
		cancel(nil)
		return err
	}
	return ctx, func() { timer.Reset(stall) }, end
}

var errStalled = fmt.Errorf("the server stores or sends nothing for %v: its disk may be full", stall)

// A mover calls moved whenever bytes are read or written.
type mover struct {
	r     io.Reader
	w     io.Writer
	moved func()
}

func (m mover) Read(b []byte) (int, error) {
	m.moved()
	return m.r.Read(b)
}

func (m mover) Write(b []byte) (int, error) {
	m.moved()
	return m.w.Write(b)
}

var (
	errNoVersion  = errors.New("the version of the policy is not there any more")
	errBadVersion = errors.New("the version of the policy is not what its name says")
)

// encodeWeights returns the bytes of a version and its name.
func encodeWeights(n *digits.Net) (b []byte, version string) {
	for _, x := range n.Params() {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return b, hexSum(b)
}

// decodeWeights stores the bytes of a version in a network of the same size.
func decodeWeights(n *digits.Net, b []byte) error {
	params := n.Params()
	if len(b) != 4*len(params) {
		return fmt.Errorf("%d bytes of weights for a network of %d weights: %w", len(b), len(params), errBadVersion)
	}
	for i := range params {
		params[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return nil
}

// putVersion stores a version unless it is there. size bytes are read from r. With check, a
// version that is there is read, and stored again if it is damaged.
func putVersion(ctx context.Context, js jetstream.JetStream, q queues, version string, size int64, check bool, r io.Reader) error {
	if check {
		if err := getVersion(ctx, js, q.names, version, size, io.Discard); err == nil {
			return nil
		}
		if err := deleteBucket(ctx, js, q.bucket(version)); err != nil {
			return fmt.Errorf("policy: damaged version: %w", err)
		}
	}
	store, err := js.CreateOrUpdateObjectStore(ctx, jetstream.ObjectStoreConfig{Bucket: q.bucket(version), Storage: q.storage})
	if err != nil {
		return fmt.Errorf("policy: bucket %s: %w", q.bucket(version), err)
	}
	if info, err := store.GetInfo(ctx, weightsObject); err == nil && int64(info.Size) == size {
		return nil
	}
	ctx, moved, end := transfer(ctx)
	_, err = store.Put(ctx, jetstream.ObjectMeta{Name: weightsObject}, mover{r: r, moved: moved})
	if err := end(err); err != nil {
		return fmt.Errorf("policy: %w", err)
	}
	return nil
}

// getVersion writes a version of size bytes to w. A version that is not there is
// errNoVersion; one with other bytes than its name says is errBadVersion, after some of them
// were written.
func getVersion(ctx context.Context, js jetstream.JetStream, n names, version string, size int64, w io.Writer) error {
	store, err := js.ObjectStore(ctx, n.bucket(version))
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return errNoVersion
	}
	if err != nil {
		return fmt.Errorf("policy: %w", err)
	}
	ctx, moved, end := transfer(ctx)
	sum := sha256.New()
	n64, err := readObject(ctx, store, size, mover{w: io.MultiWriter(w, sum), moved: moved})
	if err := end(err); err != nil {
		return fmt.Errorf("policy: %w", err)
	}
	if n64 != size || hex.EncodeToString(sum.Sum(nil)) != version {
		return fmt.Errorf("policy: %w", errBadVersion)
	}
	return nil
}

// readObject writes the weights in a bucket to w, and returns their size, which may be any
// other than size if it is not that.
func readObject(ctx context.Context, store jetstream.ObjectStore, size int64, w io.Writer) (int64, error) {
	object, err := store.Get(ctx, weightsObject)
	if errors.Is(err, jetstream.ErrObjectNotFound) {
		return 0, errNoVersion
	}
	if err != nil {
		return 0, err
	}
	defer object.Close()
	if info, err := object.Info(); err != nil || int64(info.Size) != size {
		return 0, err
	}
	return io.Copy(w, io.LimitReader(object, size+1))
}

// versions are those on the server, of which the last two are kept: a worker may still be
// loading the one before.
type versions struct{ kept []string }

const keptVersions = 2

// publish stores a version and deletes those that are too old. check is that of putVersion.
func (v *versions) publish(ctx context.Context, js jetstream.JetStream, q queues, version string, size int64, check bool, r io.Reader) error {
	if err := putVersion(ctx, js, q, version, size, check, r); err != nil {
		return err
	}
	if n := len(v.kept); n == 0 || v.kept[n-1] != version {
		v.kept = append(v.kept, version)
	}
	for len(v.kept) > keptVersions {
		if err := deleteBucket(ctx, js, q.bucket(v.kept[0])); err != nil {
			return fmt.Errorf("policy: old version: %w", err)
		}
		v.kept = v.kept[1:]
	}
	return nil
}

// deleteBucket deletes a bucket if it is there.
func deleteBucket(ctx context.Context, js jetstream.JetStream, bucket string) error {
	err := js.DeleteObjectStore(ctx, bucket)
	if errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, jetstream.ErrBucketNotFound) {
		return nil
	}
	return err
}
