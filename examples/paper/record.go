package main

import (
	"fmt"
	"strings"

	"cps/examples/internal/finetune"
)

// A record is what runs.csv keeps of a training. Rewards are means over samples. What is
// not known of a run that diverged is NaN.
type record struct {
	training    string // its file name, without extension
	iterations  int
	average     float64 // reward of the ODE's samples, averaged over the evaluations of the run
	final       float64 // reward of the ODE's samples at the end
	underRule   float64 // reward of the rule's own samples at the end
	accuracy    float64
	diversity   float64
	before      float64 // diversity before training
	residual    float64
	novelty     float64 // mean distance from a sample to the nearest image of the data
	onPolicy    float64 // greatest |ratio - 1| of first minibatches
	diverged    string
	hasCollapse bool
	others      map[string]float64 // all rewards of the ODE's samples at the end
}

// recordColumns are the columns of runs.csv. The rewards follow them.
var recordColumns = []string{"training", "iterations", "average", "end", "end by the rule", "accuracy", "diversity", "diversity before", "residual",
	"distance to the data", "greatest |ratio - 1| on policy", "diverged", "collapsed"}

// record returns what is kept of the training of a name.
func (b budget) record(name string, f *finding) *record {
	r := &record{
		training: name, iterations: len(f.History),
		average: b.area(f), final: f.Final.Reward, underRule: underRule(f),
		accuracy: f.Final.Accuracy, diversity: f.Final.Diversity, before: diversityAt(f, 0),
		residual: f.Final.Residual, novelty: novelty(f), onPolicy: onPolicy(f),
		diverged: f.Diverged, hasCollapse: f.collapsed(),
		others: map[string]float64{},
	}
	for _, name := range finetune.RewardNames() {
		r.others[name] = other(name)(f)
	}
	return r
}

// onPolicy returns the greatest |ratio - 1| of first minibatches. It is 0.
func onPolicy(f *finding) float64 {
	var worst float64
	for _, it := range f.History {
		worst = max(worst, it.OnPolicy)
	}
	return worst
}

// forResults reports whether the training's seed is one for results.
func (r *record) forResults() (bool, error) {
	var seed uint64
	_, err := fmt.Sscan(r.training[strings.LastIndex(r.training, "_")+1:], &seed)
	if err != nil {
		return false, fmt.Errorf("training %q does not end with a seed", r.training)
	}
	return seed <= heldOut, nil
}

// recordTable returns runs.csv.
func recordTable(records map[string]*record) table {
	names := finetune.RewardNames()
	t := table{columns: append(append([]string{}, recordColumns...), names...)}
	for _, name := range sortedKeys(records) {
		r := records[name]
		row := []any{r.training, r.iterations, r.average, r.final, r.underRule, r.accuracy, r.diversity, r.before, r.residual,
			r.novelty, r.onPolicy, r.diverged, r.hasCollapse}
		for _, n := range names {
			row = append(row, r.others[n])
		}
		t.add(row...)
	}
	return t
}

// readRecords reads runs.csv.
func readRecords(dir string) (map[string]*record, error) {
	s, err := readSheet(dir, "runs.csv")
	if err != nil {
		return nil, err
	}
	all := map[string]*record{}
	for i := range s.rows {
		r := &record{
			training: s.text(i, "training"), iterations: s.whole(i, "iterations"),
			average: s.number(i, "average"), final: s.number(i, "end"), underRule: s.number(i, "end by the rule"),
			accuracy: s.number(i, "accuracy"), diversity: s.number(i, "diversity"), before: s.number(i, "diversity before"),
			residual: s.number(i, "residual"), novelty: s.number(i, "distance to the data"),
			onPolicy: s.number(i, "greatest |ratio - 1| on policy"),
			diverged: s.text(i, "diverged"), hasCollapse: s.flag(i, "collapsed"),
			others: map[string]float64{},
		}
		for _, name := range finetune.RewardNames() {
			r.others[name] = s.number(i, name)
		}
		all[r.training] = r
	}
	return all, s.err
}

// scores are the records of a plan's trainings, by name.
type scores struct {
	plan
	records map[string]*record
}

// found returns the records of an arm with a reward, one for each seed.
func (s *scores) found(a arm, reward string) []*record {
	return each(s.runs(want{a, reward}), func(t training) *record { return s.records[t.file()] })
}

// values returns the sample of f over records.
func values(records []*record, f func(*record) float64) sample {
	return sampleOf(each(records, f))
}

// differ returns by how much f of arm a exceeds f of arm b, seed by seed.
func (s *scores) differ(a, b arm, reward string, f func(*record) float64) difference {
	return paired(each(s.found(a, reward), f), each(s.found(b, reward), f))
}

func average(r *record) float64         { return r.average }
func final(r *record) float64           { return r.final }
func finalByRule(r *record) float64     { return r.underRule }
func accuracy(r *record) float64        { return r.accuracy }
func diversity(r *record) float64       { return r.diversity }
func diversityBefore(r *record) float64 { return r.before }
func residual(r *record) float64        { return r.residual }
func distance(r *record) float64        { return r.novelty }
func rulesGap(r *record) float64        { return r.underRule - r.final }

// rewarded returns what the samples get of another reward.
func rewarded(name string) func(*record) float64 {
	return func(r *record) float64 { return r.others[name] }
}

// collapsed counts the runs that collapsed.
func collapsed(records []*record) int {
	n := 0
	for _, r := range records {
		if r.hasCollapse {
			n++
		}
	}
	return n
}
