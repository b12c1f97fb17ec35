package golden

import "testing"

// realModelWithoutDensity: as trajectoriesWithoutDensity.
var realModelWithoutDensity = []string{
	"digits_fm/ff_ode/linspace_n6/eta0.7",
	"digits_fm/flow_cps/linspace_n6/eta0.7",
}

// Runs of a trained network, with the velocities that it gave.
func TestRealModel(t *testing.T) {
	runTrajectories(t, "real_model.json", realModelWithoutDensity)
}
