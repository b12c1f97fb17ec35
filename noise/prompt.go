package noise

import (
	"crypto/sha256"
	"encoding/binary"
)

// PromptSeed returns the seed that FlowCPS gives the generator of a
// prompt's initial latents, so that all samples of a prompt start alike:
//
//	(base + first four bytes, big-endian, of SHA-256(prompt)) mod 2³¹
//
// (create_generator in scripts/train_sd3.py of IamCreateAI/FlowCPS). As there, base
// is any integer, such as a seed plus an epoch, and the result is in [0, 2³¹). Two
// prompts out of a thousand share a seed with probability 2.3e-4.
func PromptSeed(base int64, prompt string) uint64 {
	sum := sha256.Sum256([]byte(prompt))
	return (uint64(base) + uint64(binary.BigEndian.Uint32(sum[:]))) % (1 << 31)
}
