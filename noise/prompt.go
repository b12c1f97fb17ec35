package noise

import (
	"crypto/sha256"
	"encoding/binary"
)

// PromptSeed returns the seed with which FlowCPS draws a prompt's initial latents.
// All samples of a prompt then start from the same latent:
//
//	(base + first four bytes, big-endian, of SHA-256(prompt)) mod 2³¹
//
// (create_generator in scripts/train_sd3.py of IamCreateAI/FlowCPS). base is any
// integer, such as a seed plus an epoch. The result is in [0, 2³¹). Among a
// thousand prompts, two share a seed with probability 2.3e-4.
func PromptSeed(base int64, prompt string) uint64 {
	sum := sha256.Sum256([]byte(prompt))
	return (uint64(base) + uint64(binary.BigEndian.Uint32(sum[:]))) % (1 << 31)
}
