package main

import (
	"fmt"
	"io"
	"math"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"cps/examples/internal/finetune"
)

// saveRuns writes every training as a row of runs.csv, and the learning rates that were
// tried as rates.csv.
func (s *study) saveRuns() error {
	if len(s.findings) == 0 {
		return nil
	}
	names := finetune.RewardNames()
	runs := table{columns: append([]string{"training", "iterations", "average", "end", "end by the rule", "accuracy", "diversity", "residual", "distance to the data", "greatest |ratio - 1| on policy", "diverged", "collapsed"}, names...)}
	for _, name := range sortedKeys(s.findings) {
		f := s.findings[name]
		row := []any{name, len(f.History), s.area(f), f.Final.Reward, underRule(f), f.Final.Accuracy, f.Final.Diversity, f.Final.Residual, novelty(f), onPolicy(f), f.Diverged, f.collapsed()}
		for _, n := range names {
			row = append(row, other(n)(f))
		}
		runs.add(row...)
	}
	if err := runs.save(s.out, "runs.csv"); err != nil {
		return err
	}
	return s.rateTable().save(s.out, "rates.csv")
}

func (s *study) rateTable() table {
	t := table{columns: []string{"arm", "reward", "learning rate", "score", "score std", "collapsed", "chosen"}}
	for _, v := range s.trials {
		score, std := any(v.score.Mean), any(v.score.Std)
		if v.collapsed() {
			score, std = "", ""
		}
		t.add(v.arm, v.reward, v.rate, score, std, v.collapsed(), v.chosen)
	}
	return t
}

// onPolicy is the greatest |ratio - 1| of first minibatches: 0.
func onPolicy(f *finding) float64 {
	var worst float64
	for _, it := range f.History {
		worst = max(worst, it.OnPolicy)
	}
	return worst
}

