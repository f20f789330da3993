// The worker that leadline's own is measured beside: the drill, written with Temporal's Go SDK.
//
// The bench (benches/src/bin/sagas) starts it, tells it everything on the first line of its standard input, and holds that input open
// as long as it shall run.
package main

import (
	"bufio"
	"encoding/json"
	"io"
	"log"
	"log/slog"
	"os"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	sdklog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

// What leadline's worker is configured with, so that both run under the same limits.
type spec struct {
	Temporal        string
	Queue           string
	Compressed      bool
	WorkflowSlots   int
	ActivitySlots   int
	CachedWorkflows int
	StickyTimeout   seconds
	Pollers         pollers
	Limits          limits
}

// Fixed when Initial is 0.
type pollers struct {
	Initial int
	Maximum int
}

type limits struct {
	Heartbeat    seconds
	Attempt      seconds
	Patience     seconds
	FirstRetry   seconds
	LongestRetry seconds
}

type seconds float64

func (s seconds) duration() time.Duration { return time.Duration(float64(s) * float64(time.Second)) }

func main() {
	input := bufio.NewReader(os.Stdin)
	line, err := input.ReadBytes('\n')
	if err != nil {
		log.Fatalln("no spec on the first line of the standard input:", err)
	}
	var told spec
	if err := json.Unmarshal(line, &told); err != nil {
		log.Fatalln("the spec does not parse:", err)
	}
	warnings := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	options := client.Options{HostPort: told.Temporal, Logger: sdklog.NewStructuredLogger(warnings)}
	if !told.Compressed {
		options.ConnectionOptions.GrpcCompression = &client.GrpcCompressionNone{}
	}
	temporal, err := client.Dial(options)
	if err != nil {
		log.Fatalln("the Temporal server does not answer:", err)
	}
	defer temporal.Close()
	stop := make(chan any)
	go func() {
		_, _ = io.Copy(io.Discard, input)
		close(stop)
	}()
	if err := build(temporal, told).Run(stop); err != nil {
		log.Fatalln("the worker has stopped:", err)
	}
}

func build(temporal client.Client, told spec) worker.Worker {
	worker.SetStickyWorkflowCacheSize(told.CachedWorkflows)
	built := worker.New(temporal, told.Queue, worker.Options{
		MaxConcurrentWorkflowTaskExecutionSize: told.WorkflowSlots,
		MaxConcurrentActivityExecutionSize:     told.ActivitySlots,
		WorkflowTaskPollerBehavior:             told.Pollers.behavior(),
		ActivityTaskPollerBehavior:             told.Pollers.behavior(),
		StickyScheduleToStartTimeout:           told.StickyTimeout.duration(),
		DisableEagerActivities:                 true,
	})
	drill := drill{limits: told.Limits}
	built.RegisterWorkflowWithOptions(drill.run, workflow.RegisterOptions{Name: "run_drill"})
	built.RegisterActivityWithOptions(beginOperation, activity.RegisterOptions{Name: "begin_operation"})
	for _, name := range []string{"prepare_drill", "clear_drill", "rehearse_drill", "complete_drill", "debrief_drill", "close_operation"} {
		built.RegisterActivityWithOptions(doNothing, activity.RegisterOptions{Name: name})
	}
	return built
}

func (p pollers) behavior() worker.PollerBehavior {
	if p.Initial == 0 {
		return worker.NewPollerBehaviorSimpleMaximum(worker.PollerBehaviorSimpleMaximumOptions{MaximumNumberOfPollers: p.Maximum})
	}
	return worker.NewPollerBehaviorAutoscaling(worker.PollerBehaviorAutoscalingOptions{
		InitialNumberOfPollers: p.Initial,
		MinimumNumberOfPollers: 1,
		MaximumNumberOfPollers: p.Maximum,
	})
}
