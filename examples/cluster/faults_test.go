//go:build unix

package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"cps/examples/internal/digits"
)

// faulty are workers that fail, by the names that tests give.
var faulty = map[string]func(*worker){
	// Every answer thrice, and again after a while, and one of an older policy besides.
	"repeat": func(w *worker) {
		var older []byte
		sent := 0
		w.publish = func(ctx context.Context, w *worker, message []byte) error {
			for range 3 {
				if err := publishAnswer(ctx, w, message); err != nil {
					return err
				}
			}
			time.AfterFunc(300*time.Millisecond, func() { publishAnswer(context.Background(), w, message) })
			if sent++; sent%5 == 1 {
				older = message
			}
			return publishAnswer(ctx, w, older)
		}
	},
	// One wrong bit in every answer, under the right MAC.
	"lie": func(w *worker) { w.publish = lies(0) },
	// The same after three answers that are right.
	"lie later": func(w *worker) { w.publish = lies(3) },
	// Answers in the name of the other worker, and noise.
	"forge": func(w *worker) {
		w.publish = func(ctx context.Context, w *worker, message []byte) error {
			forged := append([]byte(nil), message...)
			at := len(answerMagic) + sessionSize
			for id := range uint32(4) {
				binary.LittleEndian.PutUint32(forged[at:], id)
				if id != w.member.id {
					publishAnswer(ctx, w, forged)
				}
			}
			cut := message[:rand.IntN(len(message))]
			publishAnswer(ctx, w, cut)
			return publishAnswer(ctx, w, []byte("no answer"))
		}
	},
	// It takes work, and does nothing but repeat its first answer, day and night.
	"babble": func(w *worker) {
		w.publish = func(ctx context.Context, w *worker, message []byte) error {
			go func() {
				for {
					publishAnswer(context.Background(), w, message)
				}
			}()
			w.publish = func(context.Context, *worker, []byte) error { return nil }
			return nil
		}
	},
	// A network with another last bit.
	"another network": func(w *worker) {
		probeNet = func() (*digits.Net, error) {
			n, err := digits.Velocity()
			if err == nil {
				n.Params()[100] += 1e-6
			}
			return n, err
		}
	},
	// Numbers that are none, under the right MAC.
	"nan": func(w *worker) {
		w.publish = tampered(func(body []byte) { binary.LittleEndian.PutUint32(body[12:], 0x7fc00000) }, 1)
	},
	// A right answer, a lie that nobody checks, and then one that cannot be missed.
	"lie and nan": func(w *worker) {
		sent := 0
		w.publish = tampered(func(body []byte) {
			if sent++; sent == 1 {
				body[100] ^= 1
			} else {
				binary.LittleEndian.PutUint32(body[12:], 0x7fc00000)
			}
		}, 1)
	},
	// It says that parts cannot be drawn.
	"give up": func(w *worker) {
		w.publish = func(ctx context.Context, w *worker, message []byte) error {
			a, err := decodeAnswer(message)
			if err != nil {
				return err
			}
			a.failure = "no"
			return publishAnswer(ctx, w, a.seal(w.member.key))
		}
	},
	// It loses a chunk of the policy on the server, and forgets what it loaded.
	"lose chunk": damages(func(ctx context.Context, w *worker) error {
		s, err := w.js.Stream(ctx, "OBJ_"+w.o.bucket(w.version))
		if err != nil {
			return err
		}
		return s.DeleteMsg(ctx, s.CachedInfo().State.FirstSeq+1)
	}),
	// The same with other weights under the policy's name.
	"wrong weights": damages(func(ctx context.Context, w *worker) error {
		s, err := w.js.ObjectStore(ctx, w.o.bucket(w.version))
		if err != nil {
			return err
		}
		_, err = s.PutBytes(ctx, weightsObject, make([]byte, 4*len(w.net.Params())))
		return err
	}),
	// Its answers are too large for the server.
	"too large": func(w *worker) {
		w.publish = func(ctx context.Context, w *worker, message []byte) error {
			return publishAnswer(ctx, w, append(message, make([]byte, w.nc.MaxPayload())...))
		}
	},
	// It dies with a part in its hands.
	"die": func(w *worker) {
		w.publish = func(context.Context, *worker, []byte) error { os.Exit(7); return nil }
	},
}

// tampered publishes answers whose bodies are changed, after some that are right.
func tampered(change func(body []byte), after int) func(context.Context, *worker, []byte) error {
	sent := 0
	return func(ctx context.Context, w *worker, message []byte) error {
		if sent++; sent > after {
			body := message[:len(message)-sha256.Size]
			change(body[answerHead:])
			copy(message[len(body):], mac(body, w.member.key))
		}
		return publishAnswer(ctx, w, message)
	}
}