func sortedKeys[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// maxShare is the part of an iteration's time that this library may take.
const maxShare = 0.05

// overall judges what holds for all trainings together.
func (s *study) overall() []verdict {
	if len(s.findings) == 0 {
		return nil
	}
	var all section
	iterations, off, bad := 0, 0, 0
	made, worse := 0, 0 // of what figures are made of, all and those that collapsed
	var t finetune.Timing
	for name, f := range s.findings {
		for _, it := range f.History {
			iterations++
			if it.OnPolicy != 0 {
				off++
			}
		}
		if f.collapsed() {
			bad++
		}
		if s.results[name] {
			made++
			if f.collapsed() {
				worse++
			}
		}
		t = t.Add(f.Timing)
	}
	all.fact(off == 0, "on policy every ratio is exactly 1", "%d of %d iterations of %d trainings, those of learning rates included; one that is not ends the program", iterations-off, iterations, len(s.findings))
	all.key()
	all.fact(true, fmt.Sprintf("%d of the %d trainings collapsed", bad, len(s.findings)), "%d of them are of the %d that chose learning rates, %d of the %d that the figures are made of", bad-worse, len(s.findings)-made, worse, made)
	all.key()
	all.ask(is(t.Share() < maxShare), fmt.Sprintf("this library takes less than %.0f %% of the time of an iteration", 100*maxShare),
		"%.1f %%: sampling arithmetic %.1f %%, log p %.1f %%, advantages, loss and gradients %.1f %%",
		100*t.Share(), percent(t, int64(t.Sampling)), percent(t, int64(t.LogProb)), percent(t, int64(t.Gradients)))
	all.key()
	return all.verdicts
}

func percent(t finetune.Timing, part int64) float64 {
	return 100 * float64(part) / float64(t.Total-t.Evaluation)
}

// writePage writes paper.md.
func (s *study) writePage(chosen []figure, sections []section) error {
	return finetune.WriteFile(filepath.Join(s.out, "paper.md"), func(w io.Writer) error {
		p := &printer{w: w}
		if err := s.head(p); err != nil {
			return err
		}
		p.keys(sections, s.overall())
		p.line("## Verdicts by figure\n")
		p.line("| | paper: agrees | differs | cannot say | asked: yes | no | cannot say | check: holds | fails |")
		p.line("|---|---|---|---|---|---|---|---|---|")
		for i, f := range chosen {
			p.counts("["+f.title+"](#"+f.fileName()+")", sections[i].verdicts)
		}
		p.line("")
		for i, f := range chosen {
			p.section(f, sections[i])
		}
		s.foot(p)
		return p.err
	})
}

// A printer keeps the first error.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}

func (p *printer) counts(title string, verdicts []verdict) {
	if len(verdicts) == 0 {
		return
	}
	var paper, own, checks [3]int
	for _, v := range verdicts {
		switch {
		case v.check:
			checks[v.outcome]++
		case v.own:
			own[v.outcome]++
		default:
			paper[v.outcome]++
		}
	}
	p.line("| %s | %d | %d | %d | %d | %d | %d | %d | %d |", title, paper[agrees], paper[differs], paper[cannotSay],
		own[agrees], own[differs], own[cannotSay], checks[agrees], checks[differs])
}

// keys lists the verdicts that stand at the top.
func (p *printer) keys(sections []section, overall []verdict) {
	var keys []verdict
	for _, s := range append(slices.Clone(sections), section{verdicts: overall}) {
		for _, v := range s.verdicts {
			if v.key {
				keys = append(keys, v)
			}
		}
	}
	if len(keys) > 0 {
		p.line("## In short\n")
		p.verdicts(keys)
	}
}

func (p *printer) verdicts(all []verdict) {
	for _, v := range all {
		p.line("* **%s**: %s. %s.", v.word(), v.claim, upper(v.evidence))
	}
	if len(all) > 0 {
		p.line("")
	}
}

func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func (p *printer) section(f figure, s section) {
	p.line("<a id=\"%s\"></a>\n## %s\n", f.fileName(), f.title)
	p.line("%s\n", f.paper)
	p.line("![%s](%s)\n", f.title, s.png())
	for _, text := range s.text {
		p.line("%s\n", text)
	}
	p.verdicts(s.verdicts)
	p.table(s.table)
	p.line("Data: [%s.csv](%s.csv)\n", s.name, s.name)
}

func (p *printer) table(t table) {
	if len(t.rows) == 0 {
		return
	}
	p.line("| %s |", strings.Join(t.columns, " | "))
	p.line("|%s", strings.Repeat("---|", len(t.columns)))
	for _, row := range t.rows {
		p.line("| %s |", strings.Join(each(row, cell), " | "))
	}
	p.line("")
}

// cell rounds a value for the page.
func cell(v any) string {
	switch v := v.(type) {
	case float64:
		return fmt.Sprintf("%.4g", v)
	case sample:
		return v.text()
	}
	return fmt.Sprint(v)
}

func (v sample) text() string {
	text := fmt.Sprintf("%.3f ± %.3f", v.Mean, v.Std)
	switch {
	case v.N == 0:
		text = "unknown"
	case v.N == 1:
		text = fmt.Sprintf("%.3f", v.Mean)
	case math.Abs(v.Mean) >= 1e4: // of a run that collapsed
		text = fmt.Sprintf("%.1e ± %.1e", v.Mean, v.Std)
	}
	if v.Lost > 0 {
		text += fmt.Sprintf(" (%d of %d)", v.N, v.N+v.Lost)
	}
	return text
}

// head says what was done, and how.
func (s *study) head(p *printer) error {
	gaussian, err := flowCPS.normalised().objective()
	if err != nil {
		return err
	}
	p.line("# The paper in small\n")
	p.line("*Coefficients-Preserving Sampling for Reinforcement Learning with Flow Matching* (Wang and Yu, arXiv 2509.05952) fine-tunes image models with GRPO. " +
		"Here a flow model of handwritten digits, 8×8 pixels and 186,304 weights, is fine-tuned with the same samplers, log-probabilities and losses. " +
		"Every figure and table of the paper that a processor can carry stands below beside what the paper reports. " +
		"The paper's own numbers are of other models and rewards and are not comparable; what it reports is given in words.\n")
	p.line("This page was written by\n\n```sh\n%s\n```\n", s.command())
	if s.quick {
		p.line("**This is a quick run, which shows that everything works. Its numbers mean nothing.**\n")
	}
	p.line("on %s/%s with Go %s. Seeds are 1 to %d, and %d to %d for learning rates. All numbers except times are functions of the command, which gives the same again on this architecture.\n",
		runtime.GOOS, runtime.GOARCH, strings.TrimPrefix(runtime.Version(), "go"), s.seeds, heldOut+1, heldOut+s.tuningSeeds)
	p.line("## How to read it\n")
	p.line("* Every verdict is computed from the numbers. *Agrees* and *differs* judge claims of the paper, *yes* and *no* answer questions that this study asks besides. They mean that a 95 %% interval of a difference (Student's t-test for pairs over seeds, for a seed draws the same noise for all arms; for noise levels two standard errors over samples) lies on one side of what the claim says, 0 where it names no number; *cannot say*, that it does not. Claims of several differences hold if all do, and do not if one does not. " +
		"Two kinds are judged otherwise. *As much, within the error bar* holds where the interval reaches 0, as a wide one does more easily. Of bands, one standard deviation to either side, it is counted at how many evaluations they do not overlap; that an arm ends at least as high with its band above on the way and nowhere below agrees if the bands lie so and the mean at the end is at least as high, differs if the band is below somewhere or the end measurably lower, and cannot be said otherwise. " +
		"A *check* is of a formula, and measures nothing. " +
		"No correction is made for the number of verdicts: one in twenty would be wrong by chance where nothing differs, and of those of several differences more.")
	p.line("* A training is %d iterations of 10 prompts with %d samples each, %d sampling steps of which the first %d are trained, in three minibatches, by Adam (the arm with a window trains less, as is said there); log p without denominator, averaged over pixels, and no KL where nothing else is said. The ratio is clipped to 1 ± %g. The arm with the denominator has the same range in its own units, +%.3g and -%.3g, converted with the root mean square of the deviations Eps of its trained steps.", s.iterations, s.group, steps, steps-1, clip, gaussian.ClipHigh, gaussian.ClipLow)
	p.line("* The ODE is evaluated at the start and after every %s with %d samples of each digit, from noise that is the same for all trainings. ± is one standard deviation over seeds, in verdicts half a 95 %% interval; of noise levels it is one standard error over samples, in verdicts on differences and ratios two.", count(s.every, "iteration"), s.samples)
	p.line("* The learning rate of every arm and reward is the best of %s, by the mean reward of the ODE over a run, on %d held-out seeds, whose trainings count in no comparison of arms: the same budget for all. The noise of evaluations is that of the results. A rate with which any of them collapses is not chosen, unless all rates do. The arms with KL take the rate of the arm that they vary. A choice at the edge of the grid is marked in the table at the end of the page.", rateList(s.rates), s.tuningSeeds)
	p.line("* Flow-CPS has the paper's η 0.9, Flow-SDE Flow-GRPO's 0.7 and, for comparison, 0.9, Dance-SDE DanceGRPO's 0.3.")
	p.line("* Rewards: *glyph* is the correlation with the digit in a printed font and *holes* whether strokes have the right topology, both verifiable as OCR and counting are; *taste* is a network that was taught preferences between damaged digits, and sees noise as PickScore and HPS do. It gives real images 1 on the average, and a policy can get more by hacking it.")
	p.line("* Accuracy is that of a classifier of real digits, diversity the mean distance to the nearest other sample of the digit, residual the noise on the pixels that hardly vary in the data. All are of the ODE's samples. A run collapsed if its numbers outgrew their type, or if at the end accuracy is below %g, the residual above %g, or the reward below that at the start. It counts in all means; one whose numbers outgrew their type counts with its last evaluation, and what is not known of it is left out of means, which then say how many runs they are of.\n", leastAccuracy, mostResidual)
	p.line("## What it cannot say\n")
	p.line("* Images have 64 pixels, prompts are ten digits, and the network is trained in less than a minute. Its rewards are simple enough to be hacked within a run; where that happens, the rise of a curve says more than its end.")
	p.line("* A grid of learning rates finds the best to a factor of its steps where it is within the grid, and a higher average can be bought with diversity: the tables show both.")
	if low, high, of := s.atEdges(); low+high > 0 {
		p.line("* Of the %d learning rates that were chosen, %d are the lowest that was tried and %d the highest: a rate beyond may be better there.", of, low, high)
	}
	p.line("* The η of published trainers explore by different amounts. Whether a difference is that of the rules or of the amounts, only the comparison at equal mean equivalent η can tell, and that for this one measure of exploration: the variance injected in all differs there, too.")
	p.line("* The η of that comparison is %g for Flow-CPS, which may suit it (Figure 6 has its other η, on the same seeds); those of the other rules are matched to it and tuned nowhere.", etaEqual)
	p.line("* Where a figure says what the paper compares, but not what it found, all verdicts are questions of this study.")
	p.line("* Bands are over seeds of training. The noise of evaluations is the same for all trainings and not in them.\n")
	return p.err
}

// count says n things, and one as "thing".
func count(n int, thing string) string {
	if n == 1 {
		return thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// edge says whether the rate of t is the lowest that was tried (-1) or the highest (1), so
// that one beyond may be better. One that was chosen for want of a better is neither.
func (s *study) edge(t trial) int {
	switch {
	case len(s.rates) == 1 || t.collapsed():
		return 0
	case t.rate == s.rates[0]:
		return -1
	case t.rate == s.rates[len(s.rates)-1]:
		return 1
	}
	return 0
}

// atEdges counts the chosen learning rates at the edges of the grid, and all chosen.
func (s *study) atEdges() (low, high, of int) {
	for _, t := range s.trials {
		if !t.chosen {
			continue
		}
		of++
		switch s.edge(t) {
		case -1:
			low++
		case 1:
			high++
		}
	}
	return low, high, of
}

func rateList(rates []float64) string {
	return strings.Join(each(rates, func(r float64) string { return fmt.Sprintf("%g", r) }), ", ")
}

// foot says which learning rates were chosen.
func (s *study) foot(p *printer) {
	if len(s.trials) == 0 {
		return
	}
	p.line("## Learning rates\n")
	p.line("Mean reward by the ODE over a run, seeds %d to %d. A rate with which a trial collapsed has no score.\n", heldOut+1, heldOut+s.tuningSeeds)
	p.line("| arm | reward | %s | chosen |", strings.Join(each(s.rates, func(r float64) string { return fmt.Sprintf("%g", r) }), " | "))
	p.line("|---|---|%s---|", strings.Repeat("---|", len(s.rates)))
	for i := 0; i < len(s.trials); i += len(s.rates) {
		row := s.trials[i:][:len(s.rates)]
		best := slices.IndexFunc(row, func(t trial) bool { return t.chosen })
		edge := ""
		switch {
		case row[best].collapsed():
			edge = ", for want of a better"
		case s.edge(row[best]) != 0:
			edge = ", at the edge"
		}
		p.line("| %s | %s | %s | %g%s |", row[0].arm, row[0].reward, strings.Join(each(row, trial.text), " | "), row[best].rate, edge)
	}
	p.line("\nData: [rates.csv](rates.csv), and every training in [runs.csv](runs.csv): its name has arm, reward, rate and seed; *average* and *end* are of the reward by the ODE, and the last four columns all rewards of the samples at the end.")
}

// collapsed reports whether a trial of the rate collapsed.
func (t trial) collapsed() bool { return math.IsInf(t.score.Mean, -1) }

func (t trial) text() string {
	if t.collapsed() {
		return "collapsed"
	}
	return fmt.Sprintf("%.3f", t.score.Mean)
}

// printVerdicts prints all verdicts.
func printVerdicts(w io.Writer, chosen []figure, sections []section) {
	for i, f := range chosen {
		if len(sections[i].verdicts) == 0 {
			continue
		}
		fmt.Fprintf(w, "\n%s\n", f.title)
		for _, v := range sections[i].verdicts {
			fmt.Fprintf(w, "  %-10s  %s (%s)\n", v.word(), v.claim, v.evidence)
		}
	}
}
