// Package digits is a small flow model that was trained on data, for the examples to sample.
// It has images of handwritten digits of 8×8 pixels, a class-conditional velocity network, and
// a classifier and a critic that judge samples. It has the training of all three and their
// weights. All of it is Go, needs no internet and no GPU, and is small enough to read.
//
//	net, err := digits.Velocity()
//	net.Forward(v, x, classes, time) // v is x1 - x0, as package sampler takes it
//
// Fine-tuning uses the same parts as training: [Pass] keeps what the backward pass
// needs, [Adam] moves the weights, [Net.Clone] keeps a reference and [Net.Save]
// stores the result.
//
// # Data
//
// The 1797 images are from "Optical Recognition of Handwritten Digits" by E. Alpaydin and
// C. Kaynak (UCI Machine Learning Repository, 1998). scikit-learn distributes them as
// load_digits under the BSD-3-Clause licence. Thirteen people wrote the digits.
//
// # Velocity network
//
// The network is a perceptron of 186,304 weights. It has three hidden layers of 256 units, two
// of them residual, and every layer gets the class and the time. It predicts what a Gaussian
// model of single pixels leaves unexplained. That model alone removes all noise from pixels
// that are always blank, so noise on these pixels of a sample was left by the sampler.
//
// # Training
//
// The committed weights are those of TrainCritic and of Train with the zero TrainConfig. Train
// minimises the rectified-flow loss with uniform times. It takes 10,000 steps of Adam on 128
// images each, with a cosine learning rate. The weights are an exponential moving average,
// rounded to float16. Train takes 45 seconds on one core of an AMD EPYC with AVX2, and two
// minutes without, on gonum's BLAS. TrainCritic takes seconds.
//
// Training is deterministic. Noise is a function of seed, step and row. Every sum has a fixed
// order. The work is split in a way that does not depend on the number of processors. On amd64
// training gives the committed weights bit for bit, for any GOMAXPROCS and GOAMD64, with AVX2
// and without. On other architectures gonum's sums may use fused multiply-add. There training
// and Forward give other numbers, which are also the same every time.
//
// # Quality
//
// The table is over 500 samples. Residual is the root mean square deviation on the eleven
// nearly constant pixels; the images themselves have 0.016. Accuracy is how often the
// classifier sees the digit that was asked for; it is right on 97.8 % of its test images. The
// other columns are mean distances. To the nearest other sample it is 2.17 among as many
// images. To the nearest image it is 2.12 from a test image to the training images.
//
//	                      residual   accuracy   nearest sample   nearest image
//	ODE            10       0.009      99.6 %        2.05            1.94
//	               16       0.009      99.6 %        2.16            1.99
//	               50       0.013      99.2 %        2.28            2.05
//	Flow-SDE       10       0.083      99.2 %        2.32            2.09
//	(Ratio 0.7)    16       0.048      99.4 %        2.28            2.06
//	               50       0.019      99.2 %        2.32            2.07
package digits
