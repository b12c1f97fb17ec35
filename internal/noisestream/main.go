// Noisestream writes the words of package noise to standard output without end,
// low byte first, for test batteries:
//
//	go run ./internal/noisestream | dieharder -a -g 200
//
// It writes one row of words after another. Row i is the start of the stream of
// noise.ID{Sample: i / steps, Step: i % steps}. Short rows test the words that a
// training run draws, which are the first words of many streams.
package main

import (
	"encoding/binary"
	"flag"
	"os"

	"cps/noise"
)

func main() {
	key := flag.Uint64("key", 0, "key of the streams")
	row := flag.Uint64("row", 1<<34, "words of each stream")
	steps := flag.Uint64("steps", 1, "streams of each sample")
	flag.Parse()

	words := make([]uint32, 1<<14)
	buf := make([]byte, 4*len(words))
	for i := uint64(0); ; i++ {
		id := noise.ID{Sample: i / *steps, Step: uint32(i % *steps)}
		for off := uint64(0); off < *row; {
			w := words[:min(uint64(len(words)), *row-off)]
			noise.Uint32s(w, noise.Key(*key), id, off)
			off += uint64(len(w))
			for j, x := range w {
				binary.LittleEndian.PutUint32(buf[4*j:], x)
			}
			// A battery that has read enough closes the pipe, which ends the
			// program.
			if _, err := os.Stdout.Write(buf[:4*len(w)]); err != nil {
				os.Exit(1)
			}
		}
	}
}