// damages harms the stored policy before its worker's first answer.
func damages(harm func(context.Context, *worker) error) func(*worker) {
	return func(w *worker) {
		w.publish = func(ctx context.Context, w *worker, message []byte) error {
			if err := harm(ctx, w); err != nil {
				return err
			}
			w.version, w.publish = "", publishAnswer
			return publishAnswer(ctx, w, message)
		}
	}
}

func lies(after int) func(context.Context, *worker, []byte) error {
	return tampered(func(body []byte) { body[100] ^= 1 }, after)
}

// Workers die with parts in their hands, and others come.
func TestWorkersKilled(t *testing.T) {
	b := newBench(t, often(15, 60))
	l := b.learner()
	workers := []*process{b.worker("", "", "-pace", "20ms"), b.worker("", "", "-pace", "20ms"), b.worker("", "", "-pace", "20ms")}
	b.worker("", "die")
	for i := range often(5, 20) {
		if !l.reaches(iterationsDone, float64(2*(i+1))) {
			break
		}
		k := i % len(workers)
		workers[k].kill()
		workers[k] = b.worker("", "", "-pace", "20ms")
	}
	b.equal(l)
	if !strings.Contains(l.text(), "worker worker-8 joins") {
		t.Error("no worker was added")
	}
}

// A worker stands still with a part in its hands, which another does, and goes on.
func TestWorkerStopped(t *testing.T) {
	b := newBench(t, often(20, 60))
	l := b.learner()
	b.worker("", "", "-pace", "20ms")
	w := b.worker("", "", "-pace", "150ms")
	for i := range often(2, 6) {
		if !l.reaches(iterationsDone, float64(3*i+1)) {
			t.Fatal("the run was too short")
		}
		w.Process.Signal(syscall.SIGSTOP)
		done, _ := l.metric(iterationsDone)
		if !l.reaches(iterationsDone, done+2) { // for which its part is needed
			t.Fatal("the run was too short")
		}
		w.Process.Signal(syscall.SIGCONT)
	}
	b.equal(l)
}

// A part that takes longer than the server waits for its acknowledgement goes to no other
// worker while the one that has it says that it is at it.
func TestSlowParts(t *testing.T) {
	b := newBench(t, 2, "-part", "120")
	l := b.learner("-silence", "30s")
	workers := []*process{b.worker("", "", "-pace", "2500ms"), b.worker("", "", "-pace", "2500ms")}
	b.equal(l)
	parts := 0.0
	for _, w := range workers {
		n, _ := w.metric("cps_worker_parts_total")
		parts += n
	}
	if parts != 2 {
		t.Errorf("two parts were done %v times", parts)
	}
}

// The learner dies with the server in it, and goes on from its checkpoint with the workers
// that are there.
func TestLearnerKilled(t *testing.T) {
	b := newBench(t, often(20, 60), "-sliding", "2", "-shared", "-group", "6")
	l := b.learner()
	for range 3 {
		b.worker("", "", "-pace", "50ms")
	}
	for i := range 3 {
		if !l.reaches(iterationsDone, float64(3+i)) {
			t.Fatal("the run was too short")
		}
		time.Sleep(time.Duration(rand.IntN(60)) * time.Millisecond) // somewhere in an iteration
		l.kill()
		l = b.learner("-resume")
	}
	b.equal(l)
	if !strings.Contains(l.text(), "going on after iteration") {
		t.Error("the last learner began anew")
	}
}

// A server apart dies and comes back: with its files, or without anything.
func TestServerKilled(t *testing.T) {
	for _, storage := range []string{"memory", "file"} {
		t.Run(storage, func(t *testing.T) {
			b := newBench(t, often(16, 50))
			s := b.server()
			l := b.learner(append(b.clients(), "-storage", storage)...)
			for range 3 {
				b.worker("", "", "-pace", "40ms")
			}
			for i := range often(3, 8) {
				if !l.reaches(iterationsDone, float64(2*i+1)) {
					t.Fatal("the run was too short")
				}
				s.kill()
				time.Sleep(time.Duration(rand.IntN(500)) * time.Millisecond)
				s = b.server()
			}
			b.equal(l)
		})
	}
}

