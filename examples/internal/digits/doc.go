// Package digits is a small learned flow model, so that samplers can be seen at
// work on something that was learned from data: handwritten digits of 8×8 pixels,
// a class-conditional velocity network, a classifier and a critic that judge its
// samples, the training of all three, and their weights. All of it is Go, needs no
// network and no GPU, and is small enough to read.
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
// The images are the 1797 of "Optical Recognition of Handwritten Digits" by
// E. Alpaydin and C. Kaynak (UCI Machine Learning Repository, 1998) that
// scikit-learn distributes as load_digits, under the BSD-3-Clause licence. They
// were written by thirteen people.
//
// # Velocity network
//
// A perceptron with three hidden layers of 256 units, two of them residual, every
// layer told the class and the time: 186,304 weights. It predicts what a Gaussian
// model of single pixels leaves unexplained, so that it costs nothing to take all
// noise off pixels that are always blank. What noise is seen there in a sample was
// left by the sampler.
//
// # Training
//
// The committed weights are those of TrainCritic, which takes seconds, and of Train
// with the zero TrainConfig: the rectified-flow loss with uniform times, 10,000 steps
// of Adam on 128 images each with a cosine learning rate, and an exponential moving
// average of the weights, rounded to float16. It takes 45 seconds on one core of an
// AMD EPYC with AVX2, and two minutes on gonum's BLAS, the portable way.
//
// Training is deterministic: noise is a function of seed, step and row, every sum
// has one written order, and processors only share out work that does not depend
// on their number. On amd64 it gives the committed weights to the bit, whatever
// GOMAXPROCS and GOAMD64 are, with AVX2 and without. On other architectures gonum's
// sums may use fused multiply-add, and both training and Forward give numbers of their
// own, though again the same every time.
//
// # Quality
//
// Over 500 samples: the root mean square of what remains on the eleven nearly
// constant pixels (0.016 in the images themselves), the part in which the
// classifier sees the digit that was asked for (it is right on 97.8 % of its test
// images), and the mean distance to the nearest other sample (2.17 among as many
// images) and to the nearest image (2.12 from a test image to the training images).
//
//	                      residual   accuracy   nearest sample   nearest image
//	ODE            10       0.009      99.6 %        2.05            1.94
//	               16       0.009      99.6 %        2.16            1.99
//	               50       0.013      99.2 %        2.28            2.05
//	Flow-SDE       10       0.083      99.2 %        2.32            2.09
//	(Ratio 0.7)    16       0.048      99.4 %        2.28            2.06
//	               50       0.019      99.2 %        2.32            2.07
package digits
