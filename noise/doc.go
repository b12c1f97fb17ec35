// Package noise provides reproducible Gaussian noise that need not be stored.
package noise