// Somebody deletes what the run has on the server, and stops what delivers its work.
func TestStreamsLost(t *testing.T) {
	b := newBench(t, often(12, 40))
	l := b.learner("-silence", "500ms")
	b.worker("", "", "-pace", "30ms")
	b.worker("", "", "-pace", "30ms")
	js := b.client()
	n := names{"cps"}
	for i, harm := range []func() error{
		func() error { return js.DeleteStream(t.Context(), n.workStream()) },
		func() error { return js.DeleteStream(t.Context(), n.answerStream()) },
		func() error { return queues{names: n}.removeVersions(t.Context(), js) },
		func() error {
			_, err := js.PauseConsumer(t.Context(), n.workStream(), workConsumer, time.Now().Add(time.Hour))
			return err
		},
	} {
		if !l.reaches(iterationsDone, float64(2*i+1)) {
			t.Fatal("the run was too short")
		}
		if err := harm(); err != nil {
			t.Fatal(err)
		}
	}
	b.equal(l)
}

// A stored policy that nobody can load is stored again, and each worker complains once.
func TestPolicyDamaged(t *testing.T) {
	for fault, why := range map[string]string{"lose chunk": "digest", "wrong weights": errBadVersion.Error()} {
		t.Run(fault, func(t *testing.T) {
			b := newBench(t, 3)
			l := b.learner("-silence", "1s")
			w := b.worker("", fault)
			w.says("cannot be loaded, trying again: .*" + why)
			b.equal(l)
			if n := strings.Count(w.text(), why); n != 1 {
				t.Errorf("the worker says %d times that %s", n, why)
			}
		})
	}
}

// Answers come thrice, late, and of an older policy.
func TestRepeated(t *testing.T) {
	b := newBench(t, often(8, 40))
	l := b.learner()
	b.worker("", "repeat", "-pace", "10ms")
	b.worker("", "", "-pace", "30ms")
	if !l.reaches(answersOf(duplicate), 20) || !l.reaches(answersOf(stale), 20) {
		t.Error("nothing was repeated")
	}
	b.equal(l)
	if strings.Contains(l.text(), "dropped") {
		t.Error("a worker was dropped")
	}
}

// A worker that lies is named, and its answers do not count; the others go on.
func TestLiars(t *testing.T) {
	for _, c := range []struct {
		fault string
		check string
		why   string
	}{
		{"lie", "0", `its answer for samples \d+ to \d+ of iteration \d+ is not what they are`},
		{"lie later", "1", `its answer for samples \d+ to \d+ of iteration \d+ is not what they are`},
		{"nan", "0", "finetune: latent 0 is NaN"},
		{"lie and nan", "0", "finetune: latent 0 is NaN"},
		{"give up", "0", `it says that samples \d+ to \d+ cannot be drawn \("no"\), and they can`},
	} {
		t.Run(c.fault, func(t *testing.T) {
			b := newBench(t, often(8, 20), "-check", c.check)
			l := b.learner()
			liar := b.worker("", c.fault)
			l.says("worker worker-1 is dropped: " + c.why)
			if status := liar.ends(); status != statusRefused || !strings.Contains(liar.text(), "the learner goes on without this worker: ") {
				t.Errorf("the liar ends with status %d", status)
			}
			w := b.worker("", "")
			b.equal(l)
			// What was published twice is drawn once: ten parts an iteration, and a few at work twice.
			if n, _ := w.metric("cps_worker_parts_total"); n > float64(10*b.iterations+3) {
				t.Errorf("the worker did %v parts", n)
			}
			if n := strings.Count(l.text(), "is dropped"); n != 1 {
				t.Errorf("%d workers were dropped", n)
			}
		})
	}
}

// A worker that answers in the name of another, or with noise, harms nobody but itself.
func TestForger(t *testing.T) {
	b := newBench(t, often(6, 20))
	l := b.learner()
	b.worker("", "", "-pace", "20ms")
	l.says("worker-1 joins")
	forger := b.worker("", "forge", "-pace", "100ms")
	if !l.reaches(answersOf(forged), 1) || !l.reaches(answersOf(stranger), 1) || !l.reaches(answersOf(damaged), 1) {
		t.Error("nothing was forged")
	}
	forger.kill()
	b.equal(l)
	if strings.Contains(l.text(), "dropped") {
		t.Error("an honest worker was dropped")
	}
}

// A worker that takes work and repeats one answer without end holds nobody up for ever.
func TestBabbler(t *testing.T) {
	b := newBench(t, 4)
	l := b.learner("-silence", "500ms")
	b.worker("", "", "-pace", "20ms")
	babbler := b.worker("", "babble", "-pace", "150ms")
	if !l.reaches(answersOf(stale), 100) {
		t.Error("nobody babbled")
	}
	b.equal(l)
	babbler.kill()
}

// A worker whose network is another is refused before it works, with the reason at both ends.
func TestRefused(t *testing.T) {
	b := newBench(t, 3)
	l := b.learner()
	w := b.worker("", "another network")
	if status := w.ends(); status != statusRefused {
		t.Errorf("the worker ends with status %d", status)
	}
	const why = "worker worker-1 does not draw the learner's bits: the known rollout has the digest "
	w.says(why)
	l.says("refused: " + why)
	b.worker("", "")
	b.equal(l)
}

