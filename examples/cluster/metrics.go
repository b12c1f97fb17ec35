package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// The outcomes of answers, as the learner counts them.
const (
	accepted  = "accepted"
	duplicate = "duplicate" // of a part that is done
	stale     = "stale"     // of no part of the iteration: late, or of an older policy
	stranger  = "stranger"  // of a worker that is none of the session
	damaged   = "damaged"   // cannot be read
	forged    = "forged"    // without the MAC of its worker
	lying     = "lying"     // by a worker that was dropped for it, or was dropped before
)

// metrics are what a process counts, of a learner and of a worker. They are counted whether
// anyone asks for them or not.
type metrics struct {
	registry *prometheus.Registry

	answers                         *prometheus.CounterVec // by outcome
	published, rechecks, iterations prometheus.Counter
	open, workers, reward           prometheus.Gauge
	round                           prometheus.Histogram // seconds from a part's publication to its answer

	parts, loads prometheus.Counter // of a worker
	work         prometheus.Histogram
}

func newMetrics(role string) *metrics {
	m := &metrics{registry: prometheus.NewRegistry()}
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: "cps", Subsystem: role, Name: name, Help: help})
		m.registry.MustRegister(c)
		return c
	}
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "cps", Subsystem: role, Name: name, Help: help})
		m.registry.MustRegister(g)
		return g
	}
	histogram := func(name, help string) prometheus.Histogram {
		h := prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "cps", Subsystem: role, Name: name, Help: help, Buckets: prometheus.ExponentialBuckets(1e-3, 2, 20)})
		m.registry.MustRegister(h)
		return h
	}
	if role == "worker" {
		m.parts = counter("parts_total", "Parts that were drawn, scored and answered.")
		m.loads = counter("versions_total", "Versions of the policy that were loaded.")
		m.work = histogram("part_seconds", "Time to draw and score a part.")
		return m
	}
	m.answers = prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "cps", Subsystem: role, Name: "answers_total", Help: "Answers, by what became of them."}, []string{"outcome"})
	m.registry.MustRegister(m.answers)
	for _, o := range [...]string{accepted, duplicate, stale, stranger, damaged, forged, lying} {
		m.answers.WithLabelValues(o) // is there from the beginning, as 0
	}
	m.published = counter("published_total", "Messages of work, more than there are parts where some were published again.")
	m.rechecks = counter("rechecks_total", "Parts that the learner computed again.")
	m.iterations = counter("iterations_total", "Iterations done by this process.")
	m.open = gauge("open_parts", "Parts of the iteration that are not answered yet.")
	m.workers = gauge("workers", "Workers heard of in the last minute.")
	m.reward = gauge("reward", "Mean reward of the last iteration.")
	m.round = histogram("part_seconds", "Time from the publication of a part to its answer.")
	return m
}

// serve serves the metrics on an address under /metrics, and returns what ends it. An empty
// address serves nothing.
func (m *metrics) serve(address string, say func(format string, args ...any)) (stop func(), err error) {
	if address == "" {
		return func() {}, nil
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("-metrics: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			say("metrics: %v", err)
		}
	}()
	say("metrics: http://%s/metrics", l.Addr())
	return func() { s.Close(); <-done }, nil
}