// A second worker of one name is refused while the first is there, and harms it in nothing;
// when the first has ended, another can take the name.
func TestSameName(t *testing.T) {
	b := newBench(t, often(12, 30))
	l := b.learner()
	first := b.worker("", "", "-pace", "200ms")
	first.says("joins as number")
	liar := b.worker("", "lie", "-name", "worker-1")
	if status := liar.ends(); status != statusRefused {
		t.Errorf("the second ends with status %d", status)
	}
	liar.says("a worker with the name worker-1 is at work already: choose another -name")
	first.kill()
	b.worker("", "", "-name", "worker-1").says("joins as number")
	b.equal(l)
	if strings.Contains(l.text(), "dropped") {
		t.Error("a worker was dropped")
	}
}

// A worker whose answers the server will never take ends and says why.
func TestTooLarge(t *testing.T) {
	b := newBench(t, 2)
	l := b.learner("-silence", "500ms")
	w := b.worker("", "too large")
	if status := w.ends(); status != 1 {
		t.Errorf("the worker ends with status %d", status)
	}
	w.says(`cluster: an answer of \d+ bytes is larger than the server's messages, which have 1048576 at most`)
	b.worker("", "")
	b.equal(l)
}

// A program of portable code works beside one of vector instructions.
func TestPortableWorker(t *testing.T) {
	exe := filepath.Join(t.TempDir(), "portable")
	if out, err := exec.Command("go", "build", "-tags", "purego", "-o", exe, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	b := newBench(t, often(4, 20))
	l := b.learner()
	portable := b.worker(exe, "")
	if !l.reaches(iterationsDone, 2) { // all its own
		t.Fatal("the run was too short")
	}
	b.worker("", "")
	if n, _ := portable.metric("cps_worker_parts_total"); n < 20 {
		t.Errorf("the portable program did %v parts", n)
	}
	b.equal(l)
}

// Answers that wait are bounded, whatever workers send: they wait, and nothing is lost. Of the
// policy no more than two versions are kept, beside one that is being stored.
func TestBackPressure(t *testing.T) {
	const backlog = 20_000 // three answers
	b := newBench(t, often(8, 30), "-part", "2", "-backlog", fmt.Sprint(backlog))
	l := b.learner("-check", "1", "-silence", "30s") // checks make the learner slow
	for range 4 {
		b.worker("", "")
	}
	l.says("joins")
	js := b.client()
	n, waited := names{"cps"}, uint64(0)
	for running := true; running; {
		select {
		case <-l.done:
			running = false
			continue
		case <-time.After(5 * time.Millisecond):
		}
		if s, err := js.Stream(t.Context(), n.answerStream()); err == nil {
			i := s.CachedInfo()
			waited = max(waited, i.State.Bytes)
			if i.State.Bytes > backlog {
				t.Errorf("%d bytes of answers wait", i.State.Bytes)
			}
		}
		versions := 0
		for stream := range js.StreamNames(t.Context()).Name() {
			if _, ok := n.ofPolicy(stream); ok {
				versions++
			}
		}
		if versions > keptVersions+1 {
			t.Errorf("%d versions of the policy are kept", versions)
		}
	}
	if waited < backlog/2 {
		t.Errorf("no more than %d bytes ever waited", waited)
	}
	b.equal(l)
	if strings.Contains(l.text(), "again") {
		t.Error("answers were lost, and parts published again")
	}
}

// The memory of the learner and of a worker does not grow with the parts.
func TestMemory(t *testing.T) {
	if !*long {
		t.Skip("takes a minute: -long")
	}
	b := newBench(t, 110)
	l, w := b.learner(), b.worker("", "")
	b.worker("", "")
	var before, after [2]float64
	for k, all := range []*[2]float64{&before, &after} {
		if !l.reaches(iterationsDone, []float64{20, 100}[k]) {
			t.Fatal("the run was too short")
		}
		for i, p := range [...]*process{l, w} {
			x, ok := p.metric("process_resident_memory_bytes")
			if !ok {
				t.Skip("this system does not tell")
			}
			all[i] = x
		}
	}
	b.equal(l)
	for i, name := range []string{"learner", "worker"} {
		// Answers of 800 parts are 26 MB: kept, they would show.
		if after[i] > before[i]+16<<20 {
			t.Errorf("the %s has %.0f MB after 1000 parts, and had %.0f after 200", name, after[i]/1e6, before[i]/1e6)
		}
	}
}
